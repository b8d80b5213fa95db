"""Run the model with PyTorch, on a CPU or a CUDA device."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import local

import numpy as np
import torch
from torch import Tensor

from aurora.engine.base import CPU_BATCH, GPU_BATCH
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.checkpoint import Spec
from aurora.runtime import files
from aurora.runtime.hardware import open_device, processors, require_threads
from aurora.tasks import TaskType


class ModuleEngine:
    """An engine over a model in memory, such as one in training; computes on the model's device, in float32.

    Args:
        model: a module in any mode; `run` evaluates it in evaluation mode and restores its mode.
        spec: the model's description.
        batch_size: the default batch size; `CPU_BATCH` or `GPU_BATCH` if not given.
        autocast: compute in bfloat16 where that is numerically safe.

    Example:
        >>> engine = ModuleEngine(model, Spec(model.config, model.tasks, {}))
        >>> engine.run(images, {TaskType.DETECTION: np.array([0, 2])})
    """

    # The attributes of `Engine` that describe a file.
    path = Path()
    checksum = ""
    #: One, because `run` changes the model's mode, which threads would share.
    num_workers = 1

    def __init__(self, model: Aurora, spec: Spec, batch_size: int | None = None, *, autocast: bool = False) -> None:
        self.model, self.spec, self.autocast = model, spec, autocast
        self.device = next(model.parameters()).device
        self.cuda = self.device.type == "cuda"
        self.batch_size = batch_size or (GPU_BATCH if self.cuda else CPU_BATCH)
        # The name omits the device's number, because the shards of one run may be computed on different GPUs.
        self.name = f"PyTorch {torch.__version__} on {self.device.type}{' in bfloat16' if autocast else ''}"

    @torch.inference_mode()
    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        """Return the raw outputs of a batch; see `aurora.engine.base.Engine.run`."""
        indices = {task_type: self._to_device(index) for task_type, index in rows.items()}
        with _evaluating(self.model), torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            outputs = self.model(self._to_device(images), indices)
        return {task_type: output.float().cpu().numpy() for task_type, output in outputs.items()}

    def _to_device(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        # A copy from pinned memory doesn't block the thread.
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.cuda else tensor

    def cpu_fallback(self) -> "TorchEngine | None":
        """Return None, because a model in memory has no copy on the CPU."""
        return None


class TorchEngine(ModuleEngine):
    """A checkpoint as a PyTorch model.

    On a CUDA device it computes in bfloat16 where that is numerically safe (autocast), and batches from several threads
    overlap: one is copied while another is computed.

    Args:
        path: the `.safetensors` file.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        WeightsError: the checkpoint is missing, damaged or of another format.
        DeviceError: PyTorch doesn't find the device.
    """

    def __init__(self, path: Path, device: str) -> None:
        torch_device = open_device(device)
        # The OpenMP threads of two Python threads slow each other down by a tenth. Therefore load with one thread, and
        # use all of them only in the thread that computes.
        with _num_threads(1):
            model, spec = checkpoint.load(path)
        cuda = torch_device.type == "cuda"
        super().__init__(model.to(torch_device), spec, autocast=cuda)
        self.path, self.checksum = path, files.verify(path)
        self.num_workers = 2 if cuda else 1
        self._threads = processors()
        self._begun = False
        self._streams = local()

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        """Return the raw outputs of a batch; see `aurora.engine.base.Engine.run`."""
        if not self.cuda:
            if not self._begun:  # OpenMP, which starts its threads now, would end the process without them
                require_threads(self._threads)
                self._begun = True
            with _num_threads(self._threads):
                return super().run(images, rows)
        # One stream per thread, so that a batch waits only for its own copies.
        if not hasattr(self._streams, "stream"):
            self._streams.stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(self._streams.stream):
            return super().run(images, rows)

    def cpu_fallback(self) -> "TorchEngine | None":
        """Return an engine with the same weights on the CPU; None if this one is on the CPU."""
        return TorchEngine(self.path, "cpu") if self.cuda else None


@contextmanager
def _evaluating(model: Aurora) -> Iterator[None]:
    """Put the model into evaluation mode inside the context."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


@contextmanager
def _num_threads(number: int) -> Iterator[None]:
    """Set the number of PyTorch's threads for the calling thread inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
