"""The predictions of single images as typed objects, in pixels of the original image."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np

from aurora.api.measure import Measurement, PixelSize, areas, measure_box, measure_mask, measure_points
from aurora.api.scale import Scale
from aurora.images.reader import Image
from aurora.kinds import KINDS, Drawing, Prediction
from aurora.kinds.classification import ClassificationPrediction
from aurora.kinds.detection import DetectionPrediction
from aurora.kinds.landmarks import LandmarksPrediction
from aurora.kinds.mask_geometry import bounding_box
from aurora.predict.predictions import PredictedRow
from aurora.render.drawing import draw, draw_scale_bar, fitted
from aurora.tasks import Task

#: The task whose landmarks have an angle of progression.
PROGRESSION = "IUGC"


@dataclass(frozen=True, slots=True)
class Result(ABC):
    """What all predictions have in common.

    Attributes:
        task: the task that was asked for.
        source: the image's path, or "image N".
        frame: the number, from 0, of the frame in its file; None for an image that isn't one of `aurora.frames`.
        size: height and width of the image in pixels.
        confidence: the model's confidence in [0, 1]; None for a fallback.
        expected: what the confidence is worth by the weights' calibration, or the confidence itself if they have none:
            the expected score of this prediction in [0, 1] (probability of being right, DSC, IoU, or 1 - error / tenth
            of the diagonal).
        warnings: what is unusual about the image, in plain words.
        fallback: the reason why the prediction says nothing about the image; None if the model made it.
        pixel_size: height and width of a pixel in mm, where the prediction lies; None if it isn't known.
    """

    task: Task
    source: str
    frame: int | None
    size: tuple[int, int]
    confidence: float | None
    expected: float | None
    warnings: tuple[str, ...]
    fallback: str | None
    pixel_size: PixelSize | None
    _: KW_ONLY
    _prediction: Prediction = field(repr=False, compare=False)
    _read: Callable[[], Image] = field(repr=False, compare=False)

    #: The names of the properties that hold the prediction itself.
    VALUES: ClassVar[tuple[str, ...]] = ()

    @property
    def measurements(self) -> list[Measurement]:
        """Lengths, areas and angles, in mm if `pixel_size` is known, otherwise in pixels; empty for classes."""
        return []

    @property
    def answer(self) -> str:
        """The prediction in a few words."""
        if self.fallback is not None:
            return f"none: {self.fallback}"
        return self._words()

    @abstractmethod
    def _words(self) -> str: ...

    def image(self) -> Image:
        """Read the image again: its `pixels`, (H, W, 3) uint8 RGB, and `warnings`; raise `ImageError` as `overlay`."""
        return self._read()

    def overlay(self, side: int | None = None) -> np.ndarray:
        """Draw the prediction on the image, with a scale bar where the size of a pixel is known.

        Args:
            side: the longer side of the picture in pixels; by default that of the image.

        Returns:
            (h, w, 3) uint8 RGB.

        Raises:
            ImageError: the image, which is read again, can't be read.
        """
        picture, scale = fitted(self.image().pixels, side or max(self.size))
        draw(picture, KINDS[self.task.type].draw_prediction(self._prediction), scale, names=self.task.names)
        if self.pixel_size:
            draw_scale_bar(picture, self.pixel_size[1] / scale)
        return picture

    def to_record(self) -> dict[str, Any]:
        """Return everything except a mask's pixels as values for JSON."""
        values = {name: getattr(self, name) for name in self.VALUES}
        return {
            "source": self.source,
            "frame": self.frame,
            "task": self.task.id,
            "type": str(self.task.type),
            "names": list(self.task.names),
            "height": self.size[0],
            "width": self.size[1],
            **{name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()},
            "confidence": self.confidence,
            "expected": self.expected,
            "pixel_size_mm": list(self.pixel_size) if self.pixel_size else None,
            "measurements": [measurement._asdict() for measurement in self.measurements],
            "warnings": list(self.warnings),
            "fallback": self.fallback,
        }


