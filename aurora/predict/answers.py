"""Answers in the challenge's format, and the neutral ones that stand in where nothing better is possible.

A segmentation answer is a mask, (H, W) uint8 of class ids. The others are records, one per row of the
three JSON files; a value that isn't finite can't become a record.
"""

from collections.abc import Mapping
from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from aurora.images.transform import to_pixels
from aurora.model.decode import decode_box, decode_mask, decode_points, softmax
from aurora.rows import Row
from aurora.tasks import TaskType

#: The file that holds the answers of each type but segmentation.
JSON_FILES: Mapping[TaskType, str] = {
    TaskType.CLASSIFICATION: "classification_predictions.json",
    TaskType.DETECTION: "detection_predictions.json",
    TaskType.REGRESSION: "regression_predictions.json",
}
#: What a row is taken to ask for where it doesn't say: classes, boxes or points.
DEFAULT_CLASSES: Mapping[TaskType, int] = {
    TaskType.SEGMENTATION: 2,
    TaskType.CLASSIFICATION: 2,
    TaskType.DETECTION: 1,
    TaskType.REGRESSION: 2,
}
#: The size (height, width) that a fallback takes where the image's own can't be read.
UNKNOWN_SIZE = (512, 512)
#: A stated size beyond these counts as unknown: a mask of it fits neither into a PNG nor into memory.
MAX_MASK_SIDE = 1_000_000
MAX_MASK_PIXELS = 1 << 29

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Pixels = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    image_path: str
    task_id: str


class ClassificationPrediction(_Record):
    """The likeliest class and the probabilities of all, which sum to 1."""

    predicted_class: Annotated[int, Field(ge=0)]
    predicted_probs: Annotated[list[Fraction], Field(min_length=1)]


class DetectionPrediction(_Record):
    """One box as x1, y1, x2, y2 with x1 <= x2 and y1 <= y2."""

    bbox_normalized: Annotated[list[Fraction], Field(min_length=4, max_length=4)]
    bbox_pixels: Annotated[list[Pixels], Field(min_length=4, max_length=4)]


class LandmarksPrediction(_Record):
    """The landmarks as x1, y1, x2, y2, ... in the task's order."""

    predicted_points_normalized: list[Fraction]
    predicted_points_pixels: list[Pixels]


Prediction = np.ndarray | ClassificationPrediction | DetectionPrediction | LandmarksPrediction


def answer(row: Row, kind: TaskType, count: int, raw: np.ndarray, size: tuple[int, int]) -> Prediction:
    """The answer to one row.

    Args:
        row: the case; its path and task are echoed as they are.
        kind: the row's type.
        count: how many classes or points the row asks for; the head's are cut or padded to it.
        raw: the model's output for the row's task, (channels, ...), finite.
        size: height and width of the original image in pixels.

    Raises:
        ValueError: the output isn't finite.
    """
    if not np.isfinite(raw).all():
        raise ValueError("the model's output is not finite")
    if kind is TaskType.SEGMENTATION:
        return decode_mask(raw[:count], size)
    if kind is TaskType.CLASSIFICATION:
        return classification(row, _fit(softmax(raw[:count]), count, 0.0))
    if kind is TaskType.DETECTION:
        return detection(row, decode_box(raw), size)
    return regression(row, _fit(decode_points(raw[:count]), count, 0.5), size)


def fallback(row: Row, kind: TaskType, count: int, size: tuple[int, int] | None) -> Prediction:
    """A valid, neutral answer of the row's own type: background, uniform, centred."""
    size = fallback_size(size)
    if kind is TaskType.SEGMENTATION:
        return np.zeros(size, dtype=np.uint8)
    if kind is TaskType.CLASSIFICATION:
        return classification(row, np.full(count, 1.0 / count))
    if kind is TaskType.DETECTION:
        return detection(row, np.array([0.25, 0.25, 0.75, 0.75]), size)
    return regression(row, np.full((count, 2), 0.5), size)


def fallback_size(size: tuple[int, int] | None) -> tuple[int, int]:
    """The size (height, width) of a fallback: the image's own, unless that is unknown or more than a mask can have."""
    if size is None or max(size) > MAX_MASK_SIDE or size[0] * size[1] > MAX_MASK_PIXELS:
        return UNKNOWN_SIZE
    return size


def encode_mask(answer: Prediction) -> bytes:
    """The PNG file that a mask becomes; empty for another answer, and for a mask that no PNG can hold."""
    if not isinstance(answer, np.ndarray):
        return b""
    encoded, pixels = cv2.imencode(".png", answer)
    return pixels.tobytes() if encoded else b""


def classification(row: Row, probabilities: np.ndarray) -> ClassificationPrediction:
    """Probabilities (C,) as a record."""
    return ClassificationPrediction(
        image_path=row.image_path,
        task_id=row.task_id,
        predicted_class=int(probabilities.argmax()),
        predicted_probs=probabilities.tolist(),
    )


def detection(row: Row, box: np.ndarray, size: tuple[int, int]) -> DetectionPrediction:
    """A box (x1, y1, x2, y2) in fractions of an image of `size` (height, width) as a record."""
    corners = np.sort(box.reshape(2, 2), axis=0)
    fractions, pixels = _frames(corners, size)
    return DetectionPrediction(
        image_path=row.image_path, task_id=row.task_id, bbox_normalized=fractions, bbox_pixels=pixels
    )


def regression(row: Row, points: np.ndarray, size: tuple[int, int]) -> LandmarksPrediction:
    """Points (K, 2) in fractions of an image of `size` (height, width) as a record."""
    fractions, pixels = _frames(points, size)
    return LandmarksPrediction(
        image_path=row.image_path,
        task_id=row.task_id,
        predicted_points_normalized=fractions,
        predicted_points_pixels=pixels,
    )


def _frames(points: np.ndarray, size: tuple[int, int]) -> tuple[list[float], list[float]]:
    """Points as the challenge writes them: pixels, and pixels divided by width and height."""
    pixels = to_pixels(points, size)
    return (pixels / (size[1], size[0])).ravel().tolist(), pixels.ravel().tolist()


def _fit(values: np.ndarray, count: int, filler: float) -> np.ndarray:
    """The first `count` entries, padded with `filler` where there are fewer."""
    padding = [(0, count - len(values))] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, padding, constant_values=filler)


RECORDS: Mapping[TaskType, type[ClassificationPrediction | DetectionPrediction | LandmarksPrediction]] = {
    TaskType.CLASSIFICATION: ClassificationPrediction,
    TaskType.DETECTION: DetectionPrediction,
    TaskType.REGRESSION: LandmarksPrediction,
}
