"""A configuration proposed for folders that nobody has described; may use training and below."""
