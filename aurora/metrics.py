"""The challenge's metrics on arrays alone, and this project's composite of them.

Each `..._scores` function takes the cases of one task and returns its metrics by name:

- segmentation: `dsc` in [0, 1]; `hd` in pixels
- classification: `accuracy`, `auc`, `f1_macro`, `f1_weighted` in [0, 1]; `mcc` in [-1, 1]
- detection: `iou` in [0, 1]
- Regression: `mre` in pixels; `closeness` in [0, 1], the case's max(0, 1 - MRE / (0.1 x image diagonal))

A metric that is not defined for the cases is NaN.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from aurora.tasks import TaskType

METRICS: Mapping[TaskType, tuple[str, ...]] = {
    TaskType.SEGMENTATION: ("dsc", "hd"),
    TaskType.CLASSIFICATION: ("auc", "f1_macro", "mcc", "accuracy", "f1_weighted"),
    TaskType.DETECTION: ("iou",),
    TaskType.REGRESSION: ("mre", "closeness"),
}

#: The metrics whose mean is a task's composite.
COMPOSITE_OF: Mapping[TaskType, tuple[str, ...]] = {
    TaskType.SEGMENTATION: ("dsc",),
    TaskType.CLASSIFICATION: ("auc", "f1_macro", "mcc"),
    TaskType.DETECTION: ("iou",),
    TaskType.REGRESSION: ("closeness",),
}

# Distances have no worst value, so an unanswered task has none.
_DISTANCES = ("hd", "mre")

# A mean radial error of this share of the image's diagonal earns nothing.
_RADIUS = 0.1


def composite_of(kind: TaskType, metrics: Mapping[str, float]) -> float:
    """A task's share of the composite: at most 1, and below 0 only through a negative MCC.

    An AUC that is not defined (NaN) is left out of the mean. Raises `KeyError` if a metric is absent.
    """
    return defined_mean(metrics[name] for name in COMPOSITE_OF[kind])


def defined_mean(values: Iterable[float]) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def unanswered(kind: TaskType) -> dict[str, float]:
    """The metrics of a task without a single answer: 0, and NaN for distances."""
    return {name: math.nan if name in _DISTANCES else 0.0 for name in METRICS[kind]}


def dice(truth: np.ndarray, answer: np.ndarray) -> float:
    """The Dice coefficient 2|A and B| / (|A| + |B|) of two boolean (H, W) regions; 1 if both are empty."""
    total = np.count_nonzero(truth) + np.count_nonzero(answer)
    return 2 * np.count_nonzero(truth & answer) / total if total else 1.0


def hausdorff_distance(truth: np.ndarray, answer: np.ndarray) -> float:
    """The maximum Hausdorff distance in pixels of two boolean (H, W) regions, by SimpleITK's filter.

    0 if both are empty; the image's diagonal if one is.
    """
    import SimpleITK as sitk

    either = truth | answer
    if not either.any():
        return 0.0
    if not truth.any() or not answer.any():
        return math.hypot(*truth.shape)
    # The distance is one between sets of pixels: what lies around both regions has no part in it.
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    crop = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    images = [sitk.GetImageFromArray(region[crop].astype(np.uint8)) for region in (truth, answer)]
    distance = sitk.HausdorffDistanceImageFilter()
    distance.Execute(*images)
    return float(distance.GetHausdorffDistance())


def segmentation_scores(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int, hausdorff: bool = True
) -> dict[str, float]:
    """`dsc` and `hd`, averaged over the images, then over the classes 1 .. `num_classes` - 1.

    `pairs` gives each image's true and answered class ids, two (H, W) integer arrays of one shape (`ValueError`
    otherwise); it is read once, a pair at a time. Without `hausdorff` there is no `hd`.
    """
    overlaps, distances = [], []
    for truth, answer in pairs:
        if truth.shape != answer.shape:
            raise ValueError(f"the answered mask should have the shape {truth.shape}, but has {answer.shape}")
        regions = [(truth == label, answer == label) for label in range(1, num_classes)]
        overlaps.append([dice(*region) for region in regions])
        if hausdorff:
            distances.append([hausdorff_distance(*region) for region in regions])
    if not overlaps:
        scores = unanswered(TaskType.SEGMENTATION)
        return scores if hausdorff else {"dsc": scores["dsc"]}
    scores = {"dsc": float(np.mean(overlaps, axis=0).mean())}
    return scores | {"hd": float(np.mean(distances, axis=0).mean())} if hausdorff else scores


def classification_scores(
    labels: Sequence[int] | np.ndarray, probs: np.ndarray, predicted: Sequence[int] | np.ndarray | None = None
) -> dict[str, float]:
    """Accuracy, AUC, macro and weighted F1, and MCC, by scikit-learn.

    `labels` (N,) are the true classes, `probs` (N, C) the classes' probabilities, `predicted` (N,) the classes
    answered (by default the most probable). `ValueError` names a label outside 0 .. C - 1.
    """
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    labels, probs = np.asarray(labels, dtype=int), np.asarray(probs, dtype=float)
    if not len(labels):
        return unanswered(TaskType.CLASSIFICATION)
    if labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise ValueError(f"labels should lie in 0..{probs.shape[1] - 1}, but go from {labels.min()} to {labels.max()}")
    predicted = probs.argmax(axis=1) if predicted is None else np.asarray(predicted, dtype=int)
    return {
        "auc": _auc(labels, probs),
        "f1_macro": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "mcc": float(matthews_corrcoef(labels, predicted)),
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1_weighted": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
    }


def _auc(labels: np.ndarray, probs: np.ndarray) -> float:
    """Column 1 for two classes; macro one-vs-rest over the classes that occur otherwise; NaN if only one occurs."""
    from sklearn.metrics import roc_auc_score

    occurring = np.unique(labels)
    if len(occurring) < 2:
        return math.nan
    columns = [1] if probs.shape[1] == 2 else occurring
    return float(np.mean([roc_auc_score(labels == column, probs[:, column]) for column in columns]))


def box_iou(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Intersection over union, (N,), of boxes (N, 4) as x1, y1, x2, y2 taken pair by pair; 0 for two empty boxes."""
    overlap = np.minimum(truth[:, 2:], answer[:, 2:]) - np.maximum(truth[:, :2], answer[:, :2])
    shared = overlap.clip(min=0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1) for boxes in (truth, answer)]
    union = areas[0] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def detection_scores(
    truth_boxes: Sequence[Sequence[float]] | np.ndarray, boxes: Sequence[Sequence[float]] | np.ndarray
) -> dict[str, float]:
    """The mean `iou` of (N, 4) true and answered boxes, x1, y1, x2, y2 in pixels."""
    if not len(truth_boxes):
        return unanswered(TaskType.DETECTION)
    return {"iou": float(box_iou(np.asarray(truth_boxes, dtype=float), np.asarray(boxes, dtype=float)).mean())}


def regression_scores(
    truth_points: Sequence[np.ndarray], points: Sequence[np.ndarray], diagonals: Sequence[float]
) -> dict[str, float]:
    """`mre`, the mean Euclidean error over points and cases, and the mean `closeness`.

    Per case: true and answered points (K, 2) and the image's diagonal, all in pixels of the original image.
    """
    if not len(truth_points):
        return unanswered(TaskType.REGRESSION)
    cases = zip(truth_points, points, strict=True)
    errors = np.array([np.linalg.norm(np.subtract(truth, answer), axis=1).mean() for truth, answer in cases])
    closeness = (1 - errors / (_RADIUS * np.asarray(diagonals, dtype=float))).clip(min=0)
    return {"mre": float(errors.mean()), "closeness": float(closeness.mean())}
