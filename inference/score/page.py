"""The page that `score --html` writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.cases import Cases
from aurora.errors import UsageError
from aurora.intervals import RESAMPLES, SEED, Interval, interval
from aurora.metrics import DISTANCES, NAMES
from aurora.scoring import Scores, TaskCases, compare
from aurora.statistics import Statistics, overall, statistics
from aurora.tasks import TaskType
from inference.output import OutputFolder
from inference.pages.page import picture, render
from inference.score.classes import Reliability, confusion, reliability
from inference.score.judged import CASE_SCORES, Judged, judged, middle
from inference.score.overlay import overlay
from inference.score.versus import Change, Versus, overall_gain, versus

SIDE = 200
WORST, MIDDLE, CHANGED = 4, 2, 3
BINS = 20
ENDINGS = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class Shown:
    """A case with its picture, and what the picture is there for."""

    case: Judged
    why: str
    link: str
    other: Judged | None = None


@dataclass(frozen=True, slots=True)
class TaskSection:
    """All that the page says of a task; `histogram` counts the cases' scores in equal bins from 0 to 1."""

    task: TaskCases
    figures: Statistics
    histogram: list[int]
    confusion: list[list[int]]
    reliability: Reliability | None
    shown: list[Shown]
    versus: Versus | None
    changed: list[Shown]


class ScorePage:
    """The page's file; its place is tried at once.

    Raises:
        UsageError: its name has another ending than `ENDINGS`.
        OutputError: it can't be written there, here or in `write`.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in ENDINGS:
            raise UsageError(f"--html must end in {' or '.join(ENDINGS)}, found {path.name!r}; name such a file")
        self.folder, self.name = OutputFolder(path.parent, "--html"), path.name

    def write(
        self, truth: Path, predictions: Path, tasks: Sequence[TaskCases], scores: Scores, against: Path | None
    ) -> None:
        """Write the page of `tasks`, which `aurora.scoring.compare` found in `predictions`, and of their `scores`.

        `against` is another folder of answers to be compared with.
        """
        problems: list[str] = []
        pairs = versus(tasks, compare(truth, against, problems)) if against else []
        by_task = {(pair.task.task_id, pair.task.type): pair for pair in pairs}
        sections = [_section(truth, task, by_task.get((task.task_id, task.type))) for task in tasks]
        content = render(
            "score.html",
            truth=truth,
            predictions=predictions,
            against=against,
            scores=scores,
            interval=_overall(sections),
            sections=sections,
            pairs=pairs,
            gain=overall_gain(pairs) if pairs else None,
            problems=scores.problems + [f"{against}: {problem}" for problem in problems],
            names=NAMES,
            distances=DISTANCES,
            case_scores=CASE_SCORES,
            resamples=RESAMPLES,
        )
        self.folder.write(self.name, content)


def _overall(sections: Sequence[TaskSection]) -> Interval:
    by_type: dict[TaskType, list[np.ndarray]] = {}
    for section in sections:
        by_type.setdefault(section.task.type, []).append(section.figures.drawn)
    return interval(overall(by_type.values()))


def _section(truth: Path, task: TaskCases, pair: Versus | None) -> TaskSection:
    cases = judged(task)
    classes = task.type is TaskType.CLASSIFICATION and bool(task.values)
    worst = cases[:WORST]
    median = [case for case in middle(cases, MIDDLE) if case not in worst]
    return TaskSection(
        task=task,
        figures=statistics(task.type, task.values, RESAMPLES, np.random.default_rng(SEED)),
        histogram=np.histogram([case.score for case in cases], BINS, (0, 1))[0].tolist() if cases else [],
        confusion=confusion(task.values) if classes else [],
        reliability=reliability(task.values) if classes else None,
        shown=[
            Shown(case, why, picture(overlay(case.row, truth, [task.cases], SIDE)))
            for why, chosen in (("worst", worst), ("median", median))
            for case in chosen
        ],
        versus=pair,
        changed=_changed(truth, pair) if pair else [],
    )


def _changed(truth: Path, pair: Versus) -> list[Shown]:
    """The cases that got worst and best."""
    folders = [pair.task.cases, pair.against.cases]
    worse = [change for change in pair.changes[:CHANGED] if change.gain < 0]
    better = [change for change in pair.changes[: -CHANGED - 1 : -1] if change.gain > 0]
    return [
        *(_shown_change(truth, change, "worse", folders) for change in worse),
        *(_shown_change(truth, change, "better", folders) for change in better),
    ]


def _shown_change(truth: Path, change: Change, why: str, folders: Sequence[Cases]) -> Shown:
    return Shown(change.case, why, picture(overlay(change.case.row, truth, folders, SIDE)), change.other)
