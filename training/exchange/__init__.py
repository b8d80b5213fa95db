"""Turn data sets in common formats into input roots."""
