"""The engine protocol: a loaded model that turns a batch of images into raw outputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from aurora.model.checkpoint import Spec
from aurora.tasks import TaskType

EngineName = Literal["torch", "onnx", "tensorrt"]

# On two CPU cores 8 images at once are as fast as any number, and 16 take half as much memory again; a GPU has more
# processors to fill.
CPU_BATCH, GPU_BATCH = 8, 32


class Engine(Protocol):
    """A loaded model."""

    #: The file it was loaded from.
    path: Path
    #: What the run says of it, such as "ONNX Runtime 1.31.1 on CPU".
    name: str
    spec: Spec
    #: The SHA-256 of its files.
    checksum: str
    #: How many images at once are best unless the user knows better.
    batch_size: int
    #: How many threads should give it batches.
    num_workers: int

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        """The raw answers of a batch of mixed tasks.

        Args:
            images: (B, H, W, 3) 8-bit RGB in the model's frame.
            rows: the image of every row, (R,) int64, R > 0, for each type wanted; other heads compute nothing.

        Returns:
            (R, channels, ...) float32 for each type in `rows`.
        """
        ...

    def cpu_fallback(self) -> "Engine | None":
        """The same weights on the CPU; None if that is where they are."""
        ...
