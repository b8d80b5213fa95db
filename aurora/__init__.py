"""What training and inference share: tasks, rows, images, model, checkpoint, answers, scoring."""

__version__ = "0.1.0"
