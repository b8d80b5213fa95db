"""Rank the cases of a task by the quality of their predictions, and draw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import AuroraError
from aurora.images import read_image
from aurora.kinds import KINDS
from aurora.render.drawing import COLOURS, draw, fitted
from aurora.rows import Row, image_file
from aurora.scoring.cases import Cases, label_of
from aurora.scoring.score import TaskCases

TRUTH = COLOURS[1]
#: The colours of the scored predictions, and of those that they are compared with.
PREDICTIONS = (COLOURS[0], COLOURS[5])


@dataclass(frozen=True, slots=True)
class ScoredCase:
    """A case with its score in [0, 1], which `Kind.CASE_SCORE` names, a tie-breaking error and a description."""

    row: Row
    score: float
    error: float
    text: str


def rank_cases(task: TaskCases) -> list[ScoredCase]:
    """Return the predicted cases of a task, the worst one first."""
    kind = KINDS[task.type]
    cases = [ScoredCase(row, *kind.rank(metrics)) for row, metrics in zip(task.rows, task.metrics, strict=True)]
    return sorted(cases, key=lambda case: (case.score, -case.error))


def median_cases(cases: Sequence[ScoredCase], count: int) -> Sequence[ScoredCase]:
    """Return the `count` cases around the median."""
    start = max(0, (len(cases) - count) // 2)
    return cases[start : start + count]


def overlay(row: Row, root: Path, folders: Sequence[Cases], side: int) -> np.ndarray:
    """Return a labelled row's image at `side` pixels, (h, w, 3) RGB, with the label and the folders' predictions on it.

    If the image or the label can't be read, the picture is black.
    """
    try:
        pixels = read_image(image_file(root, row), root).pixels
        label = label_of(row, root, folders[0].num_classes)
    except AuroraError:
        return np.zeros((side, side, 3), np.uint8)
    shown, scale = fitted(pixels, side)
    kind = KINDS[row.type]
    for cases, colour in zip(folders, PREDICTIONS, strict=False):
        drawing = kind.draw_value(cases.value(row, label))
        draw(shown, drawing, scale, (colour,))
        if drawing.probabilities is not None:
            break  # two sets of bars would hide each other; the text of the case names the other prediction
    draw(shown, kind.draw_label(label), scale, (TRUTH,))
    return shown
