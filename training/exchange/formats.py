"""The formats that can be imported, and which of them a source is in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from aurora.errors import InputError
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange import coco, folders, labelme, nnunet, voc, yolo
from training.exchange.source import Source


class Format(Protocol):
    """A module that recognises and reads one format."""

    def recognise(self, source: Path) -> str | None:
        """Return why a file or folder is in this format, None if it isn't."""
        ...

    def read(self, source: Path, kind: TaskType | None, findings: Findings) -> Source:
        """Read a source for one type of task, None for the type that it suggests; raise `InputError`."""
        ...


#: The formats in the order in which they are tried: most of them also have folders of images.
FORMATS: Mapping[str, Format] = {
    "nnunet": nnunet,
    "coco": coco,
    "yolo": yolo,
    "voc": voc,
    "labelme": labelme,
    "folders": folders,
}


def recognise(source: Path) -> tuple[str, str]:
    """Return the name of the first format that a source is in, and why; raise `InputError` if there is none."""
    for name, format_ in FORMATS.items():
        reason = format_.recognise(source)
        if reason:
            return name, reason
    raise InputError(f"expected one of the formats {', '.join(FORMATS)}, found none in {source}; name it with --format")
