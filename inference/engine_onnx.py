"""Answers with ONNX Runtime; needs no PyTorch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from aurora.checkpoint import spec_from_metadata, verify
from aurora.errors import DeviceError, WeightsError
from aurora.tasks import TaskType, of_type
from inference.engine import CPU_BATCH, GPU_BATCH
from inference.processors import processors

_FATAL_ONLY = 4
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxEngine:
    """An ONNX export of a checkpoint in an ONNX Runtime session.

    Args:
        path: the `.onnx` file.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    def __init__(self, path: Path, device: str) -> None:
        verify(path)
        self.path = path
        providers = _providers(device)
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        options.intra_op_num_threads = processors()
        try:
            self.session = ort.InferenceSession(path, options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors share no class of their own
            # What stands before the last "failed:" are codes and the path again.
            reason = str(error).strip().rpartition("failed:")[2].rstrip(".")
            raise WeightsError(f"{path} is not a whole ONNX model ({reason}); export it again") from error
        self.provider = self.session.get_providers()[0]
        # A CUDA provider that fails to start is otherwise replaced by the CPU without a word.
        if device.startswith("cuda") and self.provider != _CUDA:
            raise DeviceError(f"device {device!r} was asked for, but ONNX Runtime could only start {self.provider}")
        self.spec = spec_from_metadata(self.session.get_modelmeta().custom_metadata_map, path)
        self.kinds = [kind for kind in TaskType if of_type(self.spec.tasks, kind)]
        self.name = f"ONNX Runtime {ort.__version__} on {self.provider.removesuffix('ExecutionProvider')}"
        self.batch_size = CPU_BATCH if self.provider == _CPU else GPU_BATCH
        self.wanted_only = ort.RunOptions()
        self.wanted_only.only_execute_path_to_fetches = True

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        """See `inference.engine.Engine.run`."""
        # Every input must be fed, but a head that nobody fetches isn't computed.
        nothing = np.zeros(1, dtype=np.int64)
        feed = {"images": images} | {f"{kind}_rows": rows.get(kind, nothing) for kind in self.kinds}
        outputs = self.session.run([str(kind) for kind in rows], feed, self.wanted_only)
        return dict(zip(rows, outputs, strict=True))

    def on_cpu(self) -> "OnnxEngine | None":
        """See `inference.engine.Engine.on_cpu`."""
        return None if self.provider == _CPU else OnnxEngine(self.path, "cpu")


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    if device == "cpu":
        return [_CPU]
    if _CUDA not in ort.get_available_providers():
        if device == "auto":
            return [_CPU]
        raise DeviceError(f"device {device!r} was asked for, but this onnxruntime has no CUDA; install onnxruntime-gpu")
    index = device.partition(":")[2] or "0"
    return [(_CUDA, {"device_id": index}), _CPU]
