"""What a run did: rows, fallbacks and warnings, counted and named."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from aurora.row import plain
from aurora.rows import Row, Rows
from inference.journal import Outcome

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
