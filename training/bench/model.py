"""The model alone: batches of a folder's images, read beforehand, through an engine and nothing else.

Run as a process of its own, `python -m training.bench.model DATA ENGINE DEVICE WEIGHTS`, it prints JSON.
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

#: At most so many batches are computed, evenly spread over the folder.
BATCHES = 60
WARM_UP = 3
Batch = tuple[np.ndarray, dict[TaskType, np.ndarray]]


def read_batches(data: Path, engine: Engine) -> list[Batch]:
    """Some of the batches that a run over `data`, all of whose images can be read, is made of."""
    by_image: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(data).rows:
        by_image[row.image_path].append(row)
    groups, size = list(by_image.values()), engine.batch_size
    starts = range(0, len(groups), size)
    return [_batch(data, engine, groups[start : start + size]) for start in starts[:: -(-len(starts) // BATCHES)]]


def _batch(data: Path, engine: Engine, groups: list[list[Row]]) -> Batch:
    rows: dict[TaskType, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        for row in group:
            rows[row.type].append(place)
    frames = [load_model_input(data, group[0], engine.spec.config.image_size).pixels for group in groups]
    images = np.stack([pixels for pixels in frames if pixels is not None])
    return images, {kind: np.array(places) for kind, places in rows.items()}


def model_alone(data: Path, engine: Engine) -> dict[str, float]:
    """Images and rows per second that the engine reaches on `data` once everything lies in memory."""
    batches = read_batches(data, engine)
    for batch in batches[:WARM_UP]:
        engine.run(*batch)
    begun = time.perf_counter()
    for batch in batches:
        engine.run(*batch)
    seconds = time.perf_counter() - begun
    images, rows = (sum(map(len, part)) for part in ([b[0] for b in batches], _all_rows(batches)))
    return {"images_per_second": images / seconds, "rows_per_second": rows / seconds}


def _all_rows(batches: list[Batch]) -> list[np.ndarray]:
    return [places for _, rows in batches for places in rows.values()]


if __name__ == "__main__":
    data, name, device, weights = sys.argv[1:]
    print(json.dumps(model_alone(Path(data), open_engine(Path(weights), name, device))))  # type: ignore[arg-type]
