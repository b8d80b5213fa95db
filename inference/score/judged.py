"""Single cases of a task in the order of how well they were answered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aurora.metrics import Values
from aurora.rows import Row
from aurora.scoring import TaskCases
from aurora.tasks import TaskType

#: What the number of a case is called, by type.
CASE_SCORES = {
    TaskType.SEGMENTATION: "DSC",
    TaskType.CLASSIFICATION: "probability of the true class",
    TaskType.DETECTION: "IoU",
    TaskType.REGRESSION: "1 - MRE / (0.1 x diagonal)",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A case: its `score` in [0, 1] as `CASE_SCORES` names it, what orders equal ones, and both in words."""

    row: Row
    score: float
    error: float
    text: str


def judged(task: TaskCases) -> list[Judged]:
    """The answered cases of a task, the worst one first."""
    found = [_judged(task.type, row, values) for row, values in zip(task.rows, task.values, strict=True)]
    return sorted(found, key=lambda case: (case.score, -case.error))


def middle(cases: Sequence[Judged], count: int) -> Sequence[Judged]:
    """Those around the median."""
    start = max(0, (len(cases) - count) // 2)
    return cases[start : start + count]


def _judged(kind: TaskType, row: Row, values: Values) -> Judged:
    if kind is TaskType.CLASSIFICATION:
        label, predicted, probs = (values[name] for name in ("label", "predicted", "probs"))
        text = f"true class {label}, answered {predicted} ({probs[predicted]:.0%})"
        return Judged(row, float(probs[label]), 0.0, text)
    if kind is TaskType.DETECTION:
        iou = float(values["iou"].mean())
        return Judged(row, iou, 0.0, f"IoU {iou:.3f}")
    if kind is TaskType.SEGMENTATION:
        dsc, distance = float(values["dsc"].mean()), float(values["hd"].mean())
        return Judged(row, dsc, distance, f"DSC {dsc:.3f}, HD {distance:.1f} px")
    error = float(values["mre"].mean())
    return Judged(row, float(np.mean(values["closeness"])), error, f"MRE {error:.1f} px")
