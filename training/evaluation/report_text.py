"""A report as text and as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aurora.intervals import LEVEL, Interval
from aurora.metrics import DISTANCES, NAMES
from aurora.tasks import TaskType
from training.evaluation.report import Report, TaskReport

# Also what only classes have.
_NAMES = {**NAMES, "recall": "recall", "precision": "precision", "f1": "F1", "support": "cases", "found": "IoU>=0.5"}
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
    shown = [name for name in NAMES if name in task.metrics]
    cells = [f"{NAMES[name]} {_with_interval(name, task.metrics[name], task.intervals[name])}" for name in shown]
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
    return f"{value:.{0 if name == 'support' else 1 if name in DISTANCES else 3}f}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[at]) for line in lines if at < len(line)) for at in range(max(map(len, lines), default=0))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _footer(report: Report) -> str:
    return (
        f"{report.rows} rows; in brackets the central {LEVEL:.0%} of {report.resamples} resamples of the cases, "
        f"seed {report.seed}; {report.weights}, SHA-256 {report.sha256}"
    )
