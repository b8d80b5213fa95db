"""The anatomy and label of each task, by type."""
