"""Check everything that needs a GPU: the parts, and the command that runs them with time limits."""
