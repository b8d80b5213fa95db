"""Report on a checkpoint with labelled data: every metric with its interval, and the metrics of every class."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aurora.errors import InputError
from aurora.kinds import KINDS
from aurora.kinds.base import defined_mean
from aurora.model import checkpoint
from aurora.rows import Row, read_rows
from aurora.rows.labels import LabelledRow, judge_labels
from aurora.runtime import files
from aurora.runtime.hardware import open_device
from aurora.runtime.notes import Notes
from aurora.runtime.text import strict_json, text_table
from aurora.scoring.bootstrap import LEVEL, SEED, Interval, Statistics, interval, macro_average, task_statistics
from aurora.scoring.cases import classes_of
from aurora.scoring.metrics import by_type, display_names, means_by_type
from aurora.scoring.score import number, problem_lines
from aurora.tasks import Task, TaskType
from training.data.cases import Case
from training.evaluation.evaluate import Outcome, outcomes


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One task: its labelled `rows`, how many of them are `predicted`, and how many of these are `fallbacks`.

    The other fields are those of `aurora.scoring.bootstrap.Statistics`.
    """

    task_id: str
    type: TaskType
    rows: int
    predicted: int
    fallbacks: int
    metrics: dict[str, float]
    composite: float
    intervals: dict[str, Interval]
    classes: dict[int, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Report:
    """The tasks, by type; `types` and `composite` are those of `scoring.score.Scores`, `interval` the composite's.

    `problems` has one sentence for each thing that is missing or can't be used.
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
    """Return the scores that `inference run` and `inference score` give, with 95 % intervals and scores per class.

    Args:
        weights: a checkpoint, `.safetensors`.
        data: a labelled input root.
        resamples: number of bootstrap resamples for the intervals.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_size: images per batch.

    Raises:
        WeightsError: the checkpoint can't be used.
        UsageError, DeviceError: there is no such device.
        InputError: `data` has no row with a usable label.
    """
    target = open_device(device)
    cases, problems = _read_cases(data)
    model, _ = checkpoint.load(weights)
    by_task = _by_task(cases, outcomes(model.to(target), cases, batch_size, hausdorff=True))
    problems += [problem for task, group in by_task.items() for problem in _problems(task, group)]
    problems += _warnings(outcome for group in by_task.values() for outcome in group)
    statistics = {
        task: _statistics(task, group, resamples)
        for task, group in by_task.items()
        if any(outcome.labelled for outcome in group)
    }
    tasks = [_task_report(task, by_task[task], figures) for task, figures in statistics.items()]
    if not tasks:
        raise InputError(f"Expected labelled rows in {data}, found none with a usable label: name labelled data.")
    resampled = by_type((task.type, figures.resampled) for task, figures in statistics.items())
    types = means_by_type((task.type, task.metrics | {"composite": task.composite}) for task in tasks)
    return Report(
        weights=weights.name,
        sha256=files.sha256(weights),
        rows=len(cases),
        resamples=resamples,
        seed=SEED,
        tasks=tasks,
        types=types,
        composite=defined_mean(means["composite"] for means in types.values()),
        interval=interval(macro_average(resampled.values())),
        problems=problems,
    )


def _read_cases(root: Path) -> tuple[list[Case], list[str]]:
    """Read all usable rows, with the number of classes from `classes_of`; describe the problems of the others."""
    read = read_rows(root, labelled=True)
    rows: dict[tuple[str, TaskType], list[Row]] = {}
    for row in read.rows:
        rows.setdefault((row.task_id, row.type), []).append(row)
    tasks = {(name, task_type): Task(name, task_type, classes_of(group)) for (name, task_type), group in rows.items()}
    problems = [f"{problem.source}: {problem.message}" for problem in read.problems]
    labelled = [LabelledRow(root, row) for row in read.rows if row.labels]
    left_out = [LabelledRow(root, row) for row in read.contradictory]
    problems += [str(problem) for problem in judge_labels(labelled, left_out) if problem.refused]
    return [Case(root, row, tasks[row.task_id, row.type]) for row in read.rows], problems


def _by_task(cases: Iterable[Case], compared: Iterable[Outcome]) -> dict[Task, list[Outcome]]:
    """Group the outcomes of the cases by task; the tasks are in the order of their types."""
    groups = by_type((case.task.type, case.task) for case in cases)
    by_task: dict[Task, list[Outcome]] = {task: [] for tasks in groups.values() for task in tasks}
    for outcome in compared:
        by_task[outcome.case.task].append(outcome)
    return by_task


def _problems(task: Task, outcomes: Sequence[Outcome]) -> Iterable[str]:
    yield from (f"{outcome.case.row.source}: {outcome.problem}" for outcome in outcomes if outcome.problem)
    reasons = Counter(outcome.fallback for outcome in outcomes if outcome.fallback)
    for reason, count in reasons.items():
        yield f"{task.id}: {count} of {len(outcomes)} rows got a fallback: {reason}"


def _warnings(outcomes: Iterable[Outcome]) -> Iterable[str]:
    notes = Notes()
    for outcome in outcomes:
        for warning in outcome.warnings:
            notes.add(warning, outcome.case.row.place)
    return notes.lines("warnings")


def _statistics(task: Task, outcomes: Sequence[Outcome], resamples: int) -> Statistics:
    compared = [(outcome.case.row, outcome.metrics) for outcome in outcomes if outcome.metrics]
    return task_statistics(task.type, task.id, [row for row, _ in compared], [case for _, case in compared], resamples)


def _task_report(task: Task, outcomes: Sequence[Outcome], statistics: Statistics) -> TaskReport:
    compared = [outcome for outcome in outcomes if outcome.metrics]
    return TaskReport(
        task_id=task.id,
        type=task.type,
        rows=sum(outcome.labelled for outcome in outcomes),
        predicted=len(compared),
        fallbacks=sum(outcome.fallback is not None for outcome in compared),
        metrics=statistics.metrics,
        composite=statistics.composite,
        intervals=statistics.intervals,
        classes=statistics.classes,
    )


# Display names of the metrics that only classes have.
_CLASS_NAMES = {"recall": "recall", "precision": "precision", "f1": "F1", "support": "cases", "found": "IoU>=0.5"}


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as strict JSON can hold it: NaN becomes None."""
    return strict_json(asdict(report))


def as_text(report: Report) -> str:
    """Return tables of the tasks with their intervals, of the classes, and of the types' means; then the problems."""
    tasks = [["task", "type", "predicted", "composite"], *map(_task_line, report.tasks)]
    classes = [line for task in report.tasks for line in _class_lines(task)]
    means = [
        ["mean", task_type, "", number("composite", values["composite"]), *_cells(values)]
        for task_type, values in report.types.items()
    ]
    means.append(["composite", "", "", _with_interval("composite", report.composite, report.interval)])
    tables = [*text_table(tasks), "", *text_table(classes), "", *text_table(means), "", _footer(report)]
    return "\n".join([*tables, *problem_lines(report.problems)])


def _task_line(task: TaskReport) -> list[str]:
    names = display_names()
    cells = [
        f"{names[name]} {_with_interval(name, task.metrics[name], task.intervals[name])}"
        for name in names
        if name in task.metrics
    ]
    composite = _with_interval("composite", task.composite, task.intervals["composite"])
    return [task.task_id, task.type, f"{task.predicted}/{task.rows}", composite, *cells]


def _class_lines(task: TaskReport) -> list[list[str]]:
    class_word = KINDS[task.type].PART
    return [[task.task_id, f"{class_word} {index}", *_cells(values)] for index, values in task.classes.items()]


def _cells(values: Mapping[str, float]) -> list[str]:
    names = display_names() | _CLASS_NAMES
    return [
        f"{names[name]} {f'{value:.0f}' if name == 'support' else number(name, value)}"
        for name, value in values.items()
        if name in names
    ]


def _with_interval(name: str, value: float, interval: Interval) -> str:
    undefined = f" ({interval.undefined} undefined)" if interval.undefined else ""
    return f"{number(name, value)} [{number(name, interval.low)}, {number(name, interval.high)}]{undefined}"


def _footer(report: Report) -> str:
    return (
        f"{report.rows} rows; in brackets the central {LEVEL:.0%} of {report.resamples} resamples of the cases, "
        f"seed {report.seed}; {report.weights}, SHA-256 {report.sha256}"
    )
