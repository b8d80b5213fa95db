"""Which answers of a run are worth a picture, and their pictures."""

import heapq
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from aurora.images import read_image
from aurora.predict.answers import ClassificationPrediction, DetectionPrediction, Prediction
from aurora.rows import Row, image_file
from aurora.tasks import TaskType
from inference.output.journal import RowOutcome
from inference.output.writer import read_back
from inference.render.drawing import draw_box, draw_classes, draw_mask, draw_points, fitted

SAMPLE = 18
DOUBTFUL = 4

Key = tuple[str, TaskType]


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of a run, the `number`-th of its task from 0, and what became of it."""

    number: int
    row: Row
    outcome: RowOutcome


@dataclass(slots=True)
class Chosen:
    """Of one task: the `first` answer, a `sample` drawn evenly from all, and the most `doubtful` ones."""

    random: Random
    count: int = 0
    first: list[Kept] = field(default_factory=list)
    sample: list[Kept] = field(default_factory=list)
    doubtful: list[tuple[float, int, Kept]] = field(default_factory=list)

    def offer(self, row: Row, outcome: RowOutcome) -> None:
        """Look at the next answer of the task."""
        kept = Kept(self.count, row, outcome)
        self.count += 1
        if not self.first:
            self.first.append(kept)
        # Every answer is equally likely to be in the sample, whatever their number (Vitter's algorithm R, 1985).
        place = kept.number if kept.number < SAMPLE else self.random.randrange(self.count)
        if place < SAMPLE:
            self.sample[place : place + 1] = [kept]
        if outcome.confidence is not None:
            push = heapq.heappush if len(self.doubtful) < DOUBTFUL else heapq.heappushpop
            push(self.doubtful, (-outcome.confidence, -kept.number, kept))

    def most_doubtful(self) -> list[Kept]:
        """Those with the lowest confidence, from the lowest on."""
        return [kept for *_, kept in sorted(self.doubtful, reverse=True)]


@dataclass(slots=True)
class Gallery:
    """Chooses while a run goes on, the same from run to run; holds no picture.

    `root` is the run's input folder, `output` where its answers lie.
    """

    root: Path
    output: Path
    tasks: dict[Key, Chosen] = field(default_factory=dict)

    def offer(self, row: Row, outcome: RowOutcome) -> None:
        """Look at the next answer, if it could be written."""
        if outcome.unwritten is not None:
            return
        key = row.task_id, row.type
        if key not in self.tasks:
            self.tasks[key] = Chosen(Random(zlib.crc32(row.task_id.encode(errors="replace"))))
        self.tasks[key].offer(row, outcome)

    def pictures(self, chosen: list[Kept], side: int) -> Iterator[tuple[Kept, np.ndarray]]:
        """Each with its image at `side` pixels and the answer drawn on it, (h, w, 3) RGB; black if it can't be read."""
        for kept in chosen:
            try:
                pixels = read_image(image_file(self.root, kept.row), self.root).pixels
            except Exception:  # the run has said what is wrong with it, and a picture is no reason to end
                pixels = np.zeros((side, side, 3), np.uint8)
            shown, scale = fitted(pixels, side)
            draw(shown, read_back(self.output, kept.row, kept.outcome), scale)
            yield kept, shown


def draw(shown: np.ndarray, answer: Prediction | None, scale: float) -> None:
    """Draw an answer on (h, w, 3) RGB, `scale` times the original."""
    match answer:
        case None:
            return
        case ClassificationPrediction():
            draw_classes(shown, answer.predicted_probs)
        case DetectionPrediction():
            draw_box(shown, answer.bbox_pixels, scale)
        case np.ndarray():
            draw_mask(shown, answer)
        case _:
            draw_points(shown, np.reshape(answer.predicted_points_pixels, (-1, 2)), scale)
