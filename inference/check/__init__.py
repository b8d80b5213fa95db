"""Report what an input folder holds, and what is wrong with it."""
