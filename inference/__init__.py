"""Uses a checkpoint: answers every row of an input folder in the challenge's format."""
