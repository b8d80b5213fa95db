"""A CSV file as numbered rows of cells, whatever encoding and delimiter it came in, one line in memory at a time."""

import codecs
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from aurora.errors import InputError

# The default limit would lose a row with a long cell.
csv.field_size_limit(2**31 - 1)

_CHUNK = 1 << 20
# Byte order marks, and the encoding of what comes after them.
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class Line(NamedTuple):
    """A row of cells, its line number in the file (the first is 1), and where its bytes lie there."""

    number: int
    cells: list[str]
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Table:
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

    def lines(self) -> Iterator[Line]:
        """The rows under the header, blank lines left out; raises `OSError` when reading fails."""
        start = self.start
        headed = False
        for number, text in enumerate(_text(self.path, self.encoding, self.start), start=1):
            length = len(text.encode(self.encoding))
            if text.strip():
                if headed:
                    yield Line(number, _split(text, self.delimiter), start, length)
                headed = True
            start += length

    def cells(self, data: bytes) -> list[str]:
        """The cells of one line's bytes; raises `ValueError` when they are no line of this encoding."""
        try:
            return _split(data.decode(self.encoding), self.delimiter)
        except csv.Error as error:
            raise ValueError(str(error)) from None


def read_table(path: Path) -> Table:
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
    return Table(path, header, warnings, encoding, delimiter, start, digest)


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
