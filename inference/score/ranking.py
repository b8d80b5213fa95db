"""Single cases of a task in the order of how well they were answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aurora.errors import AuroraError
from aurora.images import read_image
from aurora.rows import Row, image_file
from aurora.scoring.cases import Cases, label_of
from aurora.scoring.metrics import CaseMetrics
from aurora.scoring.score import TaskCases
from aurora.tasks import TaskType
from inference.render.drawing import COLOURS, Colour, draw_box, draw_classes, draw_mask, draw_points, fitted

#: What the number of a case is called, by type.
CASE_SCORES = {
    TaskType.SEGMENTATION: "DSC",
    TaskType.CLASSIFICATION: "probability of the true class",
    TaskType.DETECTION: "IoU",
    TaskType.REGRESSION: "1 - MRE / (0.1 x diagonal)",
}


@dataclass(frozen=True, slots=True)
class ScoredCase:
    """A case: its `score` in [0, 1] as `CASE_SCORES` names it, what orders equal ones, and both in words."""

    row: Row
    score: float
    error: float
    text: str


def judged(task: TaskCases) -> list[ScoredCase]:
    """The answered cases of a task, the worst one first."""
    found = [_judged(task.type, row, values) for row, values in zip(task.rows, task.values, strict=True)]
    return sorted(found, key=lambda case: (case.score, -case.error))


def middle(cases: Sequence[ScoredCase], count: int) -> Sequence[ScoredCase]:
    """Those around the median."""
    start = max(0, (len(cases) - count) // 2)
    return cases[start : start + count]


def _judged(kind: TaskType, row: Row, values: CaseMetrics) -> ScoredCase:
    if kind is TaskType.CLASSIFICATION:
        label, predicted, probs = (values[name] for name in ("label", "predicted", "probs"))
        text = f"true class {label}, answered {predicted} ({probs[predicted]:.0%})"
        return ScoredCase(row, float(probs[label]), 0.0, text)
    if kind is TaskType.DETECTION:
        iou = float(values["iou"].mean())
        return ScoredCase(row, iou, 0.0, f"IoU {iou:.3f}")
    if kind is TaskType.SEGMENTATION:
        dsc, distance = float(values["dsc"].mean()), float(values["hd"].mean())
        return ScoredCase(row, dsc, distance, f"DSC {dsc:.3f}, HD {distance:.1f} px")
    error = float(values["mre"].mean())
    return ScoredCase(row, float(np.mean(values["mre_score"])), error, f"MRE {error:.1f} px")


TRUTH = COLOURS[1]
#: The colours of the answers that are judged, and of those that they are compared with.
ANSWERS = (COLOURS[0], COLOURS[5])


def overlay(row: Row, root: Path, folders: Sequence[Cases], side: int) -> np.ndarray:
    """A labelled row's image at `side` pixels, (h, w, 3) RGB, the truth and each folder's answer drawn on it.

    What can't be read is left out, the image being black then.
    """
    try:
        pixels = read_image(image_file(root, row), root).pixels
        label = label_of(row, root, folders[0].num_classes)
    except AuroraError:
        return np.zeros((side, side, 3), np.uint8)
    shown, scale = fitted(pixels, side)
    for cases, colour in zip(folders, ANSWERS, strict=False):
        answer = cases.answer(row, label)
        if row.type is TaskType.CLASSIFICATION:
            # Two sets of bars would hide each other; the words below say what the other one is.
            draw_classes(shown, answer[1])
            return shown
        _draw(shown, row.type, answer, scale, colour)
    _draw(shown, row.type, label[0] if row.type is TaskType.REGRESSION else label, scale, TRUTH)
    return shown


def _draw(shown: np.ndarray, kind: TaskType, found: Any, scale: float, colour: Colour) -> None:
    if kind is TaskType.SEGMENTATION:
        draw_mask(shown, found, (colour,))
    elif kind is TaskType.DETECTION:
        draw_box(shown, found, scale, colour)
    else:
        draw_points(shown, found, scale, (colour,))
