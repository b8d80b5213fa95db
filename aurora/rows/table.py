"""Read CSV files of any common encoding and delimiter, one record in memory at a time, and parse their rows."""

import codecs
import csv
import hashlib
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from aurora.errors import InputError
from aurora.rows.row import Row, is_blank, plain, short
from aurora.tasks import OFFICIAL, TYPES, TaskType

# The default limit would reject a row with a long cell.
csv.field_size_limit(2**31 - 1)

_CHUNK = 1 << 20
# The first bytes of a file, by which its kind is told.
_HEAD = 1024
#: The longest record, in characters, that may extend over several lines.
MAX_RECORD = 1 << 20
# Byte order marks, and the encoding of the text after them; that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# The first bytes of files that aren't CSV whatever their name says, and what to do with them; the first that fits
# counts.
_FOREIGN = (
    (rb"PK\x03\x04.{26}(?:\[Content_Types\]|_rels/|docProps/|xl/)",
     "is an Excel workbook (.xlsx), not CSV; save it as CSV UTF-8"),
    (rb"PK\x03\x04", "is a ZIP archive or the sheet of another program, not CSV; unpack it, or save it as CSV UTF-8"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook (.xls), not CSV; save it as CSV UTF-8"),
    (rb"\x1f\x8b", "is compressed by gzip; unpack it"),
    (rb"version https://git-lfs", "is a pointer of Git LFS, not the file; fetch it with 'git lfs pull'"),
    (rb"%PDF", "is a PDF document, not CSV; save its table as CSV UTF-8"),
    (rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml)\b",
     "is a web page, perhaps of a login or an error, not CSV; download it again, or save it as CSV UTF-8"),
    (rb"\0+\Z", "holds nothing but zero bytes; copy it again"),
)  # fmt: skip


class CsvLine(NamedTuple):
    """A record of cells, the number of its first line in the file (from 1), and the offset and length of its bytes."""

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
        delimiter: a comma, semicolon or tab, or what the first line states.
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
        """Yield the records below the header, without blank ones; raise `OSError` if reading fails."""
        start = self.start
        past_header = False
        for number, text in _records(_text(self.path, self.encoding, start), self.delimiter, len(self.header)):
            length = len(text.encode(self.encoding))
            if text.strip(_BLANK_ROW + self.delimiter) and (past_header or not _stated_delimiter(text)):
                if past_header:
                    yield CsvLine(number, _split(text, self.delimiter), start, length)
                past_header = True
            start += length

    def cells(self, data: bytes) -> list[str]:
        """Split the bytes of one record into cells; raise `ValueError` if they don't decode to a record."""
        try:
            return _split(data.decode(self.encoding), self.delimiter)
        except csv.Error as error:
            raise ValueError(str(error)) from None


# Rows of nothing but these characters are blank.
_BLANK_ROW = '",; \t\r\n\v\f\u00a0\ufeff'
# The line by which Excel is told the delimiter, before the header.
_SEPARATOR = re.compile(r'"?sep=([^"\w\s]|\t)"?\s*', re.IGNORECASE)


def _stated_delimiter(text: str) -> str | None:
    """Return the delimiter if a line is one that states it for Excel, such as `sep=;`."""
    stated = _SEPARATOR.fullmatch(text)
    return stated[1] if stated else None


def _records(lines: Iterator[str], delimiter: str, columns: int | None) -> Iterator[tuple[int, str]]:
    """Join the lines of each record (RFC 4180), and yield it with the number of its first line.

    A line with an odd number of quotes continues to the next such line if both together make a well-formed record with
    as many cells as the header has `columns`. Otherwise a quote is open by mistake and ends with its line.
    """
    number = 0
    waiting: deque[str] = deque()
    while True:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        number += 1
        if line.count('"') % 2 == 0:
            yield number, line
            continue
        following: list[str] = []
        size, closed = len(line), False
        while not closed and size <= MAX_RECORD and (more := waiting.popleft() if waiting else next(lines, None)):
            following.append(more)
            size += len(more)
            closed = more.count('"') % 2 == 1
        record = "".join([line, *following])
        if closed and _is_record(record, delimiter, columns):
            yield number, record
            number += len(following)
        else:
            yield number, line
            waiting.extendleft(reversed(following))


