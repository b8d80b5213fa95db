"""The output folder: atomic writes, the journal of a run, the prediction files."""
