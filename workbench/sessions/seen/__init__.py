"""What training saw of a run: the images of its snapshots, in FiftyOne."""
