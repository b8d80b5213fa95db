"""Landmarks, which the challenge calls Regression: a fixed number of points in a fixed order.

The label is a `LandmarksLabel`; the value compared with it is an array of points, (K, 2) as x, y in pixels of the
original image.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aurora.images import image_size
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
    flip_columns,
    mean_columns,
    mean_metrics,
    numbered,
    numbers,
    resampled_means,
    resize_count,
)
from aurora.kinds.mask_geometry import ellipse_axes, largest_region
from aurora.rows import Row, image_file, points_label

METRICS: Mapping[str, str] = {"mre": "MRE", "mre_score": ""}  # the score is the composite, which tables have anyway
UNBOUNDED: tuple[str, ...] = ("mre",)
COMPOSITE: tuple[str, ...] = ("mre_score",)
PREDICTIONS_FILE: str | None = "regression_predictions.json"
PART = "point"
CASE_SCORE = "1 - MRE / (0.1 x diagonal)"
HUB_TASK = "keypoint-detection"
REFINEMENTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {}

# Every metric is a mean over the cases.
task_metrics, bootstrap_columns, resample = mean_metrics, mean_columns, resampled_means
mirror = flip_columns

# The score is 0 from a mean radial error of this share of the image's diagonal.
_RADIUS = 0.1
# The distance from a landmark within which its heatmap's mass counts, as a share of the image's sides.
NEAR = 0.05
# The points of an ellipse: the left and right end of its major axis, the upper and lower end of its minor axis.
ELLIPSE_POINTS = 4


class LandmarksPrediction(Record):
    """The landmarks as x1, y1, x2, y2, ... in the task's order."""

    predicted_points_normalized: list[Fraction]
    predicted_points_pixels: list[Pixels]


RECORD: type[Record] | None = LandmarksPrediction


class LandmarksLabel(NamedTuple):
    """The true points, (K, 2) as x, y, and the image's diagonal, all in pixels of the original image."""

    points: np.ndarray
    diagonal: float


