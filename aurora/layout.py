"""Where a CSV file's columns stand, and the row that a line of cells is."""

from collections.abc import Iterator, Mapping, Sequence

from aurora.errors import InputError
from aurora.row import BOX, POINT, Row, is_blank, plain, short
from aurora.tables import Table
from aurora.tasks import OFFICIAL, TaskType

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

    def __init__(self, table: Table) -> None:
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
