"""What training sees: which images a step draws, how they are augmented, and the batches."""
