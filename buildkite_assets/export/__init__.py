"""Files for other tools and other people, made of the published warehouse."""
