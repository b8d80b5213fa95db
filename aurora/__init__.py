"""The code that training and inference share, from reading rows to scoring predictions."""

__version__ = "0.1.0"
