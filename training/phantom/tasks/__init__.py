"""The label of a phantom for each type of task."""
