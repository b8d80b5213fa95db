"""Score a folder of predictions against labelled data, as the challenge does.

A row without a prediction is left out of its task's averages, and counted. A task without any prediction scores 0, and
so does every task of a type whose JSON file is missing. An invalid prediction counts as in the published evaluator: a
class that the task doesn't have is wrong, a mask of another size is resized, and probabilities that scikit-learn
rejects make the AUC 0. A prediction on which that evaluator fails is named and counts as missing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aurora.errors import InputError, UsageError
from aurora.kinds import KINDS, CaseMetrics, Entry, Key
from aurora.kinds.base import defined_mean
from aurora.rows import Row, read_rows
from aurora.runtime.text import strict_json, text_table
from aurora.scoring.cases import Cases, read_predictions
from aurora.scoring.metrics import composite_of, display_names, means_by_type, task_metrics, unbounded_metrics
from aurora.tasks import TYPES, TaskType

#: The number of problems that are listed below a table of scores.
PROBLEMS_SHOWN = 20
#: The number of problems that are listed if nothing could be scored.
REASONS = 3


@dataclass(frozen=True, slots=True)
class TaskScore:
    """One task: its labelled `rows`, how many of them are `predicted`, and the metrics of those."""

    task_id: str
    type: TaskType
    rows: int
    predicted: int
    metrics: dict[str, float]
    composite: float


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of the tasks, by type; the means over the tasks of each type; and the mean over the types.

    Only types with labelled rows take part. A metric that is not defined is NaN and left out of the means. `problems`
    has a sentence for everything that is missing or can't be used.
    """

    tasks: list[TaskScore]
    types: dict[TaskType, dict[str, float]]
    composite: float
    problems: list[str]


@dataclass(frozen=True, slots=True)
class TaskCases:
    """The labelled rows of one task, `cases.labelled` in all: those with a prediction, and their metrics."""

    task_id: str
    type: TaskType
    cases: Cases
    rows: list[Row]
    metrics: list[CaseMetrics]


def compare(truth: Path, predictions: Path, problems: list[str]) -> list[TaskCases]:
    """Compare the predictions in a folder with the labels of the input root `truth`, by task.

    Everything that is missing or can't be used is added to `problems`, with a sentence each.

    Raises:
        InputError: there is no such folder, nothing is labelled, or a JSON file of predictions can't be read.
        UsageError: scikit-learn isn't installed.
    """
    if find_spec("sklearn") is None:
        raise UsageError("score needs scikit-learn, which isn't installed: pip install scikit-learn")
    if not predictions.is_dir():
        raise InputError(f"Expected a folder of predictions, found none at {predictions}: name the one to be scored.")
    read = read_rows(truth)
    problems += [f"{problem.source}: {problem.message}" for problem in read.problems]
    by_task: dict[TaskType, dict[str, list[Row]]] = {task_type: {} for task_type in TYPES}
    for row in read.rows:
        by_task[row.type].setdefault(row.task_id, []).append(row)
    compared: list[TaskCases] = []
    for task_type, tasks in by_task.items():
        entries = _entries(task_type, tasks, predictions, problems)
        for task_id, rows in tasks.items():
            compared.append(_task_cases(task_id, task_type, Cases(rows, truth, predictions, entries, problems)))
    compared = [task for task in compared if task.cases.labelled]
    if not compared:
        reasons = f" ({'; '.join(problems[:REASONS])})" if problems else ""
        raise InputError(
            f"Expected labelled rows in {truth}, found none with a usable label{reasons}: score labelled data."
        )
    return compared


def score(truth: Path, predictions: Path) -> Scores:
    """Score the predictions in a folder; the arguments and errors are those of `compare`.

    Example:
        >>> score(Path("data/val"), Path("out/predictions")).composite
        0.776
    """
    problems: list[str] = []
    return scores_of(compare(truth, predictions, problems), problems)


def scores_of(compared: Sequence[TaskCases], problems: list[str]) -> Scores:
    """Return the scores of the tasks that `compare` gave."""
    tasks = [_task_score(task) for task in compared]
    types = means_by_type((task.type, task.metrics | {"composite": task.composite}) for task in tasks)
    return Scores(tasks, types, defined_mean(means["composite"] for means in types.values()), problems)


def _entries(
    task_type: TaskType, tasks: Mapping[str, list[Row]], predictions: Path, problems: list[str]
) -> Mapping[Key, Entry]:
    name = KINDS[task_type].PREDICTIONS_FILE
    if not tasks or name is None:
        return {}
    keys = {(task_id, row.image_path) for task_id, rows in tasks.items() for row in rows}
    entries = read_predictions(predictions / name, keys, problems)
    if entries is None:
        problems.append(f"{name} is missing: every {task_type} task scores 0")
    return entries or {}


def _task_cases(task_id: str, task_type: TaskType, cases: Cases) -> TaskCases:
    rows, metrics = [], []
    for row, label, value in cases:
        rows.append(row)
        metrics.append(KINDS[task_type].case_metrics(label, value, cases.num_classes, hausdorff=True))
    if cases.missing:
        cases.problems.append(f"{task_id}: {cases.missing} of {cases.labelled} rows have no prediction")
    return TaskCases(task_id, task_type, cases, rows, metrics)


def _task_score(task: TaskCases) -> TaskScore:
    metrics = task_metrics(task.type, task.metrics)
    composite = composite_of(task.type, metrics)
    if any(math.isnan(metrics[name]) for name in KINDS[task.type].COMPOSITE):
        task.cases.problems.append(f"{task.task_id}: the AUC is not defined, since only one class occurs")
    return TaskScore(task.task_id, task.type, task.cases.labelled, task.cases.predicted, metrics, composite)


def as_json(scores: Scores) -> dict[str, Any]:
    """Return the scores as JSON-ready values; NaN becomes None."""
    return strict_json(asdict(scores))


def as_text(scores: Scores) -> str:
    """Format a table with a line per task, per type and for the composite, then the problems."""
    lines = [["task", "type", "predicted", "composite"]]
    for task in scores.tasks:
        counts = f"{task.predicted}/{task.rows}"
        lines.append([task.task_id, task.type, counts, f"{task.composite:.3f}", *_cells(task.metrics)])
    for task_type, means in scores.types.items():
        group = [task for task in scores.tasks if task.type == task_type]
        counts = f"{sum(task.predicted for task in group)}/{sum(task.rows for task in group)}"
        lines.append(["mean", task_type, counts, f"{means['composite']:.3f}", *_cells(means)])
    lines.append(["composite", "", "", f"{scores.composite:.3f}"])
    return "\n".join([*text_table(lines), *problem_lines(scores.problems)])


def problem_lines(problems: Sequence[str]) -> list[str]:
    """Return the lines under a table that name its problems, at most `PROBLEMS_SHOWN` of them."""
    if not problems:
        return []
    more = [f"and {len(problems) - PROBLEMS_SHOWN} more"] if len(problems) > PROBLEMS_SHOWN else []
    return ["", f"{len(problems)} problems:", *problems[:PROBLEMS_SHOWN], *more]


def _cells(metrics: Mapping[str, float]) -> list[str]:
    names = display_names()
    return [f"{names[name]} {number(name, metrics[name])}" for name in names if name in metrics]


def number(name: str, value: float) -> str:
    """Format the value of a metric; "-" if it is not defined."""
    return "-" if math.isnan(value) else f"{value:.{1 if name in unbounded_metrics() else 3}f}"
