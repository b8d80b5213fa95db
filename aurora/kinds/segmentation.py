"""Segmentation: a mask of class ids at the size of the image.

The label and the value compared with it are masks, (H, W) uint8 with class ids; 0 is background.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from aurora.errors import ImageError, InputError
from aurora.images import read_mask
from aurora.images.labels import find_masks, merged_mask
from aurora.kinds.base import (
    CaseMetrics,
    DerivationRule,
    Drawing,
    Facts,
    Note,
    Prediction,
    Predictions,
    Rank,
    Record,
    Size,
    class_means,
    flip_columns,
    mean_columns,
    mean_metrics,
    numbered,
    resampled_means,
)
from aurora.kinds.mask_refinements import convex_hull, fill_holes, largest_component
from aurora.rows import Row, predicted_mask_path

METRICS: Mapping[str, str] = {"dsc": "DSC", "hd": "HD"}
UNBOUNDED: tuple[str, ...] = ("hd",)
COMPOSITE: tuple[str, ...] = ("dsc",)
PREDICTIONS_FILE: str | None = None
RECORD: type[Record] | None = None
PART = "class"
CASE_SCORE = "DSC"
HUB_TASK = "image-segmentation"
REFINEMENTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "largest-component": largest_component,
    "fill-holes": fill_holes,
    "convex-hull": convex_hull,
}
DERIVATIONS: Mapping[str, DerivationRule] = {}

# Every metric is a mean over the cases.
task_metrics, bootstrap_columns, resample = mean_metrics, mean_columns, resampled_means
mirror = flip_columns

# Above this many pixels the classes are chosen on a smaller grid and enlarged, which bounds memory.
MAX_ARGMAX_PIXELS = 16_000_000


def predict(row: Row, count: int, raw: np.ndarray, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.predict`."""
    return decode_mask(raw[:count], size)


