"""What the cases of a task say: every metric with its bootstrap interval, and of every class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aurora.intervals import Interval, composite_of_resamples, interval, resampled
from aurora.metrics import Values, class_means, classification_by_class, composite_of, stacked, task_metrics
from aurora.tasks import TaskType

#: The overlap from which on a box counts as found.
FOUND = 0.5


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of one task.

    `metrics` has the names of `aurora.metrics`, `intervals` these and `composite`. `classes` has the metrics of each
    class, point or box by its number; that of a box are `iou` and `found`, the share of boxes whose IoU is at least
    0.5. What is not defined is NaN. `drawn` is the composite in every resample, (R,).
    """

    metrics: dict[str, float]
    composite: float
    intervals: dict[str, Interval]
    classes: dict[int, dict[str, float]]
    drawn: np.ndarray


def statistics(kind: TaskType, cases: Sequence[Values], resamples: int, generator: np.random.Generator) -> Statistics:
    """The statistics of a task's cases; without any, its metrics are `aurora.metrics.unanswered`."""
    metrics = task_metrics(kind, cases)
    if cases:
        drawn = resampled(kind, _by_case(kind, cases), resamples, generator)
    else:
        drawn = {name: np.full(resamples, value) for name, value in metrics.items()}
    drawn["composite"] = composite_of_resamples(kind, metrics, drawn)
    return Statistics(
        metrics=metrics,
        composite=composite_of(kind, metrics),
        intervals={name: interval(own) for name, own in drawn.items()},
        classes=_classes(kind, cases),
        drawn=drawn["composite"],
    )


def overall(drawn: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
    """The composite over all types in every resample, (R,), from those of each type's tasks."""
    return np.mean([np.mean(own, axis=0) for own in drawn], axis=0)


def _by_case(kind: TaskType, cases: Sequence[Values]) -> dict[str, np.ndarray]:
    """What `resampled` takes: for metrics that are means over the cases, each case's own mean over its classes."""
    if kind is TaskType.CLASSIFICATION:
        return stacked(cases)
    return {name: np.array([case[name].mean() for case in cases]) for name in cases[0]}


def _classes(kind: TaskType, cases: Sequence[Values]) -> dict[int, dict[str, float]]:
    if not cases:
        return {}
    if kind is TaskType.CLASSIFICATION:
        found = stacked(cases)
        means, first = classification_by_class(found["label"], found["probs"], found["predicted"]), 0
    else:
        means, first = class_means(cases), 1
    if kind is TaskType.DETECTION:
        means["found"] = np.mean([case["iou"] >= FOUND for case in cases], axis=0)
    means.pop("closeness", None)  # it belongs to the case, not to a point
    count = len(next(iter(means.values())))
    return {first + at: {name: float(column[at]) for name, column in means.items()} for at in range(count)}
