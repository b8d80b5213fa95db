"""The cases to answer: every usable row of the input's CSV files, and what was wrong with the others."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aurora.errors import InputError
from aurora.row import (
    BOX,
    POINT,
    Row,
    answer_mask_path,
    box_label,
    class_label,
    image_file,
    is_blank,
    mask_file,
    points_label,
    short,
)  # fmt: skip
from aurora.tables import Table, read_table
from aurora.tasks import OFFICIAL, TaskType

__all__ = [
    "Problem", "Row", "Rows", "answer_mask_path", "box_label", "class_label", "image_file", "mask_file",
    "points_label", "read_rows",
]  # fmt: skip

REQUIRED = ("task_id", "task_name", "image_path")
#: A mask's pixel is 8 bits wide, so no task has more classes.
MAX_CLASSES = 256
#: How many line numbers a problem names before it only counts.
LINES_NAMED = 10

_TYPES = {kind.value.lower(): kind for kind in TaskType}
_NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """What was wrong at `source` ("file.csv" or "file.csv:line")."""

    source: str
    message: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows in file order, what was wrong with them, and how many exact duplicates were left out."""

    rows: list[Row]
    problems: list[Problem]
    duplicates: int = 0


class _Notes:
    """The problems of one file: the same message on many lines is one problem that counts them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[str, list[int]] = {}

    def add(self, message: str, line: int | None = None) -> None:
        self.lines.setdefault(message, []).extend([] if line is None else [line])

    def problems(self) -> list[Problem]:
        found = []
        for message, lines in self.lines.items():
            more = ", ".join(map(str, lines[1:LINES_NAMED]))
            more += f" and {len(lines) - LINES_NAMED} more" if len(lines) > LINES_NAMED else ""
            source = f"{self.file}:{lines[0]}" if lines else self.file
            found.append(Problem(source, f"{message} (also on lines {more})" if more else message))
        return found


def read_rows(root: Path) -> Rows:
    """Read all `root/csv_files/*.csv`, in the order of their names.

    A file or row that can't be used becomes a `Problem`; a row is kept whenever its task type is
    known, since it then gets an answer. Rows equal in task_id, image_path and mask_path are kept once.
    Raises `InputError` when no row is left, saying what was found.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: set[tuple[str, str, str | None]] = set()
    duplicates = 0
    for path in _csv_files(root):
        notes = _Notes(path.name)
        try:
            if not path.resolve().is_relative_to(root.resolve()):
                raise InputError(f"is a link that leads out of the input folder {root}")
            duplicates += _read_file(read_table(path), notes, seen, rows)
        except InputError as error:
            notes.add(f"skipped: {error}")
        problems += notes.problems()
    if not rows:
        found = "; ".join(f"{p.source} {p.message}" for p in problems[:5])
        more = f"; and {len(problems) - 5} problems more" if len(problems) > 5 else ""
        raise InputError(f"expected at least one usable row in {root}/csv_files/*.csv, found: {found}{more}")
    return Rows(rows, problems, duplicates)


def _csv_files(root: Path) -> list[Path]:
    folder = root / "csv_files"
    files = sorted(folder.glob("*.csv"))
    if files:
        return files
    place = folder if folder.is_dir() else root
    try:
        names = sorted(os.listdir(place))
    except OSError as error:
        found = f"{place} can't be listed ({error.strerror})"
    else:
        found = (", ".join(names[:10]) + (", ..." if len(names) > 10 else "") or "nothing") + f" in {place}"
    raise InputError(f"expected {root}/csv_files/*.csv, found: {found}; give the folder that holds csv_files")


def _read_file(table: Table, notes: _Notes, seen: set[tuple[str, str, str | None]], rows: list[Row]) -> int:
    """Append the rows of one file that aren't in `seen` yet; returns how many duplicates were left out."""
    for warning in table.warnings:
        notes.add(warning)
    columns = {name: at for at, name in reversed(list(enumerate(table.header)))}
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        shown = short(", ".join(table.header))
        raise InputError(f"it has no column {', '.join(missing)}; the columns found are: {shown}")
    labels = {name: at for name, at in columns.items() if name == "mask" or name in BOX or POINT.fullmatch(name)}
    line = duplicates = 0
    for line, cells in table.records:
        if len(cells) != len(table.header):
            notes.add(f"has {len(cells)} cells where the header has {len(table.header)}", line)
            cells.extend([""] * (len(table.header) - len(cells)))
        row = _read_row(cells, columns, labels, notes, line)
        if row is None:
            continue
        key = (row.task_id, row.image_path, row.mask_path)
        if key in seen:
            duplicates += 1
            notes.add("repeats an earlier row's task_id, image_path and mask_path and is answered once", line)
            continue
        seen.add(key)
        rows.append(row)
    if not line:
        notes.add("skipped: it has a header and no rows")
    return duplicates


def _read_row(
    cells: list[str], columns: Mapping[str, int], labels: Mapping[str, int], notes: _Notes, line: int
) -> Row | None:
    """One row, or None when nothing says which type of answer it wants."""
    task_id, name, image_path = (cells[columns[column]] for column in REQUIRED)
    if any("\0" in cell for cell in cells):
        notes.add("holds a NUL byte", line)
    kind = _TYPES.get(name.strip().lower())
    if kind is None:
        official = OFFICIAL.get(task_id.strip())
        wrong = f"has the task_name {short(name)!r} instead of one of {', '.join(TaskType)}"
        if official is None:
            notes.add(f"{wrong}, and its task_id isn't a known one, so it can't be answered", line)
            return None
        notes.add(f"{wrong}; it is taken as {official.type} from its task_id", line)
        kind = official.type
    for column, cell in (("task_id", task_id), ("image_path", image_path)):
        if is_blank(cell):
            notes.add(f"has a blank {column}", line)
    stated = cells[columns["num_classes"]] if "num_classes" in columns else ""
    num_classes = _count(stated)
    if num_classes is None:
        notes.add(f"has the num_classes {short(stated)!r} instead of a whole number from 1 to {MAX_CLASSES}", line)
    mask_path = cells[columns["mask_path"]] if "mask_path" in columns else ""
    patient = cells[columns["patient_id"]] if "patient_id" in columns else ""
    given = {column: cells[at] for column, at in labels.items() if not is_blank(cells[at])}
    return Row(
        task_id, kind, num_classes, image_path, None if is_blank(mask_path) else mask_path,
        f"{notes.file}:{line}", given or _NO_LABELS, None if is_blank(patient) else patient.strip(),
    )  # fmt: skip


def _count(cell: str) -> int | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() and 1 <= value <= MAX_CLASSES else None
