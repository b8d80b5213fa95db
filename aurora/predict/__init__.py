"""From rows and an engine to predictions in the challenge's format."""
