"""Use a checkpoint: predict every row of an input folder in the challenge's format."""
