"""The page that `score --html` writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import UsageError
from aurora.scoring.bootstrap import RESAMPLES, SEED, Interval, Statistics, interval, macro_average, statistics
from aurora.scoring.cases import Cases
from aurora.scoring.metrics import DISPLAY_NAMES, UNBOUNDED_METRICS
from aurora.scoring.score import Scores, TaskCases, compare
from aurora.tasks import TaskType
from inference.output.folder import OutputFolder
from inference.render.html import picture, render
from inference.score.calibration import Reliability, confusion, reliability
from inference.score.compare import Change, Versus, overall_gain, versus
from inference.score.ranking import CASE_SCORES, ScoredCase, judged, middle, overlay

SIDE = 200
WORST, MIDDLE, CHANGED = 4, 2, 3
BINS = 20
ENDINGS = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class Shown:
    """A case with its picture, and what the picture is there for."""

    case: ScoredCase
    why: str
    link: str
    other: ScoredCase | None = None


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
        """Write the page of `tasks`, which `score.compare` found in `predictions`, and of their `scores`.

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
            names=DISPLAY_NAMES,
            distances=UNBOUNDED_METRICS,
            case_scores=CASE_SCORES,
            resamples=RESAMPLES,
        )
        self.folder.write(self.name, content)


def _overall(sections: Sequence[TaskSection]) -> Interval:
    by_type: dict[TaskType, list[np.ndarray]] = {}
    for section in sections:
        by_type.setdefault(section.task.type, []).append(section.figures.drawn)
    return interval(macro_average(by_type.values()))


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
