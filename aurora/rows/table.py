"""Read CSV files of any common encoding and delimiter, one line in memory at a time, and parse their rows."""

import codecs
import csv
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from aurora.errors import InputError
from aurora.rows.row import Row, is_blank, plain, short
from aurora.tasks import OFFICIAL, TYPES, TaskType

# The default limit would reject a row with a long cell.
csv.field_size_limit(2**31 - 1)

_CHUNK = 1 << 20
# Byte order marks, and the encoding of the text after them.
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class CsvLine(NamedTuple):
    """A line of cells, its number in the file (from 1), and the offset and length of its bytes."""

    number: int
    cells: list[str]
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A CSV file, and how to read it.

    Attributes:
        path: the file.
        header: the column names, stripped.
        warnings: what had to be guessed, in plain words.
        encoding: Python's name of the encoding.
        delimiter: a comma, semicolon or tab.
        start: the offset of the text in bytes, after a byte order mark.
        digest: the SHA-256 of the whole file, as hexadecimal text.
    """

    path: Path
    header: list[str]
    warnings: list[str]
    encoding: str
    delimiter: str
    start: int
    digest: str

    def lines(self) -> Iterator[CsvLine]:
        """Yield the lines below the header, without blank ones; raise `OSError` if reading fails."""
        start = self.start
        past_header = False
        for number, text in enumerate(_text(self.path, self.encoding, self.start), start=1):
            length = len(text.encode(self.encoding))
            if text.strip():
                if past_header:
                    yield CsvLine(number, _split(text, self.delimiter), start, length)
                past_header = True
            start += length

    def cells(self, data: bytes) -> list[str]:
        """Split the bytes of one line into cells; raise `ValueError` if they don't decode to a line."""
        try:
            return _split(data.decode(self.encoding), self.delimiter)
        except csv.Error as error:
            raise ValueError(str(error)) from None


def read_table(path: Path) -> CsvTable:
    """Detect the encoding and delimiter of a CSV file in which one line is one row.

    UTF-8 and UTF-16 (by its byte order mark) are detected reliably; another encoding, semicolons and tabs are guessed,
    with a warning.

    Raises:
        InputError: the file can't be read or is empty.
    """
    if not path.is_file():
        raise InputError("isn't a regular file")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        encoding, start = _encoding(path)
        first = next((text for text in _text(path, encoding, start) if text.strip()), "")
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})") from None
    delimiter = max(",;\t", key=first.count)
    warnings = [] if encoding.startswith("utf") else [f"isn't UTF-8 and was read as {encoding}; save it as UTF-8"]
    if delimiter != ",":
        warnings.append(f"was read with the delimiter {delimiter!r}; separate its cells with commas")
    header = [name.strip() for name in _split(first, delimiter)]
    if not any(header):
        raise InputError("is empty")
    return CsvTable(path, header, warnings, encoding, delimiter, start, digest)


def _encoding(path: Path) -> tuple[str, int]:
    """Return the encoding that decodes the whole file, and the offset of its text."""
    with path.open("rb") as file:
        head = file.read(3)
    start, marked = next(((len(mark), name) for mark, name in _MARKS if head.startswith(mark)), (0, "utf-8"))
    likely = [marked] if marked.startswith("utf-16") else [marked, "cp1252"]
    # latin-1 comes last because it decodes anything.
    return next((name for name in likely if _decodes(path, name, start)), "latin-1"), start


def _decodes(path: Path, encoding: str, start: int) -> bool:
    with path.open("rb") as file:
        file.seek(start)
        try:
            for _ in codecs.iterdecode(iter(lambda: file.read(_CHUNK), b""), encoding):
                pass
        except UnicodeDecodeError:
            return False
    return True


def _text(path: Path, encoding: str, start: int) -> Iterator[str]:
    """Yield the lines with their line ends."""
    with path.open("rb") as file:
        file.seek(start)
        with TextIOWrapper(file, encoding, newline="") as text:
            yield from text


def _split(text: str, delimiter: str) -> list[str]:
    """Split one line into cells; each line is parsed alone, so that an unclosed quote ends with it."""
    return next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter), [])


REQUIRED = ("task_id", "task_name", "image_path")
#: The most classes of a task, because a mask's pixel has 8 bits.
MAX_CLASSES = 256

_NO_LABELS: Mapping[str, str] = {}


class RowParser:
    """Turn the lines of a table into rows.

    Raises:
        InputError: a required column is missing.
    """

    def __init__(self, table: CsvTable) -> None:
        self.table = table
        # Of several columns with the same name the first one counts.
        self.columns = {name: index for index, name in reversed(list(enumerate(table.header)))}
        missing = [name for name in REQUIRED if name not in self.columns]
        if missing:
            shown = plain(", ".join(table.header))
            raise InputError(f"it has no column {', '.join(missing)}; the columns found are: {shown}")
        self.labels = [
            name
            for name in self.columns
            if any(re.fullmatch(facts.label_column, name) for facts in TYPES.values() if facts.label_column)
        ]

    def parse(self, cells: Sequence[str], line: int) -> Row | None:
        """Return the row of these cells on this line; None if its task type is unknown."""
        task_type = self._task_type(cells)
        if task_type is None:
            return None
        mask_path, patient = self._cell(cells, "mask_path"), self._cell(cells, "patient_id")
        labels = {name: cell for name in self.labels if not is_blank(cell := self._cell(cells, name))}
        return Row(
            self._cell(cells, "task_id"),
            task_type,
            _class_count(self._cell(cells, "num_classes")),
            self._cell(cells, "image_path"),
            None if is_blank(mask_path) else mask_path,
            f"{self.table.path.name}:{line}",
            labels or _NO_LABELS,
            None if is_blank(patient) else patient.strip(),
        )

    def problems(self, cells: Sequence[str]) -> Iterator[str]:
        """Yield the problems of these cells, whether or not they make a row."""
        if len(cells) != len(self.table.header):
            yield f"has {len(cells)} cells where the header has {len(self.table.header)}"
        if any("\0" in cell for cell in cells):
            yield "holds a NUL byte"
        name = self._cell(cells, "task_name")
        if _named_type(name) is None:
            problem = f"has the task_name {short(name)!r} instead of one of {', '.join(TYPES)}"
            task_type = self._task_type(cells)
            if task_type is None:
                yield f"{problem}, and its task_id isn't a known one, so it is left out"
                return
            yield f"{problem}; it is taken as {task_type} from its task_id"
        for column in ("task_id", "image_path"):
            if is_blank(self._cell(cells, column)):
                yield f"has a blank {column}"
        stated = self._cell(cells, "num_classes")
        if _class_count(stated) is None:
            yield f"has the num_classes {short(stated)!r} instead of a whole number from 1 to {MAX_CLASSES}"

    def _task_type(self, cells: Sequence[str]) -> TaskType | None:
        stated = _named_type(self._cell(cells, "task_name"))
        official = OFFICIAL.get(self._cell(cells, "task_id").strip())
        return stated or (official.type if official else None)

    def _cell(self, cells: Sequence[str], column: str) -> str:
        """Return the cell of a column; empty if there is no such column, or if the line is too short."""
        index = self.columns.get(column, len(cells))
        return cells[index] if index < len(cells) else ""


def _named_type(cell: str) -> TaskType | None:
    """Return the task type that a task_name cell names in any letter case; None if it names none."""
    name = cell.strip().lower()
    return next((task_type for task_type in TYPES if task_type.lower() == name), None)


def _class_count(cell: str) -> int | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() and 1 <= value <= MAX_CLASSES else None