def predict(row: Row, count: int, raw: np.ndarray, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.predict`."""
    return record(row, resize_count(decode_points(raw[:count]), count, 0.5), size)


def fallback(row: Row, count: int, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.fallback`: every point at the centre."""
    return record(row, np.full((count, 2), 0.5), size)


def from_mean(row: Row, mean: np.ndarray, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.from_mean`; `mean` holds the mean points, (K, 2) in fractions."""
    return record(row, mean, size)


def from_ellipse(row: Row, count: int, mask: np.ndarray) -> Prediction | None:
    """Return the ends of the axes of the largest foreground region's ellipse; None without one, or for other counts."""
    region = largest_region(mask)
    if region is None or count != ELLIPSE_POINTS:
        return None
    return record(row, to_fractions(ellipse_axes(region), mask.shape), mask.shape)


DERIVATIONS: Mapping[str, DerivationRule] = {"ellipse-axes": from_ellipse}


def record(row: Row, points: np.ndarray, size: Size) -> LandmarksPrediction:
    """Return points (K, 2) in fractions of an image of `size` (height, width) as the prediction of a row."""
    fractions, pixels = both_units(points, size)
    return LandmarksPrediction(
        image_path=row.image_path,
        task_id=row.task_id,
        predicted_points_normalized=fractions,
        predicted_points_pixels=pixels,
    )


def decode_points(heatmaps: np.ndarray) -> np.ndarray:
    """Decode heatmap logits (K, h, w) to K points (x, y) in fractions of the image, by soft-argmax."""
    return mean_points(heatmap_weights(heatmaps))


def heatmap_weights(heatmaps: np.ndarray) -> np.ndarray:
    """Turn heatmap logits (K, h, w) into float64 weights of that shape, which sum to 1 in each map."""
    count, height, width = heatmaps.shape
    flat = heatmaps.reshape(count, -1).astype(np.float64)
    weights = np.exp(flat - flat.max(axis=1, keepdims=True)).reshape(count, height, width)
    weights /= weights.sum(axis=(1, 2), keepdims=True)
    return weights


def mean_points(weights: np.ndarray) -> np.ndarray:
    """Return the mean positions (K, 2), x and y in fractions of the image, of weights (K, h, w)."""
    height, width = weights.shape[1:]
    x = weights.sum(axis=1) @ ((np.arange(width) + 0.5) / width)
    y = weights.sum(axis=2) @ ((np.arange(height) + 0.5) / height)
    return np.stack([x, y], axis=1)


def confidence(raw: np.ndarray) -> float:
    """See `aurora.kinds.base.Kind.confidence`.

    It is the share of a heatmap's mass within `NEAR` of its point, averaged over the points.
    """
    weights = heatmap_weights(raw)
    height, width = weights.shape[1:]
    x, y = mean_points(weights).T[..., None]
    columns = np.abs((np.arange(width) + 0.5) / width - x) <= NEAR
    rows = np.abs((np.arange(height) + 0.5) / height - y) <= NEAR
    return float(np.einsum("khw,kh,kw->k", weights, rows, columns).mean())


def read_label(row: Row, root: Path, num_classes: int) -> LandmarksLabel | None:
    """See `aurora.kinds.base.Kind.read_label`."""
    points = points_label(row)
    if points is None:
        return None
    return LandmarksLabel(np.array(points, dtype=float), math.hypot(*image_size(image_file(root, row), root)))


def read_value(
    row: Row, predictions: Predictions, label: LandmarksLabel, num_classes: int, note: Note
) -> np.ndarray | None:
    """See `aurora.kinds.base.Kind.read_value`."""
    entry = predictions.entry(row)
    return None if entry is None else numbers(entry, "predicted_points_pixels", label.points.size).reshape(-1, 2)


def to_value(prediction: Prediction, label: LandmarksLabel, num_classes: int) -> np.ndarray:
    """See `aurora.kinds.base.Kind.to_value`."""
    return numbers(_record(prediction).model_dump(), "predicted_points_pixels", label.points.size).reshape(-1, 2)


def case_metrics(label: LandmarksLabel, value: np.ndarray, num_classes: int, *, hausdorff: bool) -> CaseMetrics:
    """See `aurora.kinds.base.Kind.case_metrics`.

    They are `mre`, (K,), each point's Euclidean error in pixels, and `mre_score`, (1,), max(0, 1 - MRE / (0.1 x image
    diagonal)). Raises `ValueError` if the numbers of points differ.
    """
    if label.points.shape != value.shape:
        raise ValueError(f"expected points of the shape {label.points.shape}, found {value.shape}")
    errors = np.linalg.norm(label.points - value, axis=1)
    return {"mre": errors, "mre_score": np.array([max(0.0, 1 - errors.mean() / (_RADIUS * label.diagonal))])}


def class_metrics(cases: Sequence[CaseMetrics]) -> dict[int, dict[str, float]]:
    """See `aurora.kinds.base.Kind.class_metrics`; without `mre_score`, which belongs to the case and not to a point."""
    return numbered(class_means([{"mre": case["mre"]} for case in cases]), first=1)


def rank(metrics: CaseMetrics) -> Rank:
    """See `aurora.kinds.base.Kind.rank`."""
    error = float(metrics["mre"].mean())
    return Rank(float(metrics["mre_score"].mean()), error, f"MRE {error:.1f} px")


def draw_label(label: LandmarksLabel) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_label`."""
    return Drawing(points=label.points)


def draw_value(value: np.ndarray) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_value`."""
    return Drawing(points=value)


def draw_prediction(prediction: Prediction) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_prediction`."""
    return Drawing(points=np.reshape(_record(prediction).predicted_points_pixels, (-1, 2)))


def facts(prediction: Prediction) -> Facts:
    """See `aurora.kinds.base.Kind.facts`."""
    points = np.reshape(_record(prediction).predicted_points_normalized, (-1, 2))
    return Facts(positions=[(x, y) for x, y in points.tolist()])


def check(prediction: Prediction, row: Row) -> None:
    """See `aurora.kinds.base.Kind.check`."""
    stated = _record(prediction)
    counts = len(stated.predicted_points_normalized), len(stated.predicted_points_pixels)
    wanted = 2 * row.num_classes if row.num_classes else counts[0]
    if counts != (wanted, wanted):
        actual = f"found {counts[0]} and {counts[1]}"
        raise ValueError(f"expected {wanted} numbers for the points in pixels and in fractions, {actual}")


def _record(prediction: Prediction) -> LandmarksPrediction:
    if not isinstance(prediction, LandmarksPrediction):
        raise TypeError(f"expected a LandmarksPrediction, found a {type(prediction).__name__}")
    return prediction
