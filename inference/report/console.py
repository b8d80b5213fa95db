"""What a run prints: its progress, then a summary of rows, fallbacks and warnings."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from aurora.rows import Row, Rows
from aurora.runtime.notes import Notes
from aurora.runtime.text import text_table
from aurora.tasks import TaskType
from inference.output.journal import RowOutcome

logger = logging.getLogger("aurora.inference")


@dataclass(slots=True)
class TaskCount:
    """The rows of one task and type that have a prediction, and those of them whose prediction is a fallback."""

    rows: int = 0
    fallbacks: int = 0


@dataclass(slots=True)
class Summary:
    """Counts of a run, updated row by row.

    `complete` is false if a row of the input was skipped. `fallbacks`, `unwritten` and `warnings` count every text,
    with the first few rows of each.
    """

    complete: bool = True
    tasks: dict[tuple[str, TaskType], TaskCount] = field(default_factory=dict)
    fallbacks: Notes = field(default_factory=Notes)
    unwritten: Notes = field(default_factory=Notes)
    warnings: Notes = field(default_factory=Notes)

    def take(self, row: Row, outcome: RowOutcome) -> None:
        """Count a row with its outcome."""
        for warning in outcome.warnings:
            self.warn(warning, row.place)
        if outcome.unwritten:
            self.not_written(row, outcome.unwritten)
        else:
            self.predicted(row, outcome.fallback)

    def predicted(self, row: Row, fallback: str | None) -> None:
        """Count a row whose prediction is written; `fallback` says why it is a fallback, if it is one."""
        count = self._count(row)
        count.rows += 1
        if fallback:
            count.fallbacks += 1
            self.fallbacks.add(fallback, row.place)

    def not_written(self, row: Row, reason: str) -> None:
        """Count a row whose prediction can't be written."""
        self._count(row)
        self.unwritten.add(reason, row.place)

    def warn(self, text: str, source: str) -> None:
        """Count a warning."""
        self.warnings.add(text, source)

    @property
    def flawless(self) -> bool:
        """Whether every row has a prediction and none is a fallback."""
        return self.complete and not self.fallbacks and not self.unwritten

    def input_problems(self, rows: Rows) -> None:
        """Count the problems that reading the rows found."""
        self.complete = rows.complete
        for problem in rows.problems:
            self.warn(problem.message, problem.source)

    @property
    def rows(self) -> int:
        """The number of rows with a prediction."""
        return sum(count.rows for count in self.tasks.values())

    def _count(self, row: Row) -> TaskCount:
        return self.tasks.setdefault((row.task_id, row.type), TaskCount())


T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def progress(items: Iterable[T], total: int) -> Iterator[T]:
    """Yield `items`, and report how many of `total` are done: in a bar on a terminal, else in a line every 10 s."""
    bar = sys.stdout.isatty() and logger.isEnabledFor(logging.INFO)
    return _bar(items, total) if bar else _lines(items, total)


def _bar(items: Iterable[T], total: int) -> Iterator[T]:
    from rich.progress import track

    return iter(track(items, description="rows", total=total))


def _lines(items: Iterable[T], total: int) -> Iterator[T]:
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            logger.info("%d of %d rows", done, total)


def as_text(summary: Summary, output: Path, files: Mapping[str, Path], *, total: int, seconds: float) -> str:
    """Format the summary in lines; the last one says how many of `total` rows have a prediction, and where.

    `files` are other files that the run has written, by label.
    """
    table = [("task", "type", "rows", "fallbacks")]
    for (task_id, task_type), count in summary.tasks.items():
        table.append((task_id, task_type, str(count.rows), str(count.fallbacks)))
    lines = text_table(table)
    for label in ("fallbacks", "unwritten", "warnings"):
        lines += getattr(summary, label).lines(label)
    lines += [f"{name}: {path}" for name, path in files.items()]
    fallbacks = summary.fallbacks.total()
    lines.append(
        f"predicted {summary.rows} of {total} rows"
        + (f", {fallbacks} of them by a fallback" if fallbacks else "")
        + ("" if summary.complete else ", without the rows that the warnings say were skipped")
        + f" in {seconds:.1f} s ({summary.rows / max(seconds, 1e-9):.0f} rows/s); predictions: {output}"
        + _common_reason(summary)
    )
    return "\n".join(lines)


def _common_reason(summary: Summary) -> str:
    """Return the end of the last line if all rows have a fallback for one reason."""
    reasons = summary.fallbacks.counts
    return f"; the model predicted no row: {next(iter(reasons))}" if [*reasons.values()] == [summary.rows] else ""
