"""Select predictions of a run to show as pictures, and draw them."""

import heapq
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from aurora.images import read_image
from aurora.kinds import KINDS
from aurora.render.drawing import draw, fitted
from aurora.rows import Row, image_file
from aurora.tasks import TaskType
from inference.output.journal import RowOutcome
from inference.output.writer import read_back

SAMPLE = 18
DOUBTFUL = 4

Key = tuple[str, TaskType]


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """A row of a run with its outcome; `number` counts the rows of its task from 0."""

    number: int
    row: Row
    outcome: RowOutcome


@dataclass(slots=True)
class TaskSelection:
    """The items of one task: the `first`, a uniform random `sample` of all, and the most `doubtful` ones."""

    random: Random
    count: int = 0
    first: list[GalleryItem] = field(default_factory=list)
    sample: list[GalleryItem] = field(default_factory=list)
    doubtful: list[tuple[float, int, GalleryItem]] = field(default_factory=list)

    def offer(self, row: Row, outcome: RowOutcome) -> None:
        """Consider the next prediction of the task."""
        item = GalleryItem(self.count, row, outcome)
        self.count += 1
        if not self.first:
            self.first.append(item)
        # Every item has the same probability of being in the sample (algorithm R; Vitter, 1985).
        index = item.number if item.number < SAMPLE else self.random.randrange(self.count)
        if index < SAMPLE:
            self.sample[index : index + 1] = [item]
        if outcome.confidence is not None:
            push = heapq.heappush if len(self.doubtful) < DOUBTFUL else heapq.heappushpop
            push(self.doubtful, (-outcome.confidence, -item.number, item))

    def most_doubtful(self) -> list[GalleryItem]:
        """Return the items with the lowest confidence, lowest first."""
        return [item for *_, item in sorted(self.doubtful, reverse=True)]


@dataclass(slots=True)
class Gallery:
    """The items selected during a run, without their pictures; equal runs select the same ones.

    `root` is the run's input folder and `output` its output folder.
    """

    root: Path
    output: Path
    tasks: dict[Key, TaskSelection] = field(default_factory=dict)

    def offer(self, row: Row, outcome: RowOutcome) -> None:
        """Consider the next prediction, if it was written."""
        if outcome.unwritten is not None:
            return
        key = row.task_id, row.type
        if key not in self.tasks:
            self.tasks[key] = TaskSelection(Random(zlib.crc32(row.task_id.encode(errors="replace"))))
        self.tasks[key].offer(row, outcome)

    def pictures(self, items: list[GalleryItem], side: int) -> Iterator[tuple[GalleryItem, np.ndarray]]:
        """Yield each item with its image, (h, w, 3) RGB, and the prediction on it; black if the image can't be read.

        The longer side of the image is `side` pixels.
        """
        for item in items:
            try:
                pixels = read_image(image_file(self.root, item.row), self.root).pixels
            except Exception:  # the run has already reported the image, and must not fail because of a picture
                pixels = np.zeros((side, side, 3), np.uint8)
            picture, scale = fitted(pixels, side)
            prediction = read_back(self.output, item.row, item.outcome)
            if prediction is not None:
                draw(picture, KINDS[item.row.type].draw_prediction(prediction), scale)
            yield item, picture
