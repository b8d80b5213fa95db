"""Predict rows with an engine, in the challenge's format."""
