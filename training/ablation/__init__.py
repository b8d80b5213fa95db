"""Comparative studies: ablations, and training without each source of data in turn."""
