"""The challenge's metrics on arrays alone, and this project's composite of them.

By type they are

- segmentation: `dsc` in [0, 1]; `hd` in pixels
- classification: `accuracy`, `auc`, `f1_macro`, `f1_weighted` in [0, 1]; `mcc` in [-1, 1]
- detection: `iou` in [0, 1]
- Regression: `mre` in pixels; `mre_score` in [0, 1], the case's max(0, 1 - MRE / (0.1 x image diagonal))

`case_metrics` gives what one case contributes, and `task_metrics` makes a task's metrics of its cases. A metric that is
not defined for the cases is NaN.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from aurora.tasks import TaskType

METRICS: Mapping[TaskType, tuple[str, ...]] = {
    TaskType.SEGMENTATION: ("dsc", "hd"),
    TaskType.CLASSIFICATION: ("auc", "f1_macro", "mcc", "accuracy", "f1_weighted"),
    TaskType.DETECTION: ("iou",),
    TaskType.REGRESSION: ("mre", "mre_score"),
}

#: The metrics whose mean is a task's composite.
COMPOSITE_METRICS: Mapping[TaskType, tuple[str, ...]] = {
    TaskType.SEGMENTATION: ("dsc",),
    TaskType.CLASSIFICATION: ("auc", "f1_macro", "mcc"),
    TaskType.DETECTION: ("iou",),
    TaskType.REGRESSION: ("mre_score",),
}

#: What one case contributes: its metrics by name, each an array of a value per class or point; for classification
#: `label` and `predicted`, (), and `probs`, (C,).
CaseMetrics = Mapping[str, np.ndarray]

#: How the challenge calls them; `mre_score` is the composite itself and needs no second place in a table.
DISPLAY_NAMES: Mapping[str, str] = {
    "dsc": "DSC", "hd": "HD", "auc": "AUC", "f1_macro": "F1", "mcc": "MCC", "accuracy": "accuracy",
    "f1_weighted": "weighted F1", "iou": "IoU", "mre": "MRE",
}  # fmt: skip

#: Those in pixels. A distance has no worst value, so an unanswered task has none.
UNBOUNDED_METRICS = ("hd", "mre")

# A mean radial error of this share of the image's diagonal earns nothing.
_RADIUS = 0.1


def composite_of(kind: TaskType, metrics: Mapping[str, float]) -> float:
    """A task's share of the composite: at most 1, and below 0 only through a negative MCC.

    An AUC that is not defined (NaN) is left out of the mean. Raises `KeyError` if a metric is absent.
    """
    return defined_mean(metrics[name] for name in COMPOSITE_METRICS[kind])


def defined_mean(values: Iterable[float]) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def unanswered(kind: TaskType) -> dict[str, float]:
    """The metrics of a task without a single answer: 0, and NaN for distances."""
    return {name: math.nan if name in UNBOUNDED_METRICS else 0.0 for name in METRICS[kind]}


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


def case_metrics(kind: TaskType, label: Any, answer: Any, num_classes: int, *, hausdorff: bool = True) -> CaseMetrics:
    """One case's values; `label` and `answer` as `aurora.scoring.cases.Cases` has them.

    Without `hausdorff` a mask's distance, which is slow, isn't measured. Raises `ValueError` where the answer hasn't
    the label's shape.
    """
    if kind is TaskType.SEGMENTATION:
        return segmentation_values(label, answer, num_classes, hausdorff)
    if kind is TaskType.CLASSIFICATION:
        predicted, probs = answer
        return {"label": np.array(label), "predicted": np.array(predicted), "probs": np.array(probs)}
    if kind is TaskType.DETECTION:
        return {"iou": box_iou(np.array([label], dtype=float), np.array([answer], dtype=float))}
    points, diagonal = label
    return regression_values(points, answer, diagonal)


def task_metrics(kind: TaskType, cases: Sequence[CaseMetrics]) -> dict[str, float]:
    """A task's metrics of its cases' values; `unanswered` without any."""
    if not cases:
        return unanswered(kind)
    if kind is not TaskType.CLASSIFICATION:
        return {name: float(np.mean([values[name].mean() for values in cases])) for name in cases[0]}
    found = stacked(cases)
    return classification_scores(found["label"], found["probs"], found["predicted"])


def stacked(cases: Sequence[CaseMetrics]) -> dict[str, np.ndarray]:
    """The cases' values, which have one shape, as one array (N, ...) for each name."""
    return {name: np.stack([values[name] for values in cases]) for name in cases[0]}


