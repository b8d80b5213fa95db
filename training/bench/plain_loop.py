"""Predict with the shipped weights in a plain PyTorch loop, one row at a time, to compare the speed of `inference run`.

`python -m training.bench.plain_loop INPUT OUTPUT` reads an input root and writes a folder of predictions. The rows need
images that OpenCV reads and tasks that the weights know. What `tune` added to the weights is left out.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from aurora.engine.select import default_weights
from aurora.errors import ImageError
from aurora.kinds import KINDS, Prediction
from aurora.model import checkpoint
from aurora.rows import Row, image_file, read_rows
from aurora.tasks import channel_slices
from training.data.predictions import write_predictions


def read_pixels(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) RGB with OpenCV's `imread`; raise `ImageError` if that fails."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ImageError("expected an image that OpenCV reads", path)
    return image


@torch.inference_mode()
def plain_loop(weights: Path, root: Path) -> Iterator[tuple[Row, Prediction]]:
    """Yield each row of the input root with its prediction."""
    model, spec = checkpoint.load(weights)
    height, width = spec.config.image_size
    for row in read_rows(root).rows:
        image = read_pixels(image_file(root, row))
        pixels = cv2.resize(image, (width, height))
        output = model(torch.from_numpy(pixels)[None], {row.type: torch.zeros(1, dtype=torch.int64)})[row.type][0]
        raw = output[channel_slices(spec.tasks, row.type)[row.task_id]].numpy()
        count = spec.tasks[row.task_id].num_classes
        yield row, KINDS[row.type].predict(row, count, raw, image.shape[:2])


if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    write_predictions(plain_loop(default_weights(), source), out)
