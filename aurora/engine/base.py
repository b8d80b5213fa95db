"""The engine protocol, a loaded model that turns batches of images into raw outputs, and default batch sizes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from aurora.model.checkpoint import Spec
from aurora.tasks import TaskType

EngineName = Literal["torch", "onnx", "onnx-int8", "tensorrt"]

#: Default batch sizes. On two CPU cores, batches of 8 images are as fast as larger ones, and 16 take 50 % more memory;
#: a GPU needs larger batches to be fully used.
CPU_BATCH, GPU_BATCH = 8, 32


class Engine(Protocol):
    """A loaded model."""

    #: The file it was loaded from; `Path()` for a model in memory.
    path: Path
    #: A name for the log, such as "ONNX Runtime 1.31.1 on CPU".
    name: str
    #: The checkpoint's description.
    spec: Spec
    #: The SHA-256 of its files, see `aurora.runtime.files.verify`; empty for a model in memory.
    checksum: str
    #: The default batch size.
    batch_size: int
    #: The number of threads that may call `run` at once.
    num_workers: int

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        """Compute the raw outputs of a batch of mixed tasks.

        Args:
            images: (B, H, W, 3) 8-bit RGB at the model's input size.
            rows: for each task type to compute, the image index of every row: (R,) int64, R > 0.

        Returns:
            (R, channels, ...) float32 for each type in `rows`; and, if the weights have it, `NOVELTY`, (B,) float32.
        """
        ...

    def cpu_fallback(self) -> "Engine | None":
        """Return another engine with the same weights on the CPU; None if there is none."""
        ...
