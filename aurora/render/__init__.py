"""Draw labels and predictions on images."""
