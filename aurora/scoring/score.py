"""Scores a folder of predictions against labelled data, as the challenge does.

A row without a prediction is left out of its task's averages, and counted; a task without any prediction scores 0,
and so does every task of a type whose JSON file is missing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aurora.errors import InputError, UsageError
from aurora.predict.answers import JSON_FILES
from aurora.rows import Row, read_rows
from aurora.scoring import metrics
from aurora.scoring.cases import Cases, Entry, Key, read_predictions
from aurora.tasks import TaskType

_PROBLEMS_SHOWN = 20
#: How many of the problems are named where nothing could be scored.
REASONS = 3


@dataclass(frozen=True, slots=True)
class TaskScore:
    """One task: its labelled `rows`, how many are `answered`, and what those earn (`metrics` has the names)."""

    task_id: str
    type: TaskType
    rows: int
    answered: int
    metrics: dict[str, float]
    composite: float


@dataclass(frozen=True, slots=True)
class Scores:
    """The tasks, by type; per type the mean of its tasks' metrics and of their `composite`; the mean of the types.

    Only types with labelled rows take part. A metric that is not defined is NaN and left out of the means.
    `problems` names, in a sentence each, what is missing or can't be used.
    """

    tasks: list[TaskScore]
    types: dict[TaskType, dict[str, float]]
    composite: float
    problems: list[str]


@dataclass(frozen=True, slots=True)
class TaskCases:
    """The labelled rows of one task, `cases.labelled` in all: those that are answered, and what each contributes."""

    task_id: str
    type: TaskType
    cases: Cases
    rows: list[Row]
    values: list[metrics.CaseMetrics]


def compare(truth: Path, predictions: Path, problems: list[str]) -> list[TaskCases]:
    """Compares the answers in the folder `predictions` with the labels of the input root `truth`, by task.

    `problems` is given a sentence for whatever is missing or can't be used.

    Raises `InputError` if there is no such folder, nothing is labelled, or a JSON file of answers can't be read, and
    `UsageError` where scikit-learn isn't installed.
    """
    if find_spec("sklearn") is None:
        raise UsageError("score needs scikit-learn, which isn't installed: pip install scikit-learn")
    if not predictions.is_dir():
        raise InputError(f"Expected a folder of predictions, found none at {predictions}: name the one to be scored.")
    read = read_rows(truth)
    problems += [f"{problem.source}: {problem.message}" for problem in read.problems]
    found: list[TaskCases] = []
    for kind in TaskType:
        by_task: dict[str, list[Row]] = {}
        for row in read.rows:
            if row.type is kind:
                by_task.setdefault(row.task_id, []).append(row)
        answers = _answers_of_type(kind, by_task, predictions, problems)
        for id, rows in by_task.items():
            found.append(_task_cases(id, kind, Cases(rows, truth, predictions, answers, problems)))
    found = [task for task in found if task.cases.labelled]
    if not found:
        reasons = f" ({'; '.join(problems[:REASONS])})" if problems else ""
        raise InputError(
            f"Expected labelled rows in {truth}, found none with a usable label{reasons}: score labelled data."
        )
    return found


def score(truth: Path, predictions: Path) -> Scores:
    """Scores the answers in the folder `predictions`; the arguments and errors are those of `compare`."""
    problems: list[str] = []
    return scores_of(compare(truth, predictions, problems), problems)


def scores_of(compared: Sequence[TaskCases], problems: list[str]) -> Scores:
    """What `compare` found, as scores."""
    tasks = [_task_score(task) for task in compared]
    types = {kind: _means([task for task in tasks if task.type is kind]) for kind in {task.type: 0 for task in tasks}}
    return Scores(tasks, types, metrics.defined_mean(means["composite"] for means in types.values()), problems)


def _answers_of_type(
    kind: TaskType, by_task: Mapping[str, list[Row]], predictions: Path, problems: list[str]
) -> Mapping[Key, Entry]:
    if not by_task or kind not in JSON_FILES:
        return {}
    path = predictions / JSON_FILES[kind]
    answers = read_predictions(path, {(id, row.image_path) for id, rows in by_task.items() for row in rows}, problems)
    if answers is None:
        problems.append(f"{path.name} is missing: every {kind} task scores 0")
    return answers or {}


def _task_cases(task_id: str, kind: TaskType, cases: Cases) -> TaskCases:
    rows, values = [], []
    for row, label, answer in cases:
        rows.append(row)
        values.append(metrics.case_metrics(kind, label, answer, cases.num_classes))
    if cases.missing:
        cases.problems.append(f"{task_id}: {cases.missing} of {cases.labelled} rows have no prediction")
    if kind is TaskType.CLASSIFICATION and len({int(found["label"]) for found in values}) == 1:
        cases.problems.append(f"{task_id}: the AUC is not defined, since only one class occurs")
    return TaskCases(task_id, kind, cases, rows, values)


def _task_score(task: TaskCases) -> TaskScore:
    found = metrics.task_metrics(task.type, task.values)
    composite = metrics.composite_of(task.type, found)
    return TaskScore(task.task_id, task.type, task.cases.labelled, task.cases.answered, found, composite)


def _means(tasks: list[TaskScore]) -> dict[str, float]:
    means = {name: metrics.defined_mean(task.metrics[name] for task in tasks) for name in tasks[0].metrics}
    return means | {"composite": metrics.defined_mean(task.composite for task in tasks)}


def as_json(scores: Scores) -> dict[str, Any]:
    """The scores as strict JSON can hold them: NaN becomes None."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return plain(asdict(scores))


def as_text(scores: Scores) -> str:
    """An aligned table: a line per task, the mean of each type, the composite; then the problems."""
    lines = [["task", "type", "answered", "composite"]]
    for task in scores.tasks:
        counts = f"{task.answered}/{task.rows}"
        lines.append([task.task_id, task.type, counts, f"{task.composite:.3f}", *_cells(task.metrics)])
    for kind, means in scores.types.items():
        same = [task for task in scores.tasks if task.type is kind]
        counts = f"{sum(task.answered for task in same)}/{sum(task.rows for task in same)}"
        lines.append(["mean", kind, counts, f"{means['composite']:.3f}", *_cells(means)])
    lines.append(["composite", "", "", f"{scores.composite:.3f}"])
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(max(map(len, lines)))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip() for line in lines]
    if scores.problems:
        text += ["", f"{len(scores.problems)} problems:", *scores.problems[:_PROBLEMS_SHOWN]]
    if len(scores.problems) > _PROBLEMS_SHOWN:
        text.append(f"and {len(scores.problems) - _PROBLEMS_SHOWN} more")
    return "\n".join(text)


def _cells(values: Mapping[str, float]) -> list[str]:
    shown = [name for name in metrics.DISPLAY_NAMES if name in values]
    return [
        f"{metrics.DISPLAY_NAMES[name]} {_number(values[name], 1 if name in metrics.UNBOUNDED_METRICS else 3)}"
        for name in shown
    ]


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
