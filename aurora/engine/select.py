"""Choose the engine that runs a checkpoint, and open it."""

import os
from importlib.util import find_spec
from pathlib import Path

from aurora.engine.base import Engine, EngineName
from aurora.errors import UsageError, WeightsError
from aurora.model.checkpoint import Spec, is_export_of
from aurora.runtime.files import require_weights
from aurora.runtime.hardware import nvidia_driver

#: The environment variable that names a folder whose weights, if any, replace the shipped ones.
MODEL_FOLDER = "AURORA_MODEL_FOLDER"
#: The end of the name of an export in int8, beside its checkpoint.
INT8_SUFFIX = ".int8.onnx"
DEFAULT_WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "aurora-tiny.safetensors"


def default_weights() -> Path:
    """Return the checkpoint in the folder that `MODEL_FOLDER` names, if there is one, otherwise the shipped one.

    Raises:
        WeightsError: the folder has several checkpoints.
    """
    folder = os.environ.get(MODEL_FOLDER)
    if not folder:
        return DEFAULT_WEIGHTS
    checkpoints = sorted(Path(folder).glob("*.safetensors")) or sorted(Path(folder).glob("*.onnx"))
    if len(checkpoints) > 1:
        names = ", ".join(path.name for path in checkpoints)
        raise WeightsError(f"expected one checkpoint in {folder}, found {names}; leave one, or name it with --weights")
    return checkpoints[0] if checkpoints else DEFAULT_WEIGHTS


def open_engine(weights: Path | None, engine: EngineName | None, device: str) -> Engine:
    """Load weights with the requested engine, or with a suitable one.

    By default, ONNX Runtime runs an `.onnx` file, and any weights on a machine without an NVIDIA driver: it starts
    faster and computes faster on a CPU. PyTorch runs the others, and those whose `.onnx` file was exported from other
    weights. `onnx-int8` is ONNX Runtime with the export in int8, which is never chosen by default.

    Args:
        weights: a `.safetensors` or `.onnx` file; see `default_weights` if None.
        engine: the engine's name; None to choose.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Example:
        >>> open_engine(None, None, "auto").name
        'ONNX Runtime 1.23.2 on CPU'

    Raises:
        UsageError: the engine isn't installed, or doesn't run such a file.
        WeightsError: the weights can't be used, or ONNX Runtime was requested and the export is of other weights.
        DeviceError: the device is absent.
    """
    path = weights or default_weights()
    require_weights(path)  # before the engines' libraries are imported
    name = engine or _default_engine(path, device)
    if name != "torch":
        if find_spec("onnxruntime") is None:
            raise UsageError("the onnx engine needs onnxruntime, which isn't installed: pip install onnxruntime")
        from aurora.engine.onnx_runtime import OnnxEngine

        export = _onnx_of(path, name)
        onnx_engine = OnnxEngine(export, device, tensorrt=name == "tensorrt")
        if path == export or is_export_of(onnx_engine.spec, path):
            return onnx_engine
        if engine or find_spec("torch") is None:
            raise WeightsError(
                f"expected an export of {path} in {export}, found one of other weights; "
                f"make it again with '{_command(path, export)}'"
            )
    if find_spec("torch") is None:
        raise UsageError("the torch engine needs PyTorch, which isn't installed: pip install torch safetensors")
    from aurora.engine.pytorch import TorchEngine

    return TorchEngine(path, device)


def read_spec(weights: Path | None) -> Spec:
    """Return the description of a checkpoint, `.safetensors` or `.onnx`; see `default_weights` if None."""
    path = weights or default_weights()
    if path.suffix != ".onnx" and find_spec("safetensors") is not None:
        from aurora.model import checkpoint

        return checkpoint.read_spec(path)
    from aurora.engine.onnx_runtime import OnnxEngine

    return OnnxEngine(_onnx_of(path, "onnx"), "cpu").spec


def _default_engine(path: Path, device: str) -> EngineName:
    return "onnx" if path.suffix == ".onnx" else suitable_engine(device, path.with_suffix(".onnx").is_file())


def suitable_engine(device: str, has_export: bool) -> EngineName:
    """Return the engine that suits a checkpoint with or without an ONNX export; see `open_engine`."""
    if find_spec("torch") is None:
        return "onnx"
    if find_spec("onnxruntime") is None or not has_export:
        return "torch"
    return "torch" if device.startswith("cuda") or (device == "auto" and nvidia_driver()) else "onnx"


def _onnx_of(path: Path, engine: EngineName) -> Path:
    """Return the ONNX file for an engine, beside a checkpoint or itself; raise `WeightsError` if it isn't there."""
    suffix = INT8_SUFFIX if engine == "onnx-int8" else ".onnx"
    export = path if path.name.endswith(suffix) else path.with_suffix(suffix)
    require_weights(path)
    if path.suffix == ".onnx" and path != export:
        raise UsageError(f"expected a checkpoint or an export in int8 for the {engine} engine, found {path}; name one")
    if not export.is_file():
        name = "onnx" if engine == "tensorrt" else engine
        raise WeightsError(
            f"the {name} engine needs {export}, which is not there; make it with '{_command(path, export)}'"
        )
    return export


def _command(path: Path, export: Path) -> str:
    """Return the command that makes an export of a checkpoint."""
    precision = " --precision int8 --data DATA" if export.name.endswith(INT8_SUFFIX) else ""
    return f"python -m training export --weights {path} --out {export}{precision}"
