"""The page of scores: the cases that a model fails on, and a comparison with another model."""
