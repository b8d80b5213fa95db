"""A checkpoint's report on labelled data: every metric with its interval, and of every class."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aurora.errors import InputError
from aurora.model import checkpoint
from aurora.rows import Row, read_rows
from aurora.runtime import files
from aurora.runtime.hardware import open_device
from aurora.scoring.bootstrap import LEVEL, SEED, Interval, Statistics, interval, macro_average, statistics
from aurora.scoring.cases import classes_of
from aurora.scoring.metrics import DISPLAY_NAMES, UNBOUNDED_METRICS, defined_mean
from aurora.tasks import Registry, Task, TaskType
from training.data.cases import Case
from training.evaluation.evaluate import Outcome, outcomes


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One task: its labelled `rows`, how many of them are `answered`, and of these by a neutral answer (`fallbacks`).

    The rest is what `aurora.scoring.bootstrap.Statistics` says.
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
    """The tasks, by type; `types` and `composite` are those of `scoring.score.Scores`, `interval` the composite's.

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
        sha256=files.sha256(weights),
        rows=len(cases),
        resamples=resamples,
        seed=SEED,
        tasks=tasks,
        types=types,
        composite=defined_mean(means["composite"] for means in types.values()),
        interval=interval(macro_average(drawn.values())),
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


# Also what only classes have.
_NAMES = {
    **DISPLAY_NAMES,
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "support": "cases",
    "found": "IoU>=0.5",
}
_KINDS = {TaskType.REGRESSION: "point", TaskType.DETECTION: "box"}
_PROBLEMS_SHOWN = 20


def as_json(report: Report) -> dict[str, Any]:
    """The report as strict JSON can hold it: NaN becomes None."""
    return json.loads(json.dumps(asdict(report)), parse_constant=lambda _: None)


def as_text(report: Report) -> str:
    """Tables of the tasks with their intervals, of the classes, and of the types' means; then the problems."""
    tasks = [["task", "type", "answered", "composite"], *map(_task_line, report.tasks)]
    classes = [line for task in report.tasks for line in _class_lines(task)]
    means = [
        ["mean", kind, "", _number("composite", own["composite"]), *_cells(own)] for kind, own in report.types.items()
    ]
    means.append(["composite", "", "", _with_interval("composite", report.composite, report.interval)])
    text = [*_aligned(tasks), "", *_aligned(classes), "", *_aligned(means), "", _footer(report)]
    if report.problems:
        text += ["", f"{len(report.problems)} problems:", *report.problems[:_PROBLEMS_SHOWN]]
    if len(report.problems) > _PROBLEMS_SHOWN:
        text.append(f"and {len(report.problems) - _PROBLEMS_SHOWN} more")
    return "\n".join(text)


def _task_line(task: TaskReport) -> list[str]:
    shown = [name for name in DISPLAY_NAMES if name in task.metrics]
    cells = [
        f"{DISPLAY_NAMES[name]} {_with_interval(name, task.metrics[name], task.intervals[name])}" for name in shown
    ]
    own = _with_interval("composite", task.composite, task.intervals["composite"])
    return [task.task_id, task.type, f"{task.answered}/{task.rows}", own, *cells]


def _class_lines(task: TaskReport) -> list[list[str]]:
    kind = _KINDS.get(task.type, "class")
    return [[task.task_id, f"{kind} {number}", *_cells(own)] for number, own in task.classes.items()]


def _cells(values: Mapping[str, float]) -> list[str]:
    return [f"{_NAMES[name]} {_number(name, value)}" for name, value in values.items() if name in _NAMES]


def _with_interval(name: str, value: float, interval: Interval) -> str:
    left_out = f" ({interval.undefined} undefined)" if interval.undefined else ""
    return f"{_number(name, value)} [{_number(name, interval.low)}, {_number(name, interval.high)}]{left_out}"


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.{0 if name == 'support' else 1 if name in UNBOUNDED_METRICS else 3}f}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[at]) for line in lines if at < len(line)) for at in range(max(map(len, lines), default=0))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _footer(report: Report) -> str:
    return (
        f"{report.rows} rows; in brackets the central {LEVEL:.0%} of {report.resamples} resamples of the cases, "
        f"seed {report.seed}; {report.weights}, SHA-256 {report.sha256}"
    )
