"""Label-aware augmentation of training samples."""
