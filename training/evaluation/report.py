"""A checkpoint's report on labelled data: every metric with its interval, and of every class."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora import checkpoint
from aurora.cases import classes_of
from aurora.device import open_device
from aurora.errors import InputError
from aurora.intervals import SEED, Interval, interval
from aurora.metrics import defined_mean
from aurora.rows import Row, read_rows
from aurora.statistics import Statistics, overall, statistics
from aurora.tasks import Registry, Task, TaskType
from training.data.cases import Case
from training.evaluation.outcomes import Outcome, outcomes


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One task: its labelled `rows`, how many of them are `answered`, and of these by a neutral answer (`fallbacks`).

    The rest is what `aurora.statistics.Statistics` says.
    """

    task_id: str
    type: TaskType
    rows: int
    answered: int
    fallbacks: int
    metrics: dict[str, float]
    composite: float
    intervals: dict[str, Interval]
    classes: dict[int, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Report:
    """The tasks, by type; `types` and `composite` are those of `aurora.scoring.Scores`, `interval` the composite's.

    `problems` names, in a sentence each, what is missing or can't be used.
    """

    weights: str
    sha256: str
    rows: int
    resamples: int
    seed: int
    tasks: list[TaskReport]
    types: dict[TaskType, dict[str, float]]
    composite: float
    interval: Interval
    problems: list[str]


def report(weights: Path, data: Path, *, resamples: int, device: str = "auto", batch_size: int = 16) -> Report:
    """The numbers that `inference run` and `inference score` give, with 95 % intervals and for every class.

    Raises:
        WeightsError: the checkpoint can't be used.
        UsageError, DeviceError: there is no such device.
        InputError: `data` holds no row with a usable label.
    """
    target = open_device(device)
    cases, problems = _read_cases(data)
    model, spec = checkpoint.load(weights)
    found: dict[Task, list[Outcome]] = {case.task: [] for kind in TaskType for case in cases if case.task.type is kind}
    for outcome in outcomes(model.to(target), cases, batch_size, hausdorff=True):
        found[outcome.case.task].append(outcome)
    problems += [problem for task, own in found.items() for problem in _problems(task, own, spec.tasks)]
    generator = np.random.default_rng(SEED)
    tasks: list[TaskReport] = []
    drawn: dict[TaskType, list[np.ndarray]] = {}
    for task, own in found.items():
        if any(outcome.labelled for outcome in own):
            values = [outcome.values for outcome in own if outcome.values]
            figures = statistics(task.type, values, resamples, generator)
            tasks.append(_task_report(task, own, figures))
            drawn.setdefault(task.type, []).append(figures.drawn)
    if not tasks:
        raise InputError(f"Expected labelled rows in {data}, found none with a usable label: name labelled data.")
    types = {kind: _means([task for task in tasks if task.type is kind]) for kind in drawn}
    return Report(
        weights=weights.name,
        sha256=checkpoint.sha256(weights),
        rows=len(cases),
        resamples=resamples,
        seed=SEED,
        tasks=tasks,
        types=types,
        composite=defined_mean(means["composite"] for means in types.values()),
        interval=interval(overall(drawn.values())),
        problems=problems,
    )


def _read_cases(root: Path) -> tuple[list[Case], list[str]]:
    """All rows, each task with as many classes as `classes_of` finds, and what is wrong with the others."""
    read = read_rows(root)
    rows: dict[tuple[str, TaskType], list[Row]] = {}
    for row in read.rows:
        rows.setdefault((row.task_id, row.type), []).append(row)
    tasks = {(name, kind): Task(name, kind, classes_of(own)) for (name, kind), own in rows.items()}
    problems = [f"{problem.source}: {problem.message}" for problem in read.problems]
    return [Case(root, row, tasks[row.task_id, row.type]) for row in read.rows], problems


def _problems(task: Task, found: Sequence[Outcome], tasks: Registry) -> Iterable[str]:
    own = tasks.get(task.id.strip())
    if own and own.type is task.type and own.num_classes != task.num_classes:
        yield f"{task.id}: num_classes is {task.num_classes}, and {own.num_classes} in the weights"
    yield from (f"{outcome.case.row.source}: {outcome.problem}" for outcome in found if outcome.problem)
    reasons = Counter(outcome.fallback for outcome in found if outcome.fallback)
    for reason, count in reasons.items():
        yield f"{task.id}: {count} of {len(found)} rows have a neutral answer: {reason}"


def _task_report(task: Task, found: Sequence[Outcome], own: Statistics) -> TaskReport:
    compared = [outcome for outcome in found if outcome.values]
    return TaskReport(
        task_id=task.id,
        type=task.type,
        rows=sum(outcome.labelled for outcome in found),
        answered=len(compared),
        fallbacks=sum(outcome.fallback is not None for outcome in compared),
        metrics=own.metrics,
        composite=own.composite,
        intervals=own.intervals,
        classes=own.classes,
    )


def _means(tasks: Sequence[TaskReport]) -> dict[str, float]:
    means = {name: defined_mean(task.metrics[name] for task in tasks) for name in tasks[0].metrics}
    return means | {"composite": defined_mean(task.composite for task in tasks)}
