"""Detection: one box around a structure.

The label and the value compared with it are boxes, (4,) float64 as x1, y1, x2, y2 in pixels of the original image.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from aurora.images.transform import to_fractions
from aurora.kinds.base import (
    CaseMetrics,
    DerivationRule,
    Drawing,
    Facts,
    Fraction,
    Note,
    Pixels,
    Prediction,
    Predictions,
    Rank,
    Record,
    Size,
    both_units,
    class_means,
    mean_columns,
    mean_metrics,
    numbered,
    numbers,
    resampled_means,
)
from aurora.kinds.mask_geometry import bounding_box, largest_region
from aurora.rows import Row, box_label

METRICS: Mapping[str, str] = {"iou": "IoU"}
UNBOUNDED: tuple[str, ...] = ()
COMPOSITE: tuple[str, ...] = ("iou",)
PREDICTIONS_FILE: str | None = "detection_predictions.json"
PART = "box"
CASE_SCORE = "IoU"
HUB_TASK = "object-detection"
REFINEMENTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {}

# Every metric is a mean over the cases.
task_metrics, bootstrap_columns, resample = mean_metrics, mean_columns, resampled_means

#: The smallest IoU at which a box counts as found.
FOUND = 0.5
# A cell votes on the box if its objectness is at least this share of the best cell's, and if its box and the best
# cell's have at least this IoU.
BOX_VOTE_SHARE = 0.9
BOX_VOTE_IOU = 0.5


class DetectionPrediction(Record):
    """One box as x1, y1, x2, y2 with x1 <= x2 and y1 <= y2."""

    bbox_normalized: Annotated[list[Fraction], Field(min_length=4, max_length=4)]
    bbox_pixels: Annotated[list[Pixels], Field(min_length=4, max_length=4)]


RECORD: type[Record] | None = DetectionPrediction


def predict(row: Row, count: int, raw: np.ndarray, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.predict`."""
    return record(row, decode_box(raw), size)


def mirror(raw: np.ndarray) -> np.ndarray:
    """See `aurora.kinds.base.Kind.mirror`; the distances to the left and right side change places as well."""
    return raw[[0, 3, 2, 1, 4], :, ::-1]


