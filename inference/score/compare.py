"""Two folders of answers to the same rows: which one is better, and at which cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aurora.scoring.bootstrap import RESAMPLES, SEED, Interval, interval, macro_average, statistics
from aurora.scoring.score import TaskCases
from aurora.tasks import TaskType
from inference.score.ranking import ScoredCase, judged

# Cases whose scores differ by less are the same.
SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Change:
    """A case in both folders; `gain` is how much better the first one's answer is, negative where it is worse."""

    case: ScoredCase
    other: ScoredCase
    gain: float


@dataclass(frozen=True, slots=True)
class Versus:
    """One task in both folders, over the cases that both answer.

    `composite`, `other` and `gain`, the difference, come with the `interval` of the difference over resamples that are
    the same for both. `changes` are the cases that differ, the worst first; `better` and `worse` count them.
    """

    task: TaskCases
    against: TaskCases
    cases: int
    composite: float
    other: float
    gain: float
    interval: Interval
    drawn: np.ndarray
    changes: list[Change]
    better: int
    worse: int


def versus(tasks: Sequence[TaskCases], against: Sequence[TaskCases]) -> list[Versus]:
    """The tasks of the first folder that the other one answers too."""
    others = {(task.task_id, task.type): task for task in against}
    pairs = [(task, others[key]) for task in tasks if (key := (task.task_id, task.type)) in others]
    found = [_versus(*pair) for pair in pairs]
    return [one for one in found if one.cases]


def overall_gain(found: Sequence[Versus]) -> tuple[float, Interval]:
    """By how much the first folder's composite is higher, over the cases that both answer, and its interval."""
    by_type: dict[TaskType, list[Versus]] = {}
    for one in found:
        by_type.setdefault(one.task.type, []).append(one)
    gain = np.mean([np.mean([one.gain for one in own]) for own in by_type.values()])
    return float(gain), interval(macro_average([one.drawn for one in own] for own in by_type.values()))


def _versus(task: TaskCases, other: TaskCases) -> Versus:
    first, second = _common(task, other), _common(other, task)
    figures = [statistics(task.type, own.values, RESAMPLES, np.random.default_rng(SEED)) for own in (first, second)]
    cases = {case.row.source: case for case in judged(second)}
    changes = [
        Change(case, cases[case.row.source], case.score - cases[case.row.source].score) for case in judged(first)
    ]
    changes = sorted((one for one in changes if abs(one.gain) > SAME), key=lambda change: change.gain)
    drawn = figures[0].drawn - figures[1].drawn
    return Versus(
        task=task,
        against=other,
        cases=len(first.rows),
        composite=figures[0].composite,
        other=figures[1].composite,
        gain=figures[0].composite - figures[1].composite,
        interval=interval(drawn),
        drawn=drawn,
        changes=changes,
        better=sum(change.gain > 0 for change in changes),
        worse=sum(change.gain < 0 for change in changes),
    )


def _common(task: TaskCases, other: TaskCases) -> TaskCases:
    """The part of `task` that `other` answers too, in the order of the rows, which is the same in both."""
    sources = {row.source for row in other.rows}
    kept = [(row, own) for row, own in zip(task.rows, task.values, strict=True) if row.source in sources]
    return TaskCases(task.task_id, task.type, task.cases, [row for row, _ in kept], [own for _, own in kept])
