"""The Python interface: load a model, and predict images with it."""

from aurora.api.cine import Frame, frames
from aurora.api.images import ImageLike
from aurora.api.measure import Measurement
from aurora.api.model import Model, load
from aurora.api.results import BoxResult, ClassResult, MaskResult, PointsResult, Result

__all__ = [
    "BoxResult",
    "ClassResult",
    "Frame",
    "ImageLike",
    "MaskResult",
    "Measurement",
    "Model",
    "PointsResult",
    "Result",
    "frames",
    "load",
]
