"""Count the predictions of a run for its report: confidences, classes, sizes and positions."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from aurora.rows import Row
from aurora.tasks import TYPES, TaskType
from inference.output.journal import RowOutcome
from inference.report.record import BINS, GRID, ClassCount, TaskRecord


@dataclass(slots=True)
class TaskTally:
    """Counts of one task's predictions."""

    task_id: str
    type: TaskType
    rows: int = 0
    fallbacks: int = 0
    confidence: Counter[int] = field(default_factory=Counter)
    classes: Counter[int] = field(default_factory=Counter)
    shares: dict[int, float] = field(default_factory=dict)
    areas: Counter[int] = field(default_factory=Counter)
    places: dict[int, np.ndarray] = field(default_factory=dict)

    def take(self, outcome: RowOutcome) -> None:
        """Count one prediction."""
        self.rows += 1
        if outcome.fallback:
            self.fallbacks += 1
            return
        if outcome.confidence is not None:
            self.confidence[_bin(outcome.confidence)] += 1
        facts = outcome.facts
        for label, share in facts.classes:
            self.classes[label] += 1
            if share is not None:
                self.shares[label] = self.shares.get(label, 0.0) + share
        if facts.area is not None:
            self.areas[_bin(facts.area)] += 1
        for index, (x, y) in enumerate(facts.positions):
            self._count_position(index, x, y)

    def _count_position(self, index: int, x: float, y: float) -> None:
        grid = self.places.setdefault(index, np.zeros((GRID, GRID), int))
        grid[min(int(y * GRID), GRID - 1), min(int(x * GRID), GRID - 1)] += 1

    def record(self) -> TaskRecord:
        """Return the counts as a record."""
        shares = {label: share / self.classes[label] for label, share in self.shares.items()}
        return TaskRecord(
            task_id=self.task_id,
            type=self.type,
            rows=self.rows,
            fallbacks=self.fallbacks,
            confidence=_histogram(self.confidence),
            classes=[
                ClassCount(label=label, rows=rows, share=shares.get(label))
                for label, rows in sorted(self.classes.items())
            ],
            areas=_histogram(self.areas),
            places=[self.places[index].tolist() for index in sorted(self.places)],
        )


@dataclass(slots=True)
class Tally:
    """Counts of all predictions, by task and type."""

    tasks: dict[tuple[str, TaskType], TaskTally] = field(default_factory=dict)

    def take(self, row: Row, outcome: RowOutcome) -> None:
        """Count a row, unless its prediction could not be written."""
        if outcome.unwritten is None:
            self.tasks.setdefault((row.task_id, row.type), TaskTally(row.task_id, row.type)).take(outcome)

    def records(self) -> list[TaskRecord]:
        """Return the record of each task, by type, then in the order of the tasks' first rows."""
        types = list(TYPES)
        return [tally.record() for tally in sorted(self.tasks.values(), key=lambda tally: types.index(tally.type))]


def _bin(share: float) -> int:
    return min(int(share * BINS), BINS - 1)


def _histogram(counts: Counter[int]) -> list[int]:
    return [counts[index] for index in range(BINS)] if counts else []
