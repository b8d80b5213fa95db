"""A training run: sampling, losses, steps, states to go on from, and logs."""
