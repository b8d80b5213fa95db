"""A page of scores: where a model fails, and what another one does better."""
