"""A CSV file as numbered rows of cells, whatever encoding and delimiter it came in."""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aurora.errors import InputError

# An unclosed quote makes one cell of all that follows; the default limit would lose those rows.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True, slots=True)
class Table:
    """A header, the rows under it as (line number in the file, cells), and what had to be guessed."""

    header: list[str]
    records: Iterator[tuple[int, list[str]]]
    warnings: list[str]


def read_table(path: Path) -> Table:
    """Read a CSV file; one line is one row, and blank lines are left out.

    UTF-8 and UTF-16 (by its byte order mark) are known for certain; another encoding, semicolons and
    tabs are guessed, with a warning. Raises `InputError` when the file can't be read or is empty.
    """
    if not path.is_file():
        raise InputError("isn't a regular file")
    try:
        text, encoding = _decode(path.read_bytes())
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})") from None
    warnings = [] if encoding.startswith("utf") else [f"isn't UTF-8 and was read as {encoding}; save it as UTF-8"]
    lines = list(io.StringIO(text, newline=""))
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    if delimiter != ",":
        warnings.append(f"was read with the delimiter {delimiter!r}; separate its cells with commas")
    records = ((line, cells) for line, cells in _records(lines, delimiter) if cells)
    _, header = next(records, (0, []))
    if not any(cell.strip() for cell in header):
        raise InputError("is empty")
    return Table([name.strip() for name in header], records, warnings)


def _decode(data: bytes) -> tuple[str, str]:
    """The text and the encoding's name; latin-1 comes last because it accepts everything."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ["utf-16"] if wide else ["utf-8-sig", "cp1252"]:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def _records(lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with their line numbers; where an unclosed quote swallowed lines, each is read by itself."""
    reader = csv.reader(lines, delimiter=delimiter)
    done = 0
    for cells in reader:
        if reader.line_num == done + 1:
            yield reader.line_num, cells
        else:
            for number in range(done, reader.line_num):
                yield number + 1, next(csv.reader([lines[number]], delimiter=delimiter))
        done = reader.line_num
