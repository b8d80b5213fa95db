"""Read the cases to predict: every usable row of the input's CSV files, and the problems of the others."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from aurora.errors import InputError
from aurora.rows.row import Row
from aurora.rows.row_list import RowIndex
from aurora.rows.table import CsvLine, RowParser, read_table
from aurora.runtime.seen_hashes import SeenHashes

#: The number of line numbers that a problem lists; further lines are only counted.
LINES_NAMED = 10
#: The number of different problems that are listed per file.
PROBLEMS_NAMED = 1000
# How the names of files begin that macOS, Excel and LibreOffice keep beside a file.
_BESIDE = ("._", "~$", ".~lock.")
PASSED_OVER = "is passed over: macOS or an office program keeps such a file beside another"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem at `source`: "file.csv" or "file.csv:line"."""

    source: str
    message: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of an input folder.

    Attributes:
        rows: the usable rows, in the order of the files.
        problems: what is wrong with rows and files, used or not.
        duplicates: the number of rows that were left out because they repeat another one.
        contradictory: those of them that have another label than the row they repeat, if rows were read as labelled.
        complete: whether no row or file was left out for another reason.
        digest: a hash that changes with the name or content of any CSV file, as hexadecimal text.
    """

    rows: RowIndex
    problems: list[Problem]
    duplicates: int
    complete: bool
    digest: str
    contradictory: tuple[Row, ...] = ()


class _ProblemLog:
    """The problems of one file; the same message on several lines is one problem."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[str, list[int]] = {}
        self.counts: dict[str, int] = {}
        #: Whether any row was left out because it can't be used.
        self.incomplete = False

    def add(self, message: str, line: int | None = None) -> None:
        if message not in self.counts and len(self.counts) >= PROBLEMS_NAMED:
            message = f"has another problem than the {PROBLEMS_NAMED} that are named"
        self.counts[message] = self.counts.get(message, 0) + 1
        lines = self.lines.setdefault(message, [])
        if line is not None and len(lines) < LINES_NAMED:
            lines.append(line)

    def add_fatal(self, message: str) -> None:
        """Record why the rest of the file is left out."""
        self.incomplete = True
        self.add(message)

    def problems(self) -> list[Problem]:
        problems = []
        for message, lines in self.lines.items():
            more = ", ".join(map(str, lines[1:]))
            unnamed = self.counts[message] - len(lines) if lines else 0
            more += f" and {unnamed} more" if unnamed else ""
            source = f"{self.file}:{lines[0]}" if lines else self.file
            problems.append(Problem(source, f"{message} (also on lines {more})" if more else message))
        return problems


class _RowCollector:
    """The rows of all files, without duplicates."""

    def __init__(self, labelled: bool) -> None:
        self.labelled = labelled
        self.rows = RowIndex()
        self.duplicates = 0
        self.contradictory: list[Row] = []
        self._cases, self._labelled_cases = SeenHashes(), SeenHashes()

    def read(self, parser: RowParser, log: _ProblemLog) -> None:
        """Append the rows of one file that are new."""
        for warning in parser.table.warnings:
            log.add(warning)
        line = None
        try:
            for line in parser.table.lines():
                self._add(line, parser, log)
        except OSError as error:
            log.add_fatal(f"skipped after some lines: can't be read ({error.strerror})")
            return
        if line is None:
            log.add("skipped: it has a header and no rows")

    def _add(self, line: CsvLine, parser: RowParser, log: _ProblemLog) -> None:
        for problem in parser.problems(line.cells):
            log.add(problem, line.number)
        row = parser.parse(line.cells, line.number)
        if row is None:
            log.incomplete = True
        elif self._is_new(row):
            self.rows.append(parser, line, row)
        else:
            self.duplicates += 1
            log.add("repeats an earlier row's task_id, image_path and mask_path and is left out", line.number)

    def _is_new(self, row: Row) -> bool:
        case = _case(row)
        new = self._cases.add(case)
        if self.labelled and self._labelled_cases.add((case, frozenset(row.labels.items()))) and not new:
            self.contradictory.append(row)
        return new


def _case(row: Row) -> tuple[str, str, str | None]:
    return row.task_id, row.image_path, row.mask_path


def read_rows(root: Path, *, labelled: bool = False) -> Rows:
    """Read all `root/csv_files/*.csv`, in the order of their names.

    A file or row that can't be used becomes a `Problem`. A row is kept whenever its task type is known, since it then
    gets a prediction. Of several rows with the same task_id, image_path and mask_path, the first is kept. With
    `labelled`, the others are kept as `contradictory` if they have another label.

    Example:
        >>> len(read_rows(Path("test/cases")).rows)
        55

    Raises:
        InputError: no row is usable.
    """
    collector = _RowCollector(labelled)
    problems: list[Problem] = []
    digest = hashlib.sha256()
    complete = True
    files, passed_over = _csv_files(root)
    problems += (Problem(name, PASSED_OVER) for name in passed_over)
    for path in files:
        log = _ProblemLog(path.name)
        try:
            parser = _open(path, root)
        except InputError as error:
            log.add_fatal(f"skipped: {error}")
        else:
            digest.update(f"{path.name}\0{parser.table.digest}\0".encode("utf-8", "surrogateescape"))
            collector.read(parser, log)
        problems += log.problems()
        complete = complete and not log.incomplete
    if not collector.rows:
        raise _no_rows(root, problems)
    contradictory = tuple(collector.contradictory)
    return Rows(collector.rows, problems, collector.duplicates, complete, digest.hexdigest(), contradictory)


def _open(path: Path, root: Path) -> RowParser:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise InputError(f"is a link that leads out of the input folder {root}")
    return RowParser(read_table(path))


def _no_rows(root: Path, problems: list[Problem]) -> InputError:
    shown = "; ".join(f"{problem.source} {problem.message}" for problem in problems[:5])
    more = f"; and {len(problems) - 5} more problems" if len(problems) > 5 else ""
    return InputError(
        f"expected at least one usable row in {root}/csv_files/*.csv, found: {shown}{more}; correct these files"
    )


def _csv_files(root: Path) -> tuple[list[Path], list[str]]:
    """Return the CSV files, and the names of those that another program keeps beside them."""
    folder = root / "csv_files"
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    names = [name for name in names if name.lower().endswith((".csv", ".csv#"))]
    beside = [name for name in names if name.startswith(_BESIDE)]
    files = [folder / name for name in names if name not in beside and not name.endswith("#")]
    if files:
        return files, beside
    listed = folder if os.path.isdir(folder) else root
    advice = "give the folder that holds csv_files"
    try:
        names = sorted(os.listdir(listed))
    except OSError as error:
        content = f"{listed} can't be listed ({error.strerror})"
    else:
        content = (", ".join(names[:10]) + (", ..." if len(names) > 10 else "") or "nothing") + f" in {listed}"
        advice = "save the table there as CSV, under a name that ends in .csv" if names and listed == folder else advice
    raise InputError(f"expected {root}/csv_files/*.csv, found: {content}; {advice}")
