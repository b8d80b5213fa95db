"""Choose and open the engine that runs a checkpoint."""

import os
from importlib.util import find_spec
from pathlib import Path

from aurora.engine.base import Engine, EngineName
from aurora.errors import UsageError, WeightsError
from aurora.model.checkpoint import Spec, is_export_of
from aurora.runtime.hardware import nvidia_driver

#: Names, in the environment, a folder whose weights are taken instead of the shipped ones, if there are any.
MODEL_FOLDER = "AURORA_MODEL_FOLDER"
DEFAULT_WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "aurora-tiny.safetensors"


def default_weights() -> Path:
    """The one checkpoint in the folder that the environment names, or else the shipped one.

    Raises `WeightsError` if that folder holds several.
    """
    folder = os.environ.get(MODEL_FOLDER)
    if not folder:
        return DEFAULT_WEIGHTS
    found = sorted(Path(folder).glob("*.safetensors")) or sorted(Path(folder).glob("*.onnx"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise WeightsError(f"expected one checkpoint in {folder}, found {names}; leave one, or name it with --weights")
    return found[0] if found else DEFAULT_WEIGHTS


def open_engine(weights: Path | None, engine: EngineName | None, device: str) -> Engine:
    """Load `weights` (see `default_weights`) with the engine asked for, or the one that fits.

    Unasked, an `.onnx` file or a machine without an NVIDIA driver means ONNX Runtime, which starts at once
    and is the faster one on a CPU; a machine with one means PyTorch, and so does an export that is one of other weights
    than the checkpoint it lies beside.

    Raises:
        UsageError: the engine isn't installed.
        WeightsError: the weights can't be used, or the export that ONNX Runtime needs is one of other weights.
        DeviceError: the device isn't there.
    """
    path = weights or default_weights()
    name = engine or _default_engine(path, device)
    if name != "torch":
        if find_spec("onnxruntime") is None:
            raise UsageError("the onnx engine needs onnxruntime, which isn't installed: pip install onnxruntime")
        from aurora.engine.onnx_runtime import OnnxEngine

        export = _onnx_of(path)
        found = OnnxEngine(export, device, tensorrt=name == "tensorrt")
        if path == export or is_export_of(found.spec, path):
            return found
        if engine or find_spec("torch") is None:
            raise WeightsError(
                f"expected an export of {path} in {export}, found one of other weights; "
                f"make it again with 'python -m training export --weights {path} --out {export}'"
            )
    if find_spec("torch") is None:
        raise UsageError("the torch engine needs PyTorch, which isn't installed: pip install torch safetensors")
    from aurora.engine.pytorch import TorchEngine

    return TorchEngine(path, device)


def read_spec(weights: Path | None) -> Spec:
    """What a checkpoint (see `default_weights`), `.safetensors` or `.onnx`, says of itself."""
    path = weights or default_weights()
    if path.suffix != ".onnx" and find_spec("safetensors") is not None:
        from aurora.model import checkpoint

        return checkpoint.read_spec(path)
    from aurora.engine.onnx_runtime import OnnxEngine

    return OnnxEngine(_onnx_of(path), "cpu").spec


def _default_engine(path: Path, device: str) -> EngineName:
    if path.suffix == ".onnx" or find_spec("torch") is None:
        return "onnx"
    if find_spec("onnxruntime") is None or not path.with_suffix(".onnx").is_file():
        return "torch"
    return "torch" if device.startswith("cuda") or (device == "auto" and nvidia_driver()) else "onnx"


def _onnx_of(path: Path) -> Path:
    """The ONNX export that lies beside a checkpoint."""
    export = path.with_suffix(".onnx")
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; name one with --weights")
    if not export.is_file():
        raise WeightsError(
            f"the onnx engine needs {export}, which is not there; "
            f"make it with 'python -m training export --weights {path} --out {export}'"
        )
    return export
