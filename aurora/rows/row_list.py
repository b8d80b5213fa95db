"""Any number of rows in little memory: where each lies in its CSV file, from where it is read again when wanted."""

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from aurora.errors import InputError
from aurora.rows.row import Row
from aurora.rows.table import CsvLine, Layout


class RowIndex:
    """Rows in the order they were appended; 32 bytes each, whatever their length.

    `images` holds a number per row that is the same where, and only where, the `image_path` is (but for a chance of
    2^-64 per pair).
    """

    def __init__(self) -> None:
        self._layouts: list[Layout] = []
        self._files, self._lines = array("I"), array("I")
        self._starts, self._lengths = array("Q"), array("Q")
        self.images = array("q")

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Row]:
        return self.take(range(len(self)))

    def __getitem__(self, number: int) -> Row:
        return next(self.take([range(len(self))[number]]))

    def append(self, layout: Layout, line: CsvLine, row: Row) -> None:
        """Add the row that `layout` made of `line`."""
        if not self._layouts or self._layouts[-1] is not layout:
            self._layouts.append(layout)
        self._files.append(len(self._layouts) - 1)
        self._lines.append(line.number)
        self._starts.append(line.start)
        self._lengths.append(line.length)
        self.images.append(hash(row.image_path))

    def take(self, numbers: Iterable[int]) -> Iterator[Row]:
        """The rows with these numbers, in this order.

        Raises:
            InputError: a CSV file isn't what it was when it was first read.
        """
        opened, file = -1, None
        try:
            for number in numbers:
                if self._files[number] != opened:
                    opened = self._files[number]
                    file = _reopened(self._layouts[opened].table.path, file)
                assert file is not None
                yield self._read(number, file)
        finally:
            if file:
                file.close()

    def _read(self, number: int, file: BinaryIO) -> Row:
        layout = self._layouts[self._files[number]]
        try:
            file.seek(self._starts[number])
            cells = layout.table.cells(file.read(self._lengths[number]))
            row = layout.row(cells, self._lines[number])
        except (OSError, ValueError):
            row = None
        if row is None or hash(row.image_path) != self.images[number]:
            raise _changed(layout.table.path)
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
