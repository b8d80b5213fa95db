"""Studies: runs that differ in one thing each, or in the source that they were not trained on, and their tables."""
