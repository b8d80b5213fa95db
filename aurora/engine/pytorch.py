"""Answers with PyTorch, on a CPU or a CUDA device."""

from collections.abc import Mapping
from pathlib import Path
from threading import local

import numpy as np
import torch
from torch import Tensor

from aurora.engine.base import CPU_BATCH, GPU_BATCH
from aurora.model import checkpoint
from aurora.runtime import files
from aurora.runtime.hardware import open_device, processors
from aurora.tasks import TaskType


class TorchEngine:
    """A checkpoint as a PyTorch model.

    On a CUDA device it computes in bfloat16 where that is safe (autocast), and batches given from several threads
    overlap: one is copied while another is computed.

    Args:
        path: the `.safetensors` file.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path, self.device = path, open_device(device)
        # Once two threads of ours have had OpenMP threads of their own, those wait for each other asleep, which costs a
        # tenth of the speed: so none while loading, and all in the thread that computes.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            model, self.spec = checkpoint.load(path)
        finally:
            torch.set_num_threads(threads)
        self.checksum = files.verify(path)
        self.cuda = self.device.type == "cuda"
        self.model = model.to(self.device)
        self.half = self.cuda
        self.batch_size = GPU_BATCH if self.cuda else CPU_BATCH
        self.num_workers = 2 if self.cuda else 1
        self.own = local()
        # Without its number: whichever of a machine's GPUs computes, a shard is one of the same run.
        self.name = f"PyTorch {torch.__version__} on {self.device.type}"

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        """See `aurora.engine.select.Engine.run`."""
        if not self.cuda:
            if not hasattr(self.own, "threads"):
                self.own.threads = processors()
                torch.set_num_threads(self.own.threads)
            return self._run(images, rows)
        # A stream for each thread, so that only what belongs to one batch waits for each other.
        if not hasattr(self.own, "stream"):
            self.own.stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(self.own.stream):
            return self._run(images, rows)

    @torch.inference_mode()
    def _run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        indices = {kind: self._there(index) for kind, index in rows.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            outputs = self.model(self._there(images), indices)
        return {kind: output.float().cpu().numpy() for kind, output in outputs.items()}

    def _there(self, array: np.ndarray) -> Tensor:
        """The array on the device; a copy from pinned memory doesn't stop the thread."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.cuda else tensor

    def cpu_fallback(self) -> "TorchEngine | None":
        """See `aurora.engine.select.Engine.cpu_fallback`."""
        return TorchEngine(self.path, "cpu") if self.cuda else None
