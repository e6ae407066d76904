"""What is said about a data set: checks, statistics, exports to other formats."""
