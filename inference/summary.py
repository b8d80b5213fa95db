"""What a run did: rows, fallbacks and warnings, counted and named."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from aurora.rows import Problem, Row
from inference.journal import Outcome

EXAMPLES = 5


@dataclass(slots=True)
class TaskCount:
    """Rows of one task: all that were answered, and those answered by a fallback."""

    type: str
    rows: int = 0
    fallbacks: int = 0


@dataclass(slots=True)
class Summary:
    """Filled while a run goes on.

    `fallbacks`, `unwritten` and `warnings` count every text; `examples` keeps the first few sources of each.
    """

    tasks: dict[str, TaskCount] = field(default_factory=dict)
    fallbacks: Counter[str] = field(default_factory=Counter)
    unwritten: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def take(self, row: Row, outcome: Outcome) -> None:
        """Count a row and all that was noted about it."""
        for warning in outcome.warnings:
            self.warn(warning, row.source)
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
            self._note(self.fallbacks, fallback, row.source)

    def not_written(self, row: Row, reason: str) -> None:
        """Count a row whose answer has no place to be written at."""
        self.tasks.setdefault(row.task_id, TaskCount(row.type))
        self._note(self.unwritten, reason, row.source)

    def warn(self, text: str, source: str) -> None:
        """Count a warning that didn't cost an answer."""
        self._note(self.warnings, text, source)

    def input_problems(self, problems: Iterable[Problem]) -> None:
        """Take over what reading the rows found."""
        for problem in problems:
            self.warn(problem.message, problem.source)

    def _note(self, counter: Counter[str], text: str, source: str) -> None:
        counter[text] += 1
        if len(self.examples[text]) < EXAMPLES:
            self.examples[text].append(source)

    @property
    def rows(self) -> int:
        """How many rows got an answer."""
        return sum(count.rows for count in self.tasks.values())
