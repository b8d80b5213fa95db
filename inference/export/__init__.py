"""Turn the predictions of a run into data sets in common formats, as the first pass of labelling."""
