"""A configuration proposed for folders that nobody has described; uses everything below training."""