def fallback(row: Row, count: int, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.fallback`: background everywhere."""
    return np.zeros(size, dtype=np.uint8)


def from_mean(row: Row, mean: np.ndarray, size: Size) -> Prediction:
    """See `aurora.kinds.base.Kind.from_mean`; `mean` holds the share of each class on a grid, (h, w, C)."""
    height, width = size
    shares = cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR)
    classes = 1 + shares[..., 1:].argmax(axis=2)
    return np.where(1 - shares[..., 0] >= best_threshold(1 - mean[..., 0]), classes, 0).astype(np.uint8)


def best_threshold(foreground: np.ndarray) -> float:
    """Return the best threshold for calling a pixel foreground, from probabilities of foreground of any shape.

    The threshold t maximises the expected pooled Dice 2 * sum(p above t) / (sum(p) + number above t) of the
    probabilities p. With a threshold of one half, a small structure whose position varies would never be predicted.
    """
    falling = np.sort(foreground, axis=None)[::-1]
    dice_at = 2 * falling.cumsum() / (falling.sum() + np.arange(1, falling.size + 1))
    return float(falling[dice_at.argmax()])


def confidence(raw: np.ndarray) -> float:
    """See `aurora.kinds.base.Kind.confidence`.

    It is the mean probability of the best class over the cells of foreground, or over all cells if there is no
    foreground.
    """
    best = raw.max(axis=0)
    probability = 1.0 / np.exp(raw.astype(np.float64) - best).sum(axis=0)
    foreground = best > raw[0]
    return float(probability[foreground].mean() if foreground.any() else probability.mean())


def read_label(row: Row, root: Path, num_classes: int) -> np.ndarray | None:
    """See `aurora.kinds.base.Kind.read_label`."""
    if not row.mask_path:
        return None
    paths = find_masks(root, row)
    mask = merged_mask(paths)
    highest = int(mask.max(initial=0))
    if highest >= num_classes:
        raise InputError(
            f"expected a mask of class ids below {num_classes}, found one with {highest}; correct {paths[0]}"
        )
    return mask


def read_value(
    row: Row, predictions: Predictions, label: np.ndarray, num_classes: int, note: Note
) -> np.ndarray | None:
    """See `aurora.kinds.base.Kind.read_value`."""
    path = predictions.folder / predicted_mask_path(row)
    if not exists(path):
        return None
    mask = read_mask(path)
    if mask.max(initial=0) >= num_classes:
        note(f"{path} has the class {mask.max()}, expected < {num_classes}; its pixels count as wrong")
    if mask.shape != label.shape:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (label.shape, mask.shape)]
        note(f"expected a mask of {sizes[0]} pixels, found {sizes[1]}; it is resized, as by the published evaluator")
    return to_value(mask, label, num_classes)


def to_value(prediction: Prediction, label: np.ndarray, num_classes: int) -> np.ndarray:
    """See `aurora.kinds.base.Kind.to_value`; a mask of another size is resized to that of the label."""
    mask = _mask(prediction)
    if mask.shape == label.shape:
        return mask
    return cv2.resize(mask, label.shape[::-1], interpolation=cv2.INTER_NEAREST)  # as the published evaluator does


def exists(path: Path) -> bool:
    """Return whether `path` exists; raise `ImageError` if that can't be determined."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror}", path) from None
    return True


def case_metrics(label: np.ndarray, value: np.ndarray, num_classes: int, *, hausdorff: bool) -> CaseMetrics:
    """See `aurora.kinds.base.Kind.case_metrics`: `dsc` in [0, 1] and `hd` in pixels, (C - 1,), of classes 1 to C - 1.

    Raises `ValueError` if the two masks differ in shape.
    """
    if label.shape != value.shape:
        raise ValueError(f"expected a mask of the shape {label.shape}, found {value.shape}")
    regions = [(label == number, value == number) for number in range(1, num_classes)]
    metrics = {"dsc": np.array([dice(*region) for region in regions])}
    return metrics | {"hd": np.array([hausdorff_distance(*region) for region in regions])} if hausdorff else metrics


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the Dice coefficient 2|A and B| / (|A| + |B|) of two boolean (H, W) regions; 1 if both are empty."""
    total = np.count_nonzero(truth) + np.count_nonzero(predicted)
    return 2 * np.count_nonzero(truth & predicted) / total if total else 1.0


def hausdorff_distance(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the maximum Hausdorff distance in pixels of two boolean (H, W) regions, by SimpleITK's filter.

    It is 0 if both are empty, and the image's diagonal if one of them is.
    """
    import SimpleITK as sitk

    either = truth | predicted
    if not either.any():
        return 0.0
    if not truth.any() or not predicted.any():
        return math.hypot(*truth.shape)
    # The distance depends only on the pixels of the regions, so the image may be cropped to them.
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    crop = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    images = [sitk.GetImageFromArray(region[crop].astype(np.uint8)) for region in (truth, predicted)]
    distance = sitk.HausdorffDistanceImageFilter()
    distance.Execute(*images)
    return float(distance.GetHausdorffDistance())


def class_metrics(cases: Sequence[CaseMetrics]) -> dict[int, dict[str, float]]:
    """See `aurora.kinds.base.Kind.class_metrics`."""
    return numbered(class_means(cases), first=1)


def rank(metrics: CaseMetrics) -> Rank:
    """See `aurora.kinds.base.Kind.rank`."""
    dsc, distance = float(metrics["dsc"].mean()), float(metrics["hd"].mean())
    return Rank(dsc, distance, f"DSC {dsc:.3f}, HD {distance:.1f} px")


def draw_label(label: np.ndarray) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_label`."""
    return Drawing(mask=label)


def draw_value(value: np.ndarray) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_value`."""
    return Drawing(mask=value)


def draw_prediction(prediction: Prediction) -> Drawing:
    """See `aurora.kinds.base.Kind.draw_prediction`."""
    return Drawing(mask=_mask(prediction))


def facts(prediction: Prediction) -> Facts:
    """See `aurora.kinds.base.Kind.facts`."""
    shares = class_shares(_mask(prediction))
    return Facts(classes=[(number, share) for number, share in enumerate(shares) if share], area=sum(shares[1:]))


def class_shares(mask: np.ndarray) -> tuple[float, ...]:
    """Return the share of each class up to the highest one in a mask (H, W), to six digits."""
    pixels = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel() / mask.size
    return tuple(round(share, 6) for share in np.trim_zeros(pixels, "b").tolist())


def check(prediction: Prediction, row: Row) -> None:
    """See `aurora.kinds.base.Kind.check`."""
    highest = int(_mask(prediction).max(initial=0))
    if row.num_classes and highest >= row.num_classes:
        raise ValueError(f"expected classes below {row.num_classes} in the mask, found {highest}")


def decode_mask(logits: np.ndarray, size: Size) -> np.ndarray:
    """Decode class logits (C, h, w) to class ids, (height, width) uint8, at the image's `size`.

    Logits are enlarged bilinearly before the best class is chosen, so that borders are finer than a cell.
    """
    height, width = size
    shrink = max(1.0, (height * width / MAX_ARGMAX_PIXELS) ** 0.5)
    grid = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    best = cv2.resize(logits[0], grid, interpolation=cv2.INTER_LINEAR)
    mask = np.zeros(best.shape, dtype=np.uint8)
    for number in range(1, len(logits)):
        logit = cv2.resize(logits[number], grid, interpolation=cv2.INTER_LINEAR)
        mask[logit > best] = number
        np.maximum(best, logit, out=best)
    return mask if shrink == 1.0 else cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)


def _mask(prediction: Prediction) -> np.ndarray:
    if not isinstance(prediction, np.ndarray):
        raise InputError(f"expected a mask of the task {prediction.task_id}, found a {type(prediction).__name__}")
    return prediction
