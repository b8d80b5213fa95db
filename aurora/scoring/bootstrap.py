"""Bootstrap intervals: how much a task's metrics would change if its cases were drawn again.

Percentile intervals over resamples of the cases with replacement (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 13). A resample is stored as how often each case is drawn, so that a metric of many resamples
is a matrix product.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aurora.kinds import KINDS, CaseMetrics
from aurora.rows import Row
from aurora.scoring.metrics import composite_of, task_metrics
from aurora.tasks import TaskType

SEED = 0
#: The number of resamples, enough for the digits that are shown.
RESAMPLES = 1000
LEVEL = 0.95
#: Cases drawn at once, over all resamples: bounds memory to some tens of megabytes.
CASES_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval, with NaN as its ends if no resample has a value; `undefined` counts the resamples without one."""

    low: float
    high: float
    undefined: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of one task.

    `metrics` has the names of `aurora.scoring.metrics`, `intervals` has these and `composite`. `classes` has the
    metrics of each class, point or box by its number. Undefined values are NaN. `resampled` is the composite in every
    resample, (R,).
    """

    metrics: dict[str, float]
    composite: float
    intervals: dict[str, Interval]
    classes: dict[int, dict[str, float]]
    resampled: np.ndarray


def interval(values: np.ndarray) -> Interval:
    """Return the central 95 % of a metric's values in the resamples, (R,), which are NaN if undefined."""
    defined = values[~np.isnan(values)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, (tail, 1 - tail)) if len(defined) else (np.nan, np.nan)
    return Interval(float(low), float(high), len(values) - len(defined))


def generator_of(task_id: str) -> np.random.Generator:
    """Return the random generator of a task's resamples.

    It depends on the task alone, so that an interval doesn't change with the order of the rows, every command prints
    the same one, and two predictions of one task are compared on the same resamples.
    """
    return np.random.default_rng((SEED, zlib.crc32(task_id.encode(errors="replace"))))


def task_statistics(
    task_type: TaskType,
    task_id: str,
    rows: Sequence[Row],
    cases: Sequence[CaseMetrics],
    resamples: int = RESAMPLES,
) -> Statistics:
    """Return the statistics of a task's cases.

    Args:
        task_type: the task's type.
        task_id: the task, which decides the resamples.
        rows: the row of each case; the cases are resampled in the order of their images.
        cases: the result of `Kind.case_metrics` for each case; may be empty, as in `task_metrics`.
        resamples: the number of resamples.
    """
    metrics = task_metrics(task_type, cases)
    if cases:
        order = sorted(range(len(cases)), key=lambda index: (rows[index].image_path, rows[index].mask_path or ""))
        columns = KINDS[task_type].bootstrap_columns([cases[index] for index in order])
        resampled = bootstrap_metrics(task_type, columns, resamples, generator_of(task_id))
    else:
        resampled = {name: np.full(resamples, value) for name, value in metrics.items()}
    resampled["composite"] = resampled_composite(task_type, metrics, resampled)
    return Statistics(
        metrics=metrics,
        composite=composite_of(task_type, metrics),
        intervals={name: interval(values) for name, values in resampled.items()},
        classes=KINDS[task_type].class_metrics(cases) if cases else {},
        resampled=resampled["composite"],
    )


def bootstrap_metrics(
    task_type: TaskType,
    columns: Mapping[str, np.ndarray],
    resamples: int,
    generator: np.random.Generator,
    cases_at_once: int = CASES_AT_ONCE,
) -> dict[str, np.ndarray]:
    """Return a task's metrics in every resample of its cases, (R,) each.

    `columns` are those of `Kind.bootstrap_columns`. A metric that is undefined in a resample is NaN.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for counts in _counts(len(next(iter(columns.values()))), resamples, generator, cases_at_once):
        for name, values in KINDS[task_type].resample(columns, counts).items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def _counts(cases: int, resamples: int, generator: np.random.Generator, cases_at_once: int) -> Iterator[np.ndarray]:
    """Yield how often each case is drawn, (resamples, cases) in parts."""
    step = max(1, cases_at_once // cases)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(cases, size=(rows, cases)) + np.arange(rows)[:, None] * cases
        yield np.bincount(drawn.ravel(), minlength=rows * cases).reshape(rows, cases).astype(float)


def resampled_composite(
    task_type: TaskType, metrics: Mapping[str, float], resampled: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the composite in every resample, (R,), from the metrics that are not NaN over all cases (`metrics`).

    It is NaN if one of these is NaN in the resample, since a mean of fewer metrics would have another scale.
    """
    names = [name for name in KINDS[task_type].COMPOSITE if not np.isnan(metrics[name])]
    return np.mean([resampled[name] for name in names], axis=0)


def macro_average(types: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
    """Return the composite over all types in every resample, (R,), from those of each type's tasks."""
    return np.mean([np.mean(tasks, axis=0) for tasks in types], axis=0)