def fallback(row: Row, count: int, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.fallback`: the centred box of half the width and height."""
    return record(row, np.array([0.25, 0.25, 0.75, 0.75]), size)


def from_mean(row: Row, mean: np.ndarray, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.from_mean`; `mean` holds the mean corners, (2, 2) in fractions."""
    return record(row, mean, size)


def from_mask(row: Row, count: int, mask: np.ndarray) -> Prediction | None:
    """Return the box around the largest foreground region of a mask, (H, W); None if the mask has no foreground."""
    region = largest_region(mask)
    if region is None:
        return None
    # The challenge's boxes end after their last column and row.
    corners = bounding_box(region).reshape(2, 2) + np.array([[0, 0], [1, 1]])
    return record(row, to_fractions(corners, mask.shape), mask.shape)


DERIVATIONS: Mapping[str, DerivationRule] = {"bounding-box": from_mask}


def record(row: Row, box: np.ndarray, size: Size) -> DetectionPrediction:
    """Return a box (x1, y1, x2, y2) in fractions of an image of `size` (height, width) as the prediction of a row."""
    corners = np.sort(box.reshape(2, 2), axis=0)
    fractions, pixels = both_units(corners, size)
    return DetectionPrediction(
        image_path=row.image_path, task_id=row.task_id, bbox_normalized=fractions, bbox_pixels=pixels
    )


def decode_box(maps: np.ndarray) -> np.ndarray:
    """Decode objectness and distances (5, h, w) to one box (x1, y1, x2, y2) in fractions of the image.

    The result is the mean box, weighted by objectness, of the cell with the highest objectness and of the cells with
    nearly the same objectness whose boxes overlap its box.
    """
    height, width = maps.shape[1:]
    scores = objectness(maps[0].ravel())
    rows, columns = np.divmod(np.flatnonzero(scores >= BOX_VOTE_SHARE * scores.max()), width)
    x, y = (columns + 0.5) / width, (rows + 0.5) / height
    left, top, right, bottom = maps[1:, rows, columns].astype(np.float64)
    boxes = np.clip(np.stack([x - left, y - top, x + right, y + bottom], axis=1), 0.0, 1.0)
    votes = scores[rows * width + columns]
    best = votes.argmax()
    agreeing = box_iou(boxes, boxes[best][None]) >= BOX_VOTE_IOU
    agreeing[best] = True
    return np.average(boxes[agreeing], axis=0, weights=votes[agreeing])


def objectness(logits: np.ndarray) -> np.ndarray:
    """Convert logits of any shape to objectness, float64 in (0, 1): how likely each cell is inside the object."""
    # Clipped, because scores that are all 0 can't be the weights of a mean.
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -500.0, 500.0)))


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union, (N,), of boxes (N, 4) as x1, y1, x2, y2 pair by pair; 0 without a union.

    `others` may also be one box, (1, 4).
    """
    overlap = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    shared = overlap.clip(min=0).prod(axis=1)
    areas = [(one[:, 2:] - one[:, :2]).clip(min=0).prod(axis=1) for one in (boxes, others)]
    union = areas[0] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def confidence(raw: np.ndarray) -> float:
    """See `aurora.kinds.base.Kind.confidence`: the objectness of the best cell."""
    return float(objectness(raw[0].max()))


def read_label(row: Row, root: Path, num_classes: int) -> np.ndarray | None:
    """See `aurora.kinds.base.Kind.read_label`."""
    box = box_label(row)
    return None if box is None else np.array(box, dtype=float)


def read_value(
    row: Row, predictions: Predictions, label: np.ndarray, num_classes: int, note: Note
) -> np.ndarray | None:
    """See `aurora.kinds.base.Kind.read_value`."""
    entry = predictions.entry(row)
    return None if entry is None else numbers(entry, "bbox_pixels", 4)


def to_value(prediction: Prediction, label: np.ndarray, num_classes: int) -> np.ndarray:
    """See `aurora.kinds.base.Kind.to_value`."""
    return np.array(_record(prediction).bbox_pixels)


def case_metrics(label: np.ndarray, value: np.ndarray, num_classes: int, *, hausdorff: bool) -> CaseMetrics:
    """See `aurora.kinds.base.Kind.case_metrics`: `iou` in [0, 1], (1,)."""
    return {"iou": box_iou(label[None], value[None])}


def class_metrics(cases: Sequence[CaseMetrics]) -> dict[int, dict[str, float]]:
    """See `aurora.kinds.base.Kind.class_metrics`; `found` is the share of boxes whose IoU is at least `FOUND`."""
    share_found = np.mean([case["iou"] >= FOUND for case in cases], axis=0)
    return numbered({**class_means(cases), "found": share_found}, first=1)


def rank(metrics: CaseMetrics) -> Rank:
    """See `aurora.kinds.base.Kind.rank`."""
    iou = float(metrics["iou"].mean())
    return Rank(iou, 0.0, f"IoU {iou:.3f}")


def draw_label(label: np.ndarray) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_label`."""
    return Drawing(box=label.tolist())


def draw_value(value: np.ndarray) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_value`."""
    return Drawing(box=value.tolist())


def draw_prediction(prediction: Prediction) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_prediction`."""
    return Drawing(box=_record(prediction).bbox_pixels)


def facts(prediction: Prediction) -> Facts:
    """See `aurora.kinds.base.Kind.facts`; the position is the centre of the box."""
    x1, y1, x2, y2 = _record(prediction).bbox_normalized
    return Facts(area=(x2 - x1) * (y2 - y1), positions=[((x1 + x2) / 2, (y1 + y2) / 2)])


def check(prediction: Prediction, row: Row) -> None:
    """See `aurora.kinds.base.Kind.check`."""
    stated = _record(prediction)
    corners = np.array([stated.bbox_normalized, stated.bbox_pixels])
    if (corners[:, :2] > corners[:, 2:]).any():
        raise ValueError("expected x1 <= x2 and y1 <= y2")


def _record(prediction: Prediction) -> DetectionPrediction:
    if not isinstance(prediction, DetectionPrediction):
        raise TypeError(f"expected a DetectionPrediction, found a {type(prediction).__name__}")
    return prediction
