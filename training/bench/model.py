"""Measure the model alone: run an engine on batches of images that are already in memory.

`python -m training.bench.model DATA ENGINE DEVICE WEIGHTS` prints the rates as JSON; with an empty ENGINE, a
run's own choice.
"""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from aurora.engine.base import Engine
from aurora.engine.select import open_engine
from aurora.images.reader import load_model_input
from aurora.rows import Row, read_rows
from aurora.tasks import TaskType

#: The maximum number of batches to measure, evenly spread over the folder.
BATCHES = 60
WARM_UP = 3
Batch = tuple[np.ndarray, dict[TaskType, np.ndarray]]


def read_batches(data: Path, engine: Engine) -> list[Batch]:
    """Read some of the batches of a run over `data`, whose images can all be read."""
    by_image: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(data).rows:
        by_image[row.image_path].append(row)
    groups, size = list(by_image.values()), engine.batch_size
    starts = range(0, len(groups), size)
    return [_batch(data, engine, groups[start : start + size]) for start in starts[:: -(-len(starts) // BATCHES)]]


def _batch(data: Path, engine: Engine, groups: list[list[Row]]) -> Batch:
    rows: dict[TaskType, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        for row in group:
            rows[row.type].append(position)
    inputs = [load_model_input(data, group[0], engine.spec.config.image_size).pixels for group in groups]
    images = np.stack([pixels for pixels in inputs if pixels is not None])
    return images, {task_type: np.array(positions) for task_type, positions in rows.items()}


def model_alone(data: Path, engine: Engine) -> dict[str, float]:
    """Return the images and rows per second of the engine on `data`, with everything in memory."""
    batches = read_batches(data, engine)
    for batch in batches[:WARM_UP]:
        engine.run(*batch)
    start = time.perf_counter()
    for batch in batches:
        engine.run(*batch)
    seconds = time.perf_counter() - start
    image_count = sum(len(images) for images, _ in batches)
    row_count = sum(len(positions) for _, rows in batches for positions in rows.values())
    return {"images_per_second": image_count / seconds, "rows_per_second": row_count / seconds}


if __name__ == "__main__":
    data, name, device, weights = sys.argv[1:]
    engine = open_engine(Path(weights), name or None, device)  # type: ignore[arg-type]
    print(json.dumps(model_alone(Path(data), engine)))
