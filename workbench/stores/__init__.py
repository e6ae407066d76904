"""What is read from disk for the pages: runs, snapshots, predictions, suites, data sets."""
