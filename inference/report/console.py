"""What a run did: rows, fallbacks and warnings, counted and named."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from aurora.rows import Row, Rows
from aurora.rows.row import plain
from inference.output.journal import Outcome

EXAMPLES = 5
#: How many different texts of a kind are told apart; more than that say nothing that a person would read.
TEXTS = 200
OTHERS = f"others than the {TEXTS} that are named"


@dataclass(slots=True)
class TaskCount:
    """Rows of one task: all that were answered, and those answered by a fallback."""

    type: str
    rows: int = 0
    fallbacks: int = 0


@dataclass(slots=True)
class Summary:
    """Filled while a run goes on.

    `complete` is whether every row of the input is among those that are to be answered.
    `fallbacks`, `unwritten` and `warnings` count every text; `examples` keeps the first few rows of each.
    """

    complete: bool = True
    tasks: dict[str, TaskCount] = field(default_factory=dict)
    fallbacks: Counter[str] = field(default_factory=Counter)
    unwritten: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def take(self, row: Row, outcome: Outcome) -> None:
        """Count a row and all that was noted about it."""
        for warning in outcome.warnings:
            self.warn(warning, _named(row))
        if outcome.unwritten:
            self.not_written(row, outcome.unwritten)
        else:
            self.answered(row, outcome.fallback)

    def answered(self, row: Row, fallback: str | None) -> None:
        """Count a row whose answer is written; `fallback` is why it is only a neutral one, if so."""
        count = self.tasks.setdefault(row.task_id, TaskCount(row.type))
        count.rows += 1
        if fallback:
            count.fallbacks += 1
            self._note(self.fallbacks, fallback, _named(row))

    def not_written(self, row: Row, reason: str) -> None:
        """Count a row whose answer has no place to be written at."""
        self.tasks.setdefault(row.task_id, TaskCount(row.type))
        self._note(self.unwritten, reason, _named(row))

    def warn(self, text: str, source: str) -> None:
        """Count a warning that didn't cost an answer."""
        self._note(self.warnings, text, source)

    @property
    def flawless(self) -> bool:
        """Whether every row got an answer, and none a fallback."""
        return self.complete and not self.fallbacks and not self.unwritten

    def input_problems(self, found: Rows) -> None:
        """Take over what reading the rows found."""
        self.complete = found.complete
        for problem in found.problems:
            self.warn(problem.message, problem.source)

    def _note(self, counter: Counter[str], text: str, source: str) -> None:
        if text not in counter and len(counter) >= TEXTS:
            text = OTHERS
        counter[text] += 1
        if len(self.examples[text]) < EXAMPLES:
            self.examples[text].append(source)

    @property
    def rows(self) -> int:
        """How many rows got an answer."""
        return sum(count.rows for count in self.tasks.values())


def _named(row: Row) -> str:
    """Where the row stands, and its image."""
    return f"{row.source} {plain(row.image_path)}"


T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def progress(items: Iterable[T], total: int) -> Iterator[T]:
    """Pass `items` on, telling how many of `total` have passed."""
    return _bar(items, total) if sys.stdout.isatty() else _lines(items, total)


def _bar(items: Iterable[T], total: int) -> Iterator[T]:
    from rich.progress import track

    return iter(track(items, description="rows", total=total))


def _lines(items: Iterable[T], total: int) -> Iterator[T]:
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{done} of {total} rows", flush=True)


def as_text(summary: Summary, output: Path, made: Mapping[str, Path], *, total: int, seconds: float) -> str:
    """The summary as lines; the last one says how many rows were answered, what is amiss, and where the answers are.

    `made` are other files that were written, by what they are.
    """
    width = max([len("task"), *map(len, summary.tasks)]) + 2
    lines = [f"{'task':<{width}}{'type':<16}{'rows':>7}{'fallbacks':>11}"]
    for name, count in summary.tasks.items():
        lines.append(f"{name:<{width}}{count.type:<16}{count.rows:>7}{count.fallbacks:>11}")
    for label in ("fallbacks", "unwritten", "warnings"):
        lines += _listed(label, getattr(summary, label), summary)
    lines += [f"{what}: {path}" for what, path in made.items()]
    fallbacks = summary.fallbacks.total()
    lines.append(
        f"answered {summary.rows} of {total} rows"
        + (f", {fallbacks} of them by a fallback" if fallbacks else "")
        + ("" if summary.complete else ", and left out what the warnings name")
        + f" in {seconds:.1f} s ({summary.rows / max(seconds, 1e-9):.0f} rows/s); answers: {output}"
    )
    return "\n".join(lines)


def _listed(label: str, counted: Counter[str], summary: Summary) -> Iterator[str]:
    for text, count in counted.most_common():
        places = ", ".join(summary.examples[text])
        more = ", ..." if count > EXAMPLES else ""
        yield f"{label} ({count}): {text} [{places}{more}]"
