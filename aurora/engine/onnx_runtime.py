"""Run the model with ONNX Runtime; needs no PyTorch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from aurora.engine.base import CPU_BATCH, GPU_BATCH
from aurora.errors import DeviceError, WeightsError
from aurora.model.checkpoint import ONNX_VERSION, PRECISION, spec_from_metadata
from aurora.runtime.files import verify
from aurora.runtime.hardware import has_exact_int8, nvidia_driver, parse_device, processors
from aurora.tasks import NOVELTY, TYPES, TaskType, of_type

_FATAL_ONLY = 4
_SUFFIX = "ExecutionProvider"
_CPU, _CUDA, _TENSORRT = (name + _SUFFIX for name in ("CPU", "CUDA", "Tensorrt"))


class OnnxEngine:
    """An ONNX export of a checkpoint in an ONNX Runtime session.

    Args:
        path: the `.onnx` file.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        tensorrt: compute with NVIDIA's TensorRT, which takes minutes to start.

    Raises:
        WeightsError: the file is missing, damaged, or of another model or version.
        DeviceError: ONNX Runtime can't compute on the device.
    """

    def __init__(self, path: Path, device: str, *, tensorrt: bool = False) -> None:
        self.checksum = verify(path)
        self.path = path
        available = ort.get_available_providers()
        providers = choose_providers(device, tensorrt=tensorrt, available=available, driver=nvidia_driver())
        requested = providers[0][0]
        if requested != _CPU:
            ort.preload_dlls()  # finds the CUDA libraries that pip installed
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        options.intra_op_num_threads = processors()
        # Threads that wait in a loop would take processor time from the threads that read images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Each number of images and rows would get a block of memory of its own.
        options.enable_mem_pattern = False
        try:
            self.session = ort.InferenceSession(path, options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors have no common class
            # Before the last "failed:" there are only codes and the path again.
            reason = str(error).strip().rpartition("failed:")[2].rstrip(".")
            raise WeightsError(f"{path} is not a whole ONNX model ({reason}); export it again") from error
        self.provider = self.session.get_providers()[0]
        # ONNX Runtime silently replaces a provider that fails to start.
        if (tensorrt or device.startswith("cuda")) and self.provider != requested:
            raise DeviceError(
                f"{requested} was asked for, but ONNX Runtime could only start {self.provider}; "
                "install what it needs, or use another --engine or --device"
            )
        description = self.session.get_modelmeta()
        self.spec = spec_from_metadata(description.custom_metadata_map, path)
        if description.version != ONNX_VERSION:
            raise WeightsError(
                f"{path} is an export of version {description.version}, expected {ONNX_VERSION}; "
                "make it again with 'python -m training export'"
            )
        self.task_types = [task_type for task_type in TYPES if of_type(self.spec.tasks, task_type)]
        precision = description.custom_metadata_map.get(PRECISION)
        if precision and not has_exact_int8():
            raise DeviceError(
                f"{path} needs a processor that adds {precision} products exactly (VNNI), found one without; "
                "use the weights in float32"
            )
        self.name = f"ONNX Runtime {ort.__version__} on {self.provider.removesuffix(_SUFFIX)}"
        self.name += f" in {precision}" if precision else ""
        self.batch_size = CPU_BATCH if self.provider == _CPU else GPU_BATCH
        self.num_workers = 1

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        """Return the raw outputs of a batch; see `aurora.engine.base.Engine.run`."""
        names = [*rows, *([NOVELTY] if self.spec.config.novelty else [])]
        outputs = self.session.run([str(name) for name in names], self.feed(images, rows))
        return dict(zip(names, outputs, strict=True))

    def feed(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the session's inputs; a task type that isn't in `rows` gets as few rows as possible."""
        # A head without rows computes nothing. This hasn't been tried on GPUs, where it therefore gets one row.
        none = np.zeros(0 if self.provider == _CPU else 1, dtype=np.int64)
        return {"images": images} | {f"{task_type}_rows": rows.get(task_type, none) for task_type in self.task_types}

    def cpu_fallback(self) -> "OnnxEngine | None":
        """Return an engine with the same weights on the CPU; None if this one is on the CPU."""
        return None if self.provider == _CPU else OnnxEngine(self.path, "cpu")


def choose_providers(
    device: str, *, tensorrt: bool, available: Sequence[str], driver: bool
) -> list[tuple[str, dict[str, Any]]]:
    """Return ONNX Runtime's provider for a device, and those for operations it doesn't support, with their options.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        tensorrt: whether TensorRT was requested.
        available: the providers of this onnxruntime.
        driver: whether there is an NVIDIA driver.

    Raises:
        DeviceError: the device needs a provider that isn't available.
    """
    if tensorrt and device == "cpu":
        raise DeviceError("TensorRT needs a GPU, and the device asked for is cpu; use --engine onnx")
    if device == "cpu" or (device == "auto" and not tensorrt and not driver):
        return [(_CPU, {})]
    names = [_TENSORRT, _CUDA] if tensorrt else [_CUDA]
    if missing := [name for name in names if name not in available]:
        if device == "auto" and not tensorrt:
            return [(_CPU, {})]
        provider = missing[0].removesuffix(_SUFFIX)
        raise DeviceError(
            f"device {device!r} was asked for, but this onnxruntime has no {provider}; install onnxruntime-gpu"
        )
    _, index = parse_device(device)
    return [*((name, {"device_id": str(index)}) for name in names), (_CPU, {})]
