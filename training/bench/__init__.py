"""Benchmarks: whole runs, each in its own process, the model alone, and the cost of encoders."""