def _is_record(text: str, delimiter: str, columns: int | None) -> bool:
    try:
        cells = next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return False
    return columns is None or len(cells) == columns


def read_table(path: Path) -> CsvTable:
    """Detect the encoding and delimiter of a CSV file.

    UTF-8, UTF-16 and UTF-32 (by their byte order marks) are detected reliably; another encoding, UTF-16 and UTF-32
    without a mark, semicolons and tabs are guessed, with a warning. A first line such as `sep=;` states any delimiter,
    as for Excel.

    Raises:
        InputError: the file can't be read, is empty, or has the content of another kind of file.
    """
    if not path.is_file():
        raise InputError("isn't a regular file")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        encoding, start, warnings = _encoding(path)
        filled = (text for text in _text(path, encoding, start) if text.strip(_BLANK_ROW))
        first = next(filled, "")
        stated = _stated_delimiter(first)
        first = next(filled, "") if stated else first
        delimiter = stated or max(",;\t", key=first.count)
        # A column's name may extend over several lines.
        first = next(_records(chain([first], filled), delimiter, None), (0, ""))[1]
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})") from None
    if delimiter != "," and not stated:
        warnings.append(f"was read with the delimiter {delimiter!r}; separate its cells with commas")
    header = [name.strip() for name in _split(first, delimiter)]
    if not any(header):
        raise InputError("is empty")
    return CsvTable(path, header, warnings, encoding, delimiter, start, digest)


def _encoding(path: Path) -> tuple[str, int, list[str]]:
    """Return the encoding that decodes the whole file, the offset of its text, and a warning if it was guessed.

    Raises:
        InputError: the file is of another kind.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    foreign = next((cure for pattern, cure in _FOREIGN if re.match(pattern, head, re.DOTALL)), None)
    if foreign:
        raise InputError(foreign)
    start, marked = next(((len(mark), name) for mark, name in _MARKS if head.startswith(mark)), (0, "utf-8"))
    # A header is mostly ASCII, of which one byte in two isn't 0 in UTF-16, and one in four in UTF-32.
    zeros = {
        **{"utf-32-le": head[2::4] + head[3::4], "utf-32-be": head[::4] + head[1::4]},
        **{"utf-16-le": head[1::2], "utf-16-be": head[::2]},
    }
    unmarked = next((name for name, part in zeros.items() if 3 * part.count(0) > len(head)), None)
    if start == 0 and unmarked and _decodes(path, unmarked, 0):
        form = unmarked[:6].upper()
        return unmarked, 0, [f"is {form} without a byte order mark and was read as {unmarked}; save it as UTF-8"]
    likely = [marked] if marked != "utf-8" else [marked, "cp1252"]
    # latin-1 comes last because it decodes anything.
    name = next((name for name in likely if _decodes(path, name, start)), "latin-1")
    return name, start, [] if name == marked else [f"isn't UTF-8 and was read as {name}; save it as UTF-8"]


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
    """Split one record into cells; each is parsed alone, so that an unclosed quote ends with it.

    Files that were joined have byte order marks at the beginnings of records.
    """
    return next(csv.reader([text.lstrip("\ufeff").rstrip("\r\n")], delimiter=delimiter), [])


REQUIRED = ("task_id", "task_name", "image_path")
#: The most classes of a task, because a mask's pixel has 8 bits.
MAX_CLASSES = 256

# Characters that nobody sees, and that come with text copied from pages, chats and Windows' property sheets.
_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u202a-\u202e]")

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
        hidden = next(filter(None, map(_INVISIBLE.search, cells)), None)
        if hidden:
            yield f"holds an invisible character, U+{ord(hidden[0]):04X}; remove it"
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
