"""Ablations: runs that differ from the default in one thing each, at equal budget, and the table of what each costs."""