def class_means(cases: Sequence[CaseMetrics]) -> dict[str, np.ndarray]:
    """Each metric's mean over the cases, (C,), per class or point; over those that have it, if some have more."""
    columns = {name: zip_longest(*(values[name] for values in cases), fillvalue=math.nan) for name in cases[0]}
    return {name: np.nanmean(np.array(list(column)), axis=1) for name, column in columns.items()}


def segmentation_values(
    truth: np.ndarray, answer: np.ndarray, num_classes: int, hausdorff: bool = True
) -> dict[str, np.ndarray]:
    """`dsc` and `hd` of one image, (C - 1,) each: the classes 1 .. `num_classes` - 1. Without `hausdorff` no `hd`.

    `truth` and `answer` are class ids, two (H, W) integer arrays of one shape (`ValueError` otherwise).
    """
    if truth.shape != answer.shape:
        raise ValueError(f"the answered mask should have the shape {truth.shape}, but has {answer.shape}")
    regions = [(truth == label, answer == label) for label in range(1, num_classes)]
    values = {"dsc": np.array([dice(*region) for region in regions])}
    return values | {"hd": np.array([hausdorff_distance(*region) for region in regions])} if hausdorff else values


def classification_scores(
    labels: Sequence[int] | np.ndarray, probs: np.ndarray, predicted: Sequence[int] | np.ndarray | None = None
) -> dict[str, float]:
    """Accuracy, AUC, macro and weighted F1, and MCC, by scikit-learn.

    `labels` (N,) are the true classes, `probs` (N, C) the classes' probabilities, `predicted` (N,) the classes
    answered (by default the most probable). `ValueError` names a label outside 0 .. C - 1.
    """
    from sklearn.metrics import accuracy_score, f1_score

    labels, probs = np.asarray(labels, dtype=int), np.asarray(probs, dtype=float)
    if not len(labels):
        return unanswered(TaskType.CLASSIFICATION)
    if labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise ValueError(f"labels should lie in 0..{probs.shape[1] - 1}, but go from {labels.min()} to {labels.max()}")
    predicted = probs.argmax(axis=1) if predicted is None else np.asarray(predicted, dtype=int)
    return {
        "auc": _auc(labels, probs),
        "f1_macro": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "mcc": _mcc(labels, predicted),
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1_weighted": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
    }


def classification_by_class(labels: np.ndarray, probs: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """`recall`, `precision`, `f1`, `auc` (one against the rest) and `support`, (C,) each, by scikit-learn.

    The arguments are those of `classification_scores`. What is not defined is NaN: the recall and the AUC of a class
    that does not occur, the precision of one never answered, and the F1 of one that is neither.
    """
    from sklearn.metrics import precision_recall_fscore_support

    classes = range(probs.shape[1])
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=np.nan
    )
    auc = np.array([_one_against_rest(labels, probs, column) for column in classes])
    return {"recall": recall, "precision": precision, "f1": f1, "auc": auc, "support": support}


def _mcc(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Matthews' correlation coefficient, which scikit-learn takes to be 0 where only one class occurs."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A single label was found", category=UserWarning)
        return float(matthews_corrcoef(labels, predicted))


def _auc(labels: np.ndarray, probs: np.ndarray) -> float:
    """Column 1 for two classes; macro one-vs-rest over the classes that occur otherwise; NaN if only one occurs."""
    columns = [1] if probs.shape[1] == 2 else range(probs.shape[1])
    return defined_mean(_one_against_rest(labels, probs, column) for column in columns)


def _one_against_rest(labels: np.ndarray, probs: np.ndarray, column: int) -> float:
    from sklearn.metrics import roc_auc_score

    own = labels == column
    return math.nan if own.all() or not own.any() else float(roc_auc_score(own, probs[:, column]))


def box_iou(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Intersection over union, (N,), of boxes (N, 4) as x1, y1, x2, y2 taken pair by pair; 0 for two empty boxes."""
    overlap = np.minimum(truth[:, 2:], answer[:, 2:]) - np.maximum(truth[:, :2], answer[:, :2])
    shared = overlap.clip(min=0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1) for boxes in (truth, answer)]
    union = areas[0] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def regression_values(truth: np.ndarray, points: np.ndarray, diagonal: float) -> dict[str, np.ndarray]:
    """One case's `mre`, (K,): each point's Euclidean error, and its `mre_score`, (1,).

    `truth` and `points` are (K, 2) (`ValueError` if they differ), `diagonal` the image's, all in pixels of the
    original image.
    """
    if np.shape(truth) != np.shape(points):
        raise ValueError(f"expected points of the shape {np.shape(truth)}, found {np.shape(points)}")
    errors = np.linalg.norm(np.subtract(truth, points), axis=1)
    return {"mre": errors, "mre_score": np.array([max(0.0, 1 - errors.mean() / (_RADIUS * diagonal))])}
