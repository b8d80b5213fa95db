"""Answers with PyTorch, on a CPU or a CUDA device."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from aurora import checkpoint
from aurora.device import open_device
from aurora.tasks import TaskType
from inference.engine import CPU_BATCH, GPU_BATCH


class TorchEngine:
    """A checkpoint as a PyTorch model.

    Args:
        path: the `.safetensors` file.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path, self.device = path, open_device(device)
        model, self.spec = checkpoint.load(path)
        self.model = model.to(self.device)
        self.batch_size = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH
        self.name = f"PyTorch {torch.__version__} on {self.device}"

    @torch.inference_mode()
    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        """See `inference.engine.Engine.run`."""
        indices = {kind: torch.from_numpy(index).to(self.device) for kind, index in rows.items()}
        outputs = self.model(torch.from_numpy(images).to(self.device), indices)
        return {kind: output.cpu().numpy() for kind, output in outputs.items()}

    def on_cpu(self) -> "TorchEngine | None":
        """See `inference.engine.Engine.on_cpu`."""
        return None if self.device.type == "cpu" else TorchEngine(self.path, "cpu")
