"""A training run: sampling, losses, steps, resumable states and logs."""
