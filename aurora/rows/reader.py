"""The cases to answer: every usable row of the input's CSV files, and what was wrong with the others."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from aurora.errors import InputError
from aurora.rows.row_list import RowIndex
from aurora.rows.table import Layout, read_table

#: How many line numbers a problem names before it only counts.
LINES_NAMED = 10
#: How many different problems of one file are told apart.
PROBLEMS_NAMED = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """What was wrong at `source` ("file.csv" or "file.csv:line")."""

    source: str
    message: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows in file order, what was wrong with them, and how many exact duplicates were left out.

    `complete` tells that no row was left out for another reason, nor a file that may hold some; `digest` changes with
    the name or the content of any CSV file.
    """

    rows: RowIndex
    problems: list[Problem]
    duplicates: int
    complete: bool
    digest: str


class _Notes:
    """The problems of one file: the same message on many lines is one problem that counts them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[str, list[int]] = {}
        self.counts: dict[str, int] = {}
        #: Whether any row got no place in the list.
        self.lost = False

    def add(self, message: str, line: int | None = None) -> None:
        if message not in self.counts and len(self.counts) >= PROBLEMS_NAMED:
            message = f"has yet another problem than the {PROBLEMS_NAMED} that are named"
        self.counts[message] = self.counts.get(message, 0) + 1
        lines = self.lines.setdefault(message, [])
        if line is not None and len(lines) < LINES_NAMED:
            lines.append(line)

    def lose(self, message: str) -> None:
        """Note why the rest of the file is left out."""
        self.lost = True
        self.add(message)

    def problems(self) -> list[Problem]:
        found = []
        for message, lines in self.lines.items():
            more = ", ".join(map(str, lines[1:]))
            uncounted = self.counts[message] - len(lines) if lines else 0
            more += f" and {uncounted} more" if uncounted else ""
            source = f"{self.file}:{lines[0]}" if lines else self.file
            found.append(Problem(source, f"{message} (also on lines {more})" if more else message))
        return found


def read_rows(root: Path) -> Rows:
    """Read all `root/csv_files/*.csv`, in the order of their names.

    A file or row that can't be used becomes a `Problem`; a row is kept whenever its task type is
    known, since it then gets an answer. Rows equal in task_id, image_path and mask_path are kept once.
    Raises `InputError` when no row is left, saying what was found.
    """
    rows = RowIndex()
    problems: list[Problem] = []
    # Hashes instead of the texts, which would be most of the memory that many rows take: of ten million different
    # rows, two have the same 64 bits with a chance of 3 in a million.
    seen: set[int] = set()
    digest = hashlib.sha256()
    duplicates = 0
    complete = True
    for path in _csv_files(root):
        notes = _Notes(path.name)
        try:
            if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
                raise InputError(f"is a link that leads out of the input folder {root}")
            layout = Layout(read_table(path))
            digest.update(f"{path.name}\0{layout.table.digest}\0".encode("utf-8", "surrogateescape"))
            duplicates += _read_file(layout, notes, seen, rows)
        except InputError as error:
            notes.lose(f"skipped: {error}")
        except OSError as error:
            notes.lose(f"skipped from some line on: can't be read ({error.strerror})")
        problems += notes.problems()
        complete = complete and not notes.lost
    if not rows:
        found = "; ".join(f"{p.source} {p.message}" for p in problems[:5])
        more = f"; and {len(problems) - 5} problems more" if len(problems) > 5 else ""
        raise InputError(
            f"expected at least one usable row in {root}/csv_files/*.csv, found: {found}{more}; mend them as it says"
        )
    return Rows(rows, problems, duplicates, complete, digest.hexdigest())


def _csv_files(root: Path) -> list[Path]:
    folder = root / "csv_files"
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    files = [folder / name for name in names if name.lower().endswith(".csv")]
    if files:
        return files
    place = folder if os.path.isdir(folder) else root
    try:
        names = sorted(os.listdir(place))
    except OSError as error:
        found = f"{place} can't be listed ({error.strerror})"
    else:
        found = (", ".join(names[:10]) + (", ..." if len(names) > 10 else "") or "nothing") + f" in {place}"
    raise InputError(f"expected {root}/csv_files/*.csv, found: {found}; give the folder that holds csv_files")


def _read_file(layout: Layout, notes: _Notes, seen: set[int], rows: RowIndex) -> int:
    """Append the rows of one file that aren't in `seen` yet; returns how many duplicates were left out."""
    for warning in layout.table.warnings:
        notes.add(warning)
    line = None
    duplicates = 0
    for line in layout.table.lines():
        for problem in layout.problems(line.cells):
            notes.add(problem, line.number)
        row = layout.row(line.cells, line.number)
        if row is None:
            notes.lost = True
            continue
        key = hash((row.task_id, row.image_path, row.mask_path))
        if key in seen:
            duplicates += 1
            notes.add("repeats an earlier row's task_id, image_path and mask_path and is answered once", line.number)
            continue
        seen.add(key)
        rows.append(layout, line, row)
    if line is None:
        notes.add("skipped: it has a header and no rows")
    return duplicates
