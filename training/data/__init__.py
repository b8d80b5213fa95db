"""Labelled cases: read, checked, split without leaks, and augmented into samples."""
