"""What other programs read and write: runs and networks leave by it and come back, all checked."""
