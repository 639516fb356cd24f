"""What notebooks and the HTML page tell people: figures with their n, tables, and how current."""
