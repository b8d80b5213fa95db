"""The metrics of a task and this project's composite of them.

By kind the metrics are

- segmentation: `dsc` in [0, 1]; `hd` in pixels
- classification: `accuracy`, `auc`, `f1_macro`, `f1_weighted` in [0, 1]; `mcc` in [-1, 1]
- detection: `iou` in [0, 1]
- Regression: `mre` in pixels; `mre_score` in [0, 1], a case's max(0, 1 - MRE / (0.1 x image diagonal))

A metric that is not defined for the cases is NaN. Each kind in `aurora.kinds` says how its metrics are computed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from aurora.kinds import KINDS, CaseMetrics
from aurora.kinds.base import defined_mean
from aurora.tasks import TYPES, TaskType

Item = TypeVar("Item")


def display_names() -> dict[str, str]:
    """Return the metrics that tables show, in the order of the columns, each with its column title."""
    return {name: shown for kind in KINDS.values() for name, shown in kind.METRICS.items() if shown}


def unbounded_metrics() -> set[str]:
    """Return the metrics that are distances in pixels."""
    return {name for kind in KINDS.values() for name in kind.UNBOUNDED}


def composite_of(task_type: TaskType, metrics: Mapping[str, float]) -> float:
    """Return a task's share of the composite: at most 1, and below 0 only with a negative MCC.

    An AUC that is not defined (NaN) is left out of the mean. Raises `KeyError` if a metric is absent.
    """
    return defined_mean(metrics[name] for name in KINDS[task_type].COMPOSITE)


def task_metrics(task_type: TaskType, cases: Sequence[CaseMetrics]) -> dict[str, float]:
    """Return a task's metrics from its cases; without any they are 0, and NaN for distances."""
    if cases:
        return KINDS[task_type].task_metrics(cases)
    kind = KINDS[task_type]
    return {name: math.nan if name in kind.UNBOUNDED else 0.0 for name in kind.METRICS}


def by_type(items: Iterable[tuple[TaskType, Item]]) -> dict[TaskType, list[Item]]:
    """Group items by their task type, in the order of `TYPES`; types without items are left out."""
    groups: dict[TaskType, list[Item]] = {task_type: [] for task_type in TYPES}
    for task_type, item in items:
        groups[task_type].append(item)
    return {task_type: group for task_type, group in groups.items() if group}


def means_by_type(tasks: Iterable[tuple[TaskType, Mapping[str, float]]]) -> dict[TaskType, dict[str, float]]:
    """Return the mean of each metric over the tasks of each type; a task is a pair of its type and its metrics."""
    return {
        task_type: {name: defined_mean(metrics[name] for metrics in group) for name in group[0]}
        for task_type, group in by_type(tasks).items()
    }
