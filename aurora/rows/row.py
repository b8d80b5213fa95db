"""One case of the input: its labels, the files it names, and where its predicted mask is written."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aurora.errors import ImageError, InputError
from aurora.rows.near_miss import near_miss
from aurora.tasks import TaskType

BOX = ("x_min", "y_min", "x_max", "y_max")
POINT = re.compile(r"point_(\d+)_xy")

_BLANK = {"", "nan", "none", "null", "na", "n/a", "<na>"}


@dataclass(frozen=True, slots=True)
class Row:
    """One case.

    Attributes:
        task_id: the cell as it is, byte for byte.
        type: the task type.
        num_classes: the number of classes or points; None if the cell can't be used.
        image_path: the cell as it is, byte for byte.
        mask_path: the cell as it is, byte for byte; None if blank.
        source: "file.csv:line".
        labels: the cells of the label columns that aren't blank, by column.
        patient: the cell of the optional column patient_id; None if blank.
        more_masks: the paths of further masks of the same image, which are merged with that of `mask_path`.
    """

    task_id: str
    type: TaskType
    num_classes: int | None
    image_path: str
    mask_path: str | None
    source: str
    labels: Mapping[str, str]
    patient: str | None = None
    more_masks: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The file and line of the row, and its image, for a message."""
        return f"{self.source} {plain(self.image_path)}"


def is_blank(cell: str) -> bool:
    """Return whether a cell is empty or one of the usual spellings of a missing value."""
    return cell.strip().lower() in _BLANK


def short(text: str) -> str:
    """Cut a cell to at most 80 characters, for a message that quotes it with `repr`."""
    return text if len(text) <= 80 else text[:77] + "..."


def plain(text: str) -> str:
    """Cut a cell like `short` and escape control characters, for a message that doesn't quote it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in short(text))


def class_label(row: Row) -> int | None:
    """Return the true class, None if there is no label; raise `InputError` if it isn't a whole number >= 0."""
    if "mask" not in row.labels:
        return None
    value = _number(row, "mask", row.labels["mask"])
    if not value.is_integer() or value < 0:
        raise InputError(f"{row.source}: expected a class number in the column mask, found {value:g}")
    return int(value)


def box_label(row: Row) -> tuple[float, float, float, float] | None:
    """Return the true box (x1, y1, x2, y2) in pixels, None if there is no label.

    Raises:
        InputError: a side is missing or isn't a number.
    """
    if not any(name in row.labels for name in BOX):
        return None
    x1, y1, x2, y2 = (_number(row, name, row.labels.get(name, "")) for name in BOX)
    return x1, y1, x2, y2


def points_label(row: Row) -> list[tuple[float, float]] | None:
    """Return the true points (x, y) in pixels, in the order of their numbers; None if there is no label.

    Raises:
        InputError: a point isn't a JSON list [x, y], or one before the last is blank.
    """
    numbers = [int(match[1]) for name in row.labels if (match := POINT.fullmatch(name))]
    if not numbers:
        return None
    return [_point(row, f"point_{k}_xy") for k in range(1, max(numbers) + 1)]


def _point(row: Row, column: str) -> tuple[float, float]:
    cell = row.labels.get(column, "")
    try:
        x, y = (float(value) for value in json.loads(cell))
    except (ValueError, TypeError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError(f"{row.source}: expected [x, y] in the column {column}, found {short(cell)!r}")
    return x, y


def _number(row: Row, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{row.source}: expected a number in the column {column}, found {short(cell)!r}")
    return value


def image_file(root: Path, row: Row) -> Path:
    """Return the path of the row's image; `image_path` is relative to `root/csv_files`.

    The path is normalised as text; the file system isn't accessed.

    Raises:
        ImageError: the path is blank or leads out of `root`.
    """
    return _inside(root, row.image_path, "image_path", row)


def mask_files(root: Path, row: Row) -> list[Path]:
    """Return the paths of the row's true masks in labelled data, by the rules of `image_file`."""
    return [_inside(root, path, "mask_path", row) for path in (row.mask_path or "", *row.more_masks)]


def _inside(root: Path, cell: str, column: str, row: Row) -> Path:
    if is_blank(cell) or "\0" in cell:
        reason = "is blank" if is_blank(cell) else "is no path, for it holds a NUL byte"
        raise ImageError(f"{column} {reason}", row.source)
    base = os.path.abspath(root)
    path = os.path.normpath(os.path.join(base, "csv_files", cell.strip()))
    if not path.startswith(os.path.join(base, "")):
        reason, near = f"{column} leads out of the input folder {base}", near_miss(cell, root)
        if near is None:
            raise ImageError(reason, row.source)
        raise ImageError(f"{reason}: {near.advice}", f"{row.source}, which may mean {near.expected}")
    return Path(path)


def predicted_mask_path(row: Row) -> str:
    """Return where to write the mask, relative to the output folder: `mask_path` without ONE leading `../`.

    Example:
        >>> predicted_mask_path(row)  # its mask_path is "../Segmentation/Two/masks/1.png"
        'Segmentation/Two/masks/1.png'

    Raises:
        ValueError: the path could lead out of that folder or names no file; the message is the reason.
    """
    path = row.mask_path or ""
    if is_blank(path):
        raise ValueError("mask_path is blank, so there is no place to write the mask")
    reason = _unsafe(path.removeprefix("../"))
    if reason:
        raise ValueError(f"mask_path {short(path)!r} {reason}")
    return "/".join(name for name in path.removeprefix("../").split("/") if name not in ("", "."))


def _unsafe(path: str) -> str | None:
    names = path.split("/")
    if "\0" in path:
        return "holds a NUL byte"
    if "\\" in path:
        return "holds a backslash"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    if names[-1] in ("", "."):
        return "names a folder"
    if any(name not in ("", ".") and not name.strip(" .") for name in names):
        return "leads upwards beyond its first ../"
    if any(len(name.encode()) > 255 for name in names):
        return "holds a name longer than 255 bytes"
    return None
