"""Files for other tools, made of a real warehouse."""
