"""A CSV file as numbered rows of cells, whatever encoding and delimiter it came in, one line in memory at a time."""

import codecs
import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from aurora.errors import InputError
from aurora.rows.row import BOX, POINT, Row, is_blank, plain, short
from aurora.tasks import OFFICIAL, TaskType

# The default limit would lose a row with a long cell.
csv.field_size_limit(2**31 - 1)

_CHUNK = 1 << 20
# Byte order marks, and the encoding of what comes after them.
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class CsvLine(NamedTuple):
    """A row of cells, its line number in the file (the first is 1), and where its bytes lie there."""

    number: int
    cells: list[str]
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class CsvTable:
    """What is known of a CSV file: its column names, how its lines are read, and what had to be guessed.

    Its text begins after `start` bytes; `digest` is the SHA-256 of the whole file.
    """

    path: Path
    header: list[str]
    warnings: list[str]
    encoding: str
    delimiter: str
    start: int
    digest: str

    def lines(self) -> Iterator[CsvLine]:
        """The rows under the header, blank lines left out; raises `OSError` when reading fails."""
        start = self.start
        headed = False
        for number, text in enumerate(_text(self.path, self.encoding, self.start), start=1):
            length = len(text.encode(self.encoding))
            if text.strip():
                if headed:
                    yield CsvLine(number, _split(text, self.delimiter), start, length)
                headed = True
            start += length

    def cells(self, data: bytes) -> list[str]:
        """The cells of one line's bytes; raises `ValueError` when they are no line of this encoding."""
        try:
            return _split(data.decode(self.encoding), self.delimiter)
        except csv.Error as error:
            raise ValueError(str(error)) from None


def read_table(path: Path) -> CsvTable:
    """Look at a CSV file; one line is one row.

    UTF-8 and UTF-16 (by its byte order mark) are known for certain; another encoding, semicolons and
    tabs are guessed, with a warning. Raises `InputError` when the file can't be read or is empty.
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
    """The encoding that all of a file is in, and where its text begins; latin-1 comes last because it accepts all."""
    with path.open("rb") as file:
        head = file.read(3)
    start, marked = next(((len(mark), name) for mark, name in _MARKS if head.startswith(mark)), (0, "utf-8"))
    likely = [marked] if marked.startswith("utf-16") else [marked, "cp1252"]
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
    """The lines with their ends."""
    with path.open("rb") as file:
        file.seek(start)
        with TextIOWrapper(file, encoding, newline="") as text:
            yield from text


def _split(text: str, delimiter: str) -> list[str]:
    """The cells of one line; read by itself, so that an unclosed quote ends with it."""
    return next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter), [])


REQUIRED = ("task_id", "task_name", "image_path")
#: A mask's pixel is 8 bits wide, so no task has more classes.
MAX_CLASSES = 256

_TYPES = {kind.value.lower(): kind for kind in TaskType}
_NO_LABELS: Mapping[str, str] = {}


class Layout:
    """The columns of a table.

    Raises:
        InputError: a column that every row needs is missing.
    """

    def __init__(self, table: CsvTable) -> None:
        self.table = table
        # Of a name that stands twice the first column counts.
        self.columns = {name: at for at, name in reversed(list(enumerate(table.header)))}
        missing = [name for name in REQUIRED if name not in self.columns]
        if missing:
            shown = plain(", ".join(table.header))
            raise InputError(f"it has no column {', '.join(missing)}; the columns found are: {shown}")
        self.labels = [name for name in self.columns if name == "mask" or name in BOX or POINT.fullmatch(name)]

    def row(self, cells: Sequence[str], line: int) -> Row | None:
        """The row that these cells are, on this line; None when nothing says which type of answer it wants."""
        kind = self._type(cells)
        if kind is None:
            return None
        mask_path, patient = self._cell(cells, "mask_path"), self._cell(cells, "patient_id")
        labels = {name: cell for name in self.labels if not is_blank(cell := self._cell(cells, name))}
        return Row(
            self._cell(cells, "task_id"),
            kind,
            _count(self._cell(cells, "num_classes")),
            self._cell(cells, "image_path"),
            None if is_blank(mask_path) else mask_path,
            f"{self.table.path.name}:{line}",
            labels or _NO_LABELS,
            None if is_blank(patient) else patient.strip(),
        )

    def problems(self, cells: Sequence[str]) -> Iterator[str]:
        """What is wrong with these cells, whether or not they make a row."""
        if len(cells) != len(self.table.header):
            yield f"has {len(cells)} cells where the header has {len(self.table.header)}"
        if any("\0" in cell for cell in cells):
            yield "holds a NUL byte"
        name = self._cell(cells, "task_name")
        if name.strip().lower() not in _TYPES:
            wrong = f"has the task_name {short(name)!r} instead of one of {', '.join(TaskType)}"
            kind = self._type(cells)
            if kind is None:
                yield f"{wrong}, and its task_id isn't a known one, so it can't be answered"
                return
            yield f"{wrong}; it is taken as {kind} from its task_id"
        for column in ("task_id", "image_path"):
            if is_blank(self._cell(cells, column)):
                yield f"has a blank {column}"
        stated = self._cell(cells, "num_classes")
        if _count(stated) is None:
            yield f"has the num_classes {short(stated)!r} instead of a whole number from 1 to {MAX_CLASSES}"

    def _type(self, cells: Sequence[str]) -> TaskType | None:
        stated = _TYPES.get(self._cell(cells, "task_name").strip().lower())
        official = OFFICIAL.get(self._cell(cells, "task_id").strip())
        return stated or (official.type if official else None)

    def _cell(self, cells: Sequence[str], column: str) -> str:
        """The cell of a column; empty where there is no such column, or where the line ends before it."""
        at = self.columns.get(column, len(cells))
        return cells[at] if at < len(cells) else ""


def _count(cell: str) -> int | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() and 1 <= value <= MAX_CLASSES else None
