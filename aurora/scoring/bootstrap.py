"""Bootstrap intervals: how far a task's metrics would move if its cases were drawn again.

Percentile intervals over resamples of the cases with replacement (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 13). A resample is how often each case is drawn, so that a metric of many resamples is a
product of matrices.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aurora.scoring.metrics import (
    COMPOSITE_METRICS,
    CaseMetrics,
    class_means,
    classification_by_class,
    composite_of,
    stacked,
    task_metrics,
)
from aurora.tasks import TaskType

SEED = 0
#: How many resamples are enough for the figures that are shown.
RESAMPLES = 1000
LEVEL = 0.95
# Cases drawn at once, over all resamples in hand: bounds memory to some tens of megabytes.
_DRAWN = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`; `undefined` resamples had no value and are left out. NaN where none had one."""

    low: float
    high: float
    undefined: int


def interval(values: np.ndarray) -> Interval:
    """The central 95 % of a metric's values in the resamples, (R,), NaN where it is not defined."""
    defined = values[~np.isnan(values)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, (tail, 1 - tail)) if len(defined) else (np.nan, np.nan)
    return Interval(float(low), float(high), len(values) - len(defined))


def bootstrap_metrics(
    kind: TaskType, cases: Mapping[str, np.ndarray], resamples: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """A task's metrics in every resample of its cases, (R,) each, by the names of `aurora.scoring.metrics`.

    `cases` gives each metric's value for every case, (N,), N > 0; for classification `label` and `predicted`, (N,),
    and `probs`, (N, C). What is not defined in a resample is NaN.
    """
    found: dict[str, list[np.ndarray]] = {}
    for counts in _counts(len(next(iter(cases.values()))), resamples, generator):
        if kind is TaskType.CLASSIFICATION:
            values = _classification(counts, cases["label"], cases["predicted"], cases["probs"])
        else:
            values = {name: counts @ own / len(own) for name, own in cases.items()}
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in found.items()}


def resampled_composite(
    kind: TaskType, metrics: Mapping[str, float], bootstrap_metrics: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The composite in every resample, (R,): of what is defined for all cases, as `metrics` says.

    It is NaN where one of these is, since a mean of fewer metrics would be of another scale.
    """
    return np.mean([bootstrap_metrics[name] for name in COMPOSITE_METRICS[kind] if not np.isnan(metrics[name])], axis=0)


def _counts(cases: int, resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each case is drawn, (resamples, cases) in parts."""
    step = max(1, _DRAWN // cases)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(cases, size=(rows, cases)) + np.arange(rows)[:, None] * cases
        yield np.bincount(drawn.ravel(), minlength=rows * cases).reshape(rows, cases).astype(float)


def _classification(
    counts: np.ndarray, labels: np.ndarray, predicted: np.ndarray, probs: np.ndarray
) -> dict[str, np.ndarray]:
    """What scikit-learn gives for each resample in `counts`, (R, N), some hundred times faster.

    MCC: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004.
    """
    cases, classes = probs.shape
    cells = np.eye(classes * classes)[labels * classes + predicted]
    confusion = (counts @ cells).reshape(-1, classes, classes)
    true, answered, hits = confusion.sum(2), confusion.sum(1), np.diagonal(confusion, axis1=1, axis2=2)
    f1 = _ratio(2 * hits, true + answered)
    shared = cases * hits.sum(1) - (true * answered).sum(1)
    spread = (cases**2 - (answered**2).sum(1)) * (cases**2 - (true**2).sum(1))
    return {
        "auc": _auc(counts, labels, probs),
        "f1_macro": f1.sum(1) / (true + answered > 0).sum(1),
        "mcc": _ratio(shared, np.sqrt(spread)),
        "accuracy": hits.sum(1) / cases,
        "f1_weighted": (f1 * true).sum(1) / cases,
    }


def _ratio(above: np.ndarray, below: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """The quotient, and `otherwise` where it would be by 0."""
    return np.divide(above, below, out=np.full(below.shape, otherwise), where=below > 0)


def _auc(counts: np.ndarray, labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Column 1 for two classes; macro one-vs-rest over the classes drawn otherwise; NaN if only one is, (R,)."""
    columns = [1] if probs.shape[1] == 2 else np.unique(labels)
    areas = np.array([_one_against_rest(counts, labels == column, probs[:, column]) for column in columns])
    return _ratio(np.nansum(areas, axis=0), (~np.isnan(areas)).sum(0).astype(float), np.nan)


def _one_against_rest(counts: np.ndarray, own: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The share of pairs of an own and another case that the scores order rightly, a tie being half of one, (R,).

    This is the area under the ROC curve (Hanley and McNeil, The meaning and use of the area under a ROC curve, 1982).
    """
    order = np.argsort(scores)
    ties = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    positive, negative = (np.add.reduceat((counts * part)[:, order], ties, axis=1) for part in (own, ~own))
    below = negative.cumsum(axis=1) - negative / 2
    return _ratio((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1), np.nan)


#: The overlap from which on a box counts as found.
FOUND = 0.5


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of one task.

    `metrics` has the names of `scoring.metrics`, `intervals` these and `composite`. `classes` has the metrics of each
    class, point or box by its number; that of a box are `iou` and `found`, the share of boxes whose IoU is at least
    0.5. What is not defined is NaN. `drawn` is the composite in every resample, (R,).
    """

    metrics: dict[str, float]
    composite: float
    intervals: dict[str, Interval]
    classes: dict[int, dict[str, float]]
    drawn: np.ndarray


def statistics(
    kind: TaskType, cases: Sequence[CaseMetrics], resamples: int, generator: np.random.Generator
) -> Statistics:
    """The statistics of a task's cases; without any, its metrics are `aurora.scoring.metrics.unanswered`."""
    metrics = task_metrics(kind, cases)
    if cases:
        drawn = bootstrap_metrics(kind, _by_case(kind, cases), resamples, generator)
    else:
        drawn = {name: np.full(resamples, value) for name, value in metrics.items()}
    drawn["composite"] = resampled_composite(kind, metrics, drawn)
    return Statistics(
        metrics=metrics,
        composite=composite_of(kind, metrics),
        intervals={name: interval(own) for name, own in drawn.items()},
        classes=_classes(kind, cases),
        drawn=drawn["composite"],
    )


def macro_average(drawn: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
    """The composite over all types in every resample, (R,), from those of each type's tasks."""
    return np.mean([np.mean(own, axis=0) for own in drawn], axis=0)


def _by_case(kind: TaskType, cases: Sequence[CaseMetrics]) -> dict[str, np.ndarray]:
    """Return the input of `bootstrap_metrics`: for metrics that are means, each case's mean over its classes."""
    if kind is TaskType.CLASSIFICATION:
        return stacked(cases)
    return {name: np.array([case[name].mean() for case in cases]) for name in cases[0]}


def _classes(kind: TaskType, cases: Sequence[CaseMetrics]) -> dict[int, dict[str, float]]:
    if not cases:
        return {}
    if kind is TaskType.CLASSIFICATION:
        found = stacked(cases)
        means, first = classification_by_class(found["label"], found["probs"], found["predicted"]), 0
    else:
        means, first = class_means(cases), 1
    if kind is TaskType.DETECTION:
        means["found"] = np.mean([case["iou"] >= FOUND for case in cases], axis=0)
    means.pop("mre_score", None)  # it belongs to the case, not to a point
    count = len(next(iter(means.values())))
    return {first + at: {name: float(column[at]) for name, column in means.items()} for at in range(count)}
