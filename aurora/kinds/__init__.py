"""The kinds of task: everything that differs between segmentation, classification, detection and landmarks.

`KINDS` holds one module per task type. A fifth type is another module with the functions of `Kind`, registered with
`KINDS[name] = module`; docs/extending.md shows the rest.
"""

from typing import Any

from aurora.errors import WeightsError
from aurora.kinds import classification, detection, landmarks, segmentation
from aurora.kinds.base import CaseMetrics, Drawing, Entry, Facts, Key, Kind, Prediction, Predictions, Rank, Record
from aurora.tasks import Registry, TaskType

#: The kind of each task type. Callers pass labels and values only to the kind that made them, so they need not know
#: their types, which differ between kinds.
KINDS: dict[TaskType, Kind[Any, Any]] = {
    TaskType.SEGMENTATION: segmentation,
    TaskType.CLASSIFICATION: classification,
    TaskType.DETECTION: detection,
    TaskType.REGRESSION: landmarks,
}

__all__ = [
    "KINDS",
    "CaseMetrics",
    "Drawing",
    "Entry",
    "Facts",
    "Key",
    "Kind",
    "Prediction",
    "Predictions",
    "Rank",
    "Record",
    "check_refinements",
    "prediction_files",
]


def check_refinements(tasks: Registry) -> None:
    """Raise `WeightsError` if a task names a refinement or a derivation that its kind doesn't have."""
    for task in tasks.values():
        kind = KINDS[task.type]
        rules = (task.derivation.rule,) if task.derivation else ()
        for word, known, names in (("refine", kind.REFINEMENTS, task.refinements), ("derive", kind.DERIVATIONS, rules)):
            for name in names:
                if name not in known:
                    raise WeightsError(
                        f"the weights {word} {task.id} by {name!r}, expected one of {', '.join(known) or 'none'}; "
                        "install the version of AURORA that made them"
                    )


def prediction_files() -> dict[TaskType, str]:
    """Return the JSON prediction file of every type that has one."""
    return {task_type: kind.PREDICTIONS_FILE for task_type, kind in KINDS.items() if kind.PREDICTIONS_FILE}