class MaskResult(Result):
    """A segmentation: `mask`, (H, W) uint8 of class ids; 0 is background."""

    __slots__ = ()

    @property
    def mask(self) -> np.ndarray:
        """The class id of every pixel, (H, W) uint8."""
        assert isinstance(self._prediction, np.ndarray)
        return self._prediction

    @property
    def measurements(self) -> list[Measurement]:
        """Area, perimeter, longest diameter and equivalent ellipse of every class."""
        return measure_mask(self.mask, self.pixel_size, self.task.names)

    def _words(self) -> str:
        unit = "mm2" if self.pixel_size else "px2"
        found = areas(self.mask, self.pixel_size or (1.0, 1.0))
        return ", ".join(f"{self.task.name_of(n)}: {area:.0f} {unit}" for n, area in found.items()) or "nothing"


class ClassResult(Result):
    """A classification: `label` and `probabilities`, (C,)."""

    __slots__ = ()
    VALUES = ("label", "probabilities")

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of every class, (C,), with the sum 1."""
        assert isinstance(self._prediction, ClassificationPrediction)
        return np.array(self._prediction.predicted_probs)

    @property
    def label(self) -> int:
        """The likeliest class."""
        assert isinstance(self._prediction, ClassificationPrediction)
        return self._prediction.predicted_class

    def _words(self) -> str:
        return f"{self.task.name_of(self.label)}: {self.probabilities[self.label]:.0%}"


class BoxResult(Result):
    """A detection: `box`, (4,) as x1, y1, x2, y2 in pixels."""

    __slots__ = ()
    VALUES = ("box",)

    @property
    def box(self) -> np.ndarray:
        """The box, (4,) as x1, y1, x2, y2 in pixels."""
        assert isinstance(self._prediction, DetectionPrediction)
        return np.array(self._prediction.bbox_pixels)

    @property
    def measurements(self) -> list[Measurement]:
        """Width and height."""
        return measure_box(self.box.tolist(), self.pixel_size)

    def _words(self) -> str:
        return "box " + ", ".join(f"{value:.0f}" for value in self.box)


class PointsResult(Result):
    """Landmarks: `points`, (K, 2) as x, y in pixels, in the task's order."""

    __slots__ = ()
    VALUES = ("points",)

    @property
    def points(self) -> np.ndarray:
        """The landmarks, (K, 2) as x, y in pixels."""
        assert isinstance(self._prediction, LandmarksPrediction)
        return np.array(self._prediction.predicted_points_pixels).reshape(-1, 2)

    @property
    def measurements(self) -> list[Measurement]:
        """The distances between landmarks, and for the intrapartum landmarks the angle of progression."""
        progression = PROGRESSION in (self.task.id, self.task.alias)
        return measure_points(self.points, self.pixel_size, progression=progression)

    def _words(self) -> str:
        return " ".join(f"({x:.0f}, {y:.0f})" for x, y in self.points)


_RESULTS: dict[type, type[Result]] = {
    np.ndarray: MaskResult,
    ClassificationPrediction: ClassResult,
    DetectionPrediction: BoxResult,
    LandmarksPrediction: PointsResult,
}


def result_of(
    predicted: PredictedRow, task: Task, read: Callable[[], Image], scale: Scale, frame: int | None
) -> Result:
    """Return the result of a predicted row.

    Args:
        predicted: the row.
        task: its task.
        read: returns its image.
        scale: what is known about the size of the image's pixels.
        frame: the number of the image in its file.
    """
    prediction = predicted.prediction
    places = None if predicted.fallback is not None else _places(KINDS[task.type].draw_prediction(prediction))
    return _RESULTS[type(prediction)](
        task,
        predicted.row.image_path,
        frame,
        predicted.size,
        predicted.raw_confidence,
        predicted.confidence,
        predicted.warnings,
        predicted.fallback,
        None if places is None else scale.at(places),
        _prediction=prediction,
        _read=read,
    )


def _places(drawing: Drawing) -> np.ndarray | None:
    """Return places, (N, 2) as x, y in pixels, between which a prediction lies; None if it has none."""
    if drawing.mask is not None:
        region = (drawing.mask > 0).astype(np.uint8)
        return bounding_box(region).reshape(2, 2) if region.any() else None
    if drawing.box is not None:
        return np.reshape(drawing.box, (2, 2))
    return drawing.points
