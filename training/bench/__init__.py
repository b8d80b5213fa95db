"""Benchmark whole runs, each in a new process, the model alone, and the cost of encoders."""
