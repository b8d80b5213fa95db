"""Save and load checkpoints: self-describing safetensors files.

The metadata contain one JSON text with the model's configuration, the task registry and the provenance; an ONNX export
contains the same text. Reading the description needs no PyTorch. A file listed in the `SHA256SUMS` of its folder is
verified before use. Nothing is ever unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora.errors import WeightsError
from aurora.model.config import ModelConfig
from aurora.runtime.files import checksummed, verify
from aurora.tasks import Registry, from_records, to_records

if TYPE_CHECKING:
    from torch.nn import Module

    from aurora.model.aurora import Aurora

KEY = "aurora"
FORMAT = 1
#: The version of an ONNX export's inputs and outputs; since 2, a task type may have no rows.
ONNX_VERSION = 2
#: The entry of an export's metadata that says what it computes in, if that isn't float32.
PRECISION = "precision"
#: The longest header that safetensors allows, in bytes.
MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Spec:
    """The description that a checkpoint contains.

    Attributes:
        config: the model's dimensions.
        tasks: the tasks it predicts.
        provenance: how it was trained, such as its data, step and scores; JSON-ready.
    """

    config: ModelConfig
    tasks: Registry
    provenance: Mapping[str, Any]

    def to_metadata(self) -> dict[str, str]:
        """Return the description as the metadata of a safetensors or ONNX file.

        It is a single entry, because safetensors writes several entries in an order that changes from run to run.
        """
        record = {
            "format": FORMAT,
            "config": self.config.to_record(),
            "tasks": to_records(self.tasks),
            "provenance": self.provenance,
        }
        return {KEY: json.dumps(record)}


def spec_from_metadata(metadata: Mapping[str, str], path: Path) -> Spec:
    """Parse the metadata of `Spec.to_metadata`; raise `WeightsError`, naming `path`, if they are invalid."""
    if KEY not in metadata:
        raise WeightsError(
            f"{path} is not an AURORA checkpoint: expected an entry {KEY!r} in its metadata, "
            f"found {', '.join(metadata) or 'none'}; make one with 'python -m training fit'"
        )
    try:
        record = json.loads(metadata[KEY])
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']}, expected {FORMAT}")
        return Spec(ModelConfig.from_record(record["config"]), from_records(record["tasks"]), record["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} describes a model that this version can't build ({error}); export it again, or install its version"
        ) from error


def save(path: Path, model: "Aurora", provenance: Mapping[str, Any], *, half: bool = False) -> None:
    """Write a checkpoint atomically and record its checksum.

    Args:
        path: the `.safetensors` file.
        model: its weights, configuration and tasks are saved.
        provenance: see `Spec`.
        half: store the weights as float16, at half the size.

    Raises:
        OutputError: the file can't be written.
    """
    import torch
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    with checksummed(path) as tmp:
        save_file(tensors, tmp, Spec(model.config, model.tasks, provenance).to_metadata())


def read_metadata(path: Path) -> dict[str, str]:
    """Verify a safetensors file and return its metadata; raise `WeightsError` if it is damaged or of another type."""
    from safetensors import SafetensorError, safe_open

    verify(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _not_safetensors(path, error) from error


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read a safetensors file's header, without the library.

    Returns:
        The entries by tensor name, with the metadata under `__metadata__`; and the offset of the tensors' data in the
        file, in bytes.

    Raises:
        WeightsError: it isn't a safetensors file or can't be read.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header would have {length} bytes")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
    except (OSError, ValueError) as error:
        raise _not_safetensors(path, error) from error
    return header, 8 + length


def _not_safetensors(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path} is not a whole safetensors file ({error}); fetch it again, or name another")


def is_export_of(spec: Spec, path: Path) -> bool:
    """Return whether an ONNX export with the description `spec` was made from the checkpoint at `path`.

    The two descriptions are compared: an export copies the provenance, which includes the step and the scores of the
    weights. The checksum isn't verified.
    """
    try:
        header, _ = read_header(path)
        return spec_from_metadata(header["__metadata__"], path) == spec
    except (KeyError, TypeError, WeightsError):
        return False


def read_spec(path: Path) -> Spec:
    """Verify a checkpoint and return its description; raise `WeightsError` if it has none."""
    return spec_from_metadata(read_metadata(path), path)


def load(path: Path) -> "tuple[Aurora, Spec]":
    """Load a checkpoint: the model in float32 on the CPU, in evaluation mode, and its description.

    Example:
        >>> model, spec = load(Path("weights/aurora-tiny.safetensors"))

    Raises:
        WeightsError: the file is missing, damaged or of another format, or its tensors don't fit its description.
    """
    from aurora.model.aurora import build_uninitialized

    spec = read_spec(path)
    model = build_uninitialized(spec.config, spec.tasks)
    load_into(model, path)
    return model, spec


def load_into(module: "Module", path: Path) -> None:
    """Copy a safetensors file's tensors into a module, converted to the module's data types.

    Raises:
        WeightsError: a name or shape differs; the module is unchanged.
    """
    import torch
    from safetensors import safe_open

    state = module.state_dict()
    with safe_open(path, framework="pt") as file:
        expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
        names = file.keys()
        actual = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        for name in sorted(expected.keys() | actual.keys()):
            if expected.get(name) != actual.get(name):
                wanted, stored = (shapes.get(name, "none") for shapes in (expected, actual))
                raise WeightsError(
                    f"{path} doesn't fit its description: tensor {name} should have shape {wanted}, found {stored}; "
                    "fetch it again, or export it with this version"
                )
        with torch.no_grad():
            for name, tensor in state.items():
                tensor.copy_(file.get_tensor(name))
