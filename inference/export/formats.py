"""The formats that predictions can be exported to."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from aurora.tasks import TaskType
from inference.export import coco, cvat, label_studio, nnunet, yolo
from inference.export.labelled import ExportTask, LabelledImage, Place


class Format(Protocol):
    """A module that writes one format, a folder per task."""

    #: The task types that the format holds.
    TYPES: frozenset[TaskType]
    #: The name of a task's folder, with its `number`, from 1, and its `task`.
    FOLDER: str
    #: The endings of image files that are taken over as they are; others become PNG files.
    LINKED: frozenset[str]

    def write(self, folder: Path, task: ExportTask, images: Iterable[LabelledImage], place: Place) -> None:
        """Write the images of a task, at least one, into a new folder, one at a time; raise `OSError`."""
        ...


FORMATS: Mapping[str, Format] = {
    "coco": coco,
    "yolo": yolo,
    "nnunet": nnunet,
    "label-studio": label_studio,
    "cvat": cvat,
}
