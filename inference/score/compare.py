"""Compare two folders of predictions for the same rows: which one is better, and in which cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aurora.scoring.bootstrap import Interval, interval, macro_average, task_statistics
from aurora.scoring.metrics import by_type
from aurora.scoring.score import TaskCases
from inference.score.ranking import ScoredCase, rank_cases

# Cases whose scores differ by less count as equal.
SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Change:
    """A case in both folders; `gain` is how much better the first prediction is, negative if it is worse."""

    case: ScoredCase
    other: ScoredCase
    gain: float


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """One task in both folders, over the cases that both predict.

    `composite` and `other` are the composites of the two folders, and `gain` is their difference. `resampled` holds the
    gain in every resample, (R,), drawn alike for both folders, and `interval` is its interval. `changes` are the cases
    that differ, the worst first; `better` and `worse` count them.
    """

    task: TaskCases
    other_task: TaskCases
    cases: int
    composite: float
    other: float
    gain: float
    interval: Interval
    resampled: np.ndarray
    changes: list[Change]
    better: int
    worse: int


def compare_tasks(tasks: Sequence[TaskCases], others: Sequence[TaskCases]) -> list[TaskComparison]:
    """Compare the tasks of two folders; leave out a task if no case of it is predicted in both."""
    by_key = {(task.task_id, task.type): task for task in others}
    pairs = [(task, by_key[key]) for task in tasks if (key := (task.task_id, task.type)) in by_key]
    comparisons = [_comparison(*pair) for pair in pairs]
    return [comparison for comparison in comparisons if comparison.cases]


def overall_gain(comparisons: Sequence[TaskComparison]) -> tuple[float, Interval]:
    """Return how much higher the first folder's composite is, over the cases that both predict, and its interval."""
    groups = by_type((comparison.task.type, comparison) for comparison in comparisons).values()
    gain = np.mean([np.mean([comparison.gain for comparison in group]) for group in groups])
    return float(gain), interval(macro_average([comparison.resampled for comparison in group] for group in groups))


def _comparison(task: TaskCases, other_task: TaskCases) -> TaskComparison:
    first, second = _common(task, other_task), _common(other_task, task)
    figures = [task_statistics(task.type, task.task_id, common.rows, common.metrics) for common in (first, second)]
    others = {case.row.source: case for case in rank_cases(second)}
    changes = [
        Change(case, others[case.row.source], case.score - others[case.row.source].score) for case in rank_cases(first)
    ]
    changes = sorted((change for change in changes if abs(change.gain) > SAME), key=lambda change: change.gain)
    resampled = figures[0].resampled - figures[1].resampled
    return TaskComparison(
        task=task,
        other_task=other_task,
        cases=len(first.rows),
        composite=figures[0].composite,
        other=figures[1].composite,
        gain=figures[0].composite - figures[1].composite,
        interval=interval(resampled),
        resampled=resampled,
        changes=changes,
        better=sum(change.gain > 0 for change in changes),
        worse=sum(change.gain < 0 for change in changes),
    )


def _common(task: TaskCases, other: TaskCases) -> TaskCases:
    """Return the cases of `task` that `other` predicts too, in the order of the rows, which is the same in both."""
    sources = {row.source for row in other.rows}
    kept = [(row, metrics) for row, metrics in zip(task.rows, task.metrics, strict=True) if row.source in sources]
    return TaskCases(task.task_id, task.type, task.cases, [row for row, _ in kept], [metrics for _, metrics in kept])
