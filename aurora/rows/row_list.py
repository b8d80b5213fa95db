"""A compact index of rows, which stores file offsets and re-reads rows on demand."""

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from aurora.errors import InputError
from aurora.rows.row import Row
from aurora.rows.table import CsvLine, RowParser


class RowIndex:
    """Rows in the order in which they were appended, at 32 bytes each.

    `images` holds a 64-bit hash of each row's `image_path`.
    """

    def __init__(self) -> None:
        self._parsers: list[RowParser] = []
        self._files, self._lines = array("I"), array("I")
        self._starts, self._lengths = array("Q"), array("Q")
        self.images = array("q")

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Row]:
        return self.read(range(len(self)))

    def __getitem__(self, number: int) -> Row:
        return next(self.read([range(len(self))[number]]))

    def append(self, parser: RowParser, line: CsvLine, row: Row) -> None:
        """Add the `row` that `parser` made of `line`."""
        if not self._parsers or self._parsers[-1] is not parser:
            self._parsers.append(parser)
        self._files.append(len(self._parsers) - 1)
        self._lines.append(line.number)
        self._starts.append(line.start)
        self._lengths.append(line.length)
        self.images.append(hash(row.image_path))

    def read(self, numbers: Iterable[int]) -> Iterator[Row]:
        """Yield the rows with these numbers, in this order.

        Raises:
            InputError: a CSV file has changed since it was first read.
        """
        file_number, file = -1, None
        try:
            for number in numbers:
                if self._files[number] != file_number:
                    file_number = self._files[number]
                    file = _reopened(self._parsers[file_number].table.path, file)
                assert file is not None
                yield self._read_one(number, file)
        finally:
            if file:
                file.close()

    def _read_one(self, number: int, file: BinaryIO) -> Row:
        parser = self._parsers[self._files[number]]
        try:
            file.seek(self._starts[number])
            cells = parser.table.cells(file.read(self._lengths[number]))
            row = parser.parse(cells, self._lines[number])
        except (OSError, ValueError):
            row = None
        if row is None or hash(row.image_path) != self.images[number]:
            raise _changed(parser.table.path)
        return row


def _reopened(path: Path, before: BinaryIO | None) -> BinaryIO:
    if before:
        before.close()
    try:
        return path.open("rb")
    except OSError:
        raise _changed(path) from None


def _changed(path: Path) -> InputError:
    return InputError(
        f"{path} was changed while it was in use; leave the input folder alone during a run, and start again"
    )
