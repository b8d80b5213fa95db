"""Labelled synthetic ultrasound images of all 27 official tasks, in the challenge's input layout."""

from training.phantom.scanner.profiles import SCANNERS, Scanner
from training.phantom.writer import generate

__all__ = ["SCANNERS", "Scanner", "generate"]
