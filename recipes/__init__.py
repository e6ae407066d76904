"""How the shipped starts were made: trainings that no method of the paper is made of."""
