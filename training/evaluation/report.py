"""A checkpoint's report on labelled data: every metric with its interval, and of every class."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora import checkpoint
from aurora.device import open_device
from aurora.errors import InputError
from aurora.metrics import Values, class_means, classification_by_class, composite_of, defined_mean
from aurora.rows import read_rows
from aurora.tasks import Registry, Task, TaskType
from training.data.cases import Case
from training.evaluation.evaluate import stacked, task_metrics
from training.evaluation.intervals import SEED, Interval, composite_of_resamples, interval, resampled
from training.evaluation.outcomes import Outcome, outcomes

# The overlap from which on a box counts as found.
_FOUND = 0.5


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One task: its labelled `rows`, how many of them are `answered`, and of these by a neutral answer (`fallbacks`).

    `metrics` has the names of `aurora.metrics`, `intervals` these and `composite`. `classes` has the metrics of each
    class, point or box by its number; that of a box are `iou` and `found`, the share of boxes whose IoU is at least
    0.5. What is not defined is NaN.
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
            result, composites = _task_report(task, own, resamples, generator)
            tasks.append(result)
            drawn.setdefault(task.type, []).append(composites)
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
        interval=interval(np.mean([np.mean(own, axis=0) for own in drawn.values()], axis=0)),
        problems=problems,
    )


def _read_cases(root: Path) -> tuple[list[Case], list[str]]:
    """All rows, each task with as many classes as its rows name, and what is wrong with the others."""
    read = read_rows(root)
    classes: dict[tuple[str, TaskType], int] = {}
    for row in read.rows:
        key = row.task_id, row.type
        classes[key] = max(classes.get(key, 0), row.num_classes or 0)
    tasks = {(name, kind): Task(name, kind, count) for (name, kind), count in classes.items()}
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


def _task_report(
    task: Task, found: Sequence[Outcome], resamples: int, generator: np.random.Generator
) -> tuple[TaskReport, np.ndarray]:
    """The report, and the composite in every resample, (R,)."""
    compared = [outcome for outcome in found if outcome.values]
    values = [outcome.values for outcome in compared if outcome.values]
    metrics = task_metrics(task.type, values)
    if values:
        drawn = resampled(task.type, _by_case(task.type, values), resamples, generator)
    else:
        drawn = {name: np.full(resamples, value) for name, value in metrics.items()}
    drawn["composite"] = composite_of_resamples(task.type, metrics, drawn)
    result = TaskReport(
        task_id=task.id,
        type=task.type,
        rows=sum(outcome.labelled for outcome in found),
        answered=len(compared),
        fallbacks=sum(outcome.fallback is not None for outcome in compared),
        metrics=metrics,
        composite=composite_of(task.type, metrics),
        intervals={name: interval(own) for name, own in drawn.items()},
        classes=_classes(task.type, values),
    )
    return result, drawn["composite"]


def _by_case(kind: TaskType, values: Sequence[Values]) -> dict[str, np.ndarray]:
    """What `resampled` takes: for metrics that are means over the cases, each case's own mean over its classes."""
    if kind is TaskType.CLASSIFICATION:
        return stacked(values)
    return {name: np.array([case[name].mean() for case in values]) for name in values[0]}


def _classes(kind: TaskType, values: Sequence[Values]) -> dict[int, dict[str, float]]:
    if not values:
        return {}
    if kind is TaskType.CLASSIFICATION:
        found = stacked(values)
        means, first = classification_by_class(found["label"], found["probs"], found["predicted"]), 0
    else:
        means, first = class_means(values), 1
    if kind is TaskType.DETECTION:
        means["found"] = np.mean([case["iou"] >= _FOUND for case in values], axis=0)
    means.pop("closeness", None)  # it belongs to the case, not to a point
    count = len(next(iter(means.values())))
    return {first + at: {name: float(column[at]) for name, column in means.items()} for at in range(count)}


def _means(tasks: Sequence[TaskReport]) -> dict[str, float]:
    means = {name: defined_mean(task.metrics[name] for task in tasks) for name in tasks[0].metrics}
    return means | {"composite": defined_mean(task.composite for task in tasks)}
