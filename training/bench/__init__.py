"""How fast the shipped commands are: whole runs, each a process of its own, and the model alone."""
