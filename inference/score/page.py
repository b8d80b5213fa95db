"""Write the page of `score --html`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import UsageError
from aurora.kinds import KINDS
from aurora.scoring.bootstrap import RESAMPLES, Interval, Statistics, interval, macro_average, task_statistics
from aurora.scoring.cases import Cases
from aurora.scoring.metrics import by_type, display_names, unbounded_metrics
from aurora.scoring.score import Scores, TaskCases, compare
from inference.output.folder import OutputFolder
from inference.render.html import picture, render
from inference.score.calibration import Reliability, confusion, reliability
from inference.score.compare import Change, TaskComparison, compare_tasks, overall_gain
from inference.score.ranking import ScoredCase, median_cases, overlay, rank_cases

SIDE = 200
WORST, MEDIAN, CHANGED = 4, 2, 3
BINS = 20
ENDINGS = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class Picture:
    """A case with its picture, and why the page shows it."""

    case: ScoredCase
    why: str
    link: str
    other: ScoredCase | None = None


@dataclass(frozen=True, slots=True)
class TaskSection:
    """The content of the page for one task; `histogram` counts the cases' scores in equal bins from 0 to 1."""

    task: TaskCases
    case_score: str
    part_name: str
    figures: Statistics
    histogram: list[int]
    confusion: list[list[int]]
    reliability: Reliability | None
    pictures: list[Picture]
    comparison: TaskComparison | None
    changed: list[Picture]


class ScorePage:
    """The page of scores; checks at once that its file can be written.

    Raises:
        UsageError: its name has another ending than `ENDINGS`.
        OutputError: it can't be written, here or in `write`.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in ENDINGS:
            raise UsageError(f"--html must end in {' or '.join(ENDINGS)}, found {path.name!r}; name such a file")
        self.folder, self.name = OutputFolder(path.parent, "--html"), path.name

    def write(
        self, truth: Path, predictions: Path, tasks: Sequence[TaskCases], scores: Scores, other: Path | None
    ) -> None:
        """Write the page of `tasks`, which `score.compare` found in `predictions`, and of their `scores`.

        `other` is another folder of predictions to compare with.
        """
        problems: list[str] = []
        comparisons = compare_tasks(tasks, compare(truth, other, problems)) if other else []
        by_task = {(comparison.task.task_id, comparison.task.type): comparison for comparison in comparisons}
        sections = [_section(truth, task, by_task.get((task.task_id, task.type))) for task in tasks]
        content = render(
            "score.html",
            truth=truth,
            predictions=predictions,
            other=other,
            scores=scores,
            interval=_overall(sections),
            sections=sections,
            comparisons=comparisons,
            gain=overall_gain(comparisons) if comparisons else None,
            problems=scores.problems + [f"{other}: {problem}" for problem in problems],
            names=display_names(),
            distances=unbounded_metrics(),
            resamples=RESAMPLES,
        )
        self.folder.write(self.name, content)


def _overall(sections: Sequence[TaskSection]) -> Interval:
    groups = by_type((section.task.type, section.figures.resampled) for section in sections)
    return interval(macro_average(groups.values()))


def _section(truth: Path, task: TaskCases, comparison: TaskComparison | None) -> TaskSection:
    cases = rank_cases(task)
    probabilistic = bool(task.metrics) and "probs" in task.metrics[0]
    worst = cases[:WORST]
    median = [case for case in median_cases(cases, MEDIAN) if case not in worst]
    return TaskSection(
        task=task,
        case_score=KINDS[task.type].CASE_SCORE,
        part_name=KINDS[task.type].PART,
        figures=task_statistics(task.type, task.task_id, task.rows, task.metrics),
        histogram=np.histogram([case.score for case in cases], BINS, (0, 1))[0].tolist() if cases else [],
        confusion=confusion(task.metrics) if probabilistic else [],
        reliability=reliability(task.metrics) if probabilistic else None,
        pictures=[
            Picture(case, why, picture(overlay(case.row, truth, [task.cases], SIDE)))
            for why, chosen in (("worst", worst), ("median", median))
            for case in chosen
        ],
        comparison=comparison,
        changed=_changed(truth, comparison) if comparison else [],
    )


def _changed(truth: Path, comparison: TaskComparison) -> list[Picture]:
    """Return pictures of the cases that changed most, for the worse and for the better."""
    folders = [comparison.task.cases, comparison.other_task.cases]
    worse = [change for change in comparison.changes[:CHANGED] if change.gain < 0]
    better = [change for change in comparison.changes[: -CHANGED - 1 : -1] if change.gain > 0]
    return [
        *(_picture_of(truth, change, "worse", folders) for change in worse),
        *(_picture_of(truth, change, "better", folders) for change in better),
    ]


def _picture_of(truth: Path, change: Change, why: str, folders: Sequence[Cases]) -> Picture:
    return Picture(change.case, why, picture(overlay(change.case.row, truth, folders, SIDE)), change.other)
