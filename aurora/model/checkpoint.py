"""A checkpoint is one safetensors file that describes itself.

Its metadata hold one JSON text with the model's configuration, the task registry and the provenance; an
ONNX export bears the same. Reading the description needs no torch. A file named in a `SHA256SUMS` beside
it is verified before use. Nothing is ever unpickled.
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
#: The version of an ONNX export's inputs and outputs; 2: a type without rows may be given none.
ONNX_VERSION = 2
#: No safetensors file has a head of more bytes.
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class Spec:
    """What a checkpoint says of itself."""

    config: ModelConfig
    tasks: Registry
    provenance: Mapping[str, Any]

    def to_metadata(self) -> dict[str, str]:
        """The description as the text entry that safetensors and ONNX store.

        It is one entry, since safetensors writes several in an order that changes from run to run.
        """
        record = {
            "format": FORMAT,
            "config": self.config.to_record(),
            "tasks": to_records(self.tasks),
            "provenance": self.provenance,
        }
        return {KEY: json.dumps(record)}


def spec_from_metadata(metadata: Mapping[str, str], path: Path) -> Spec:
    """The inverse of `Spec.to_metadata`; raises `WeightsError` for another or an unreadable format."""
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
            f"{path} describes a model that this version can't build ({error}); export it anew, or install its version"
        ) from error


def save(path: Path, model: "Aurora", provenance: Mapping[str, Any], *, half: bool = False) -> None:
    """Write `model` atomically and enter its checksum; `half` stores the weights as float16, half the size."""
    import torch
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    with checksummed(path) as beside:
        save_file(tensors, beside, Spec(model.config, model.tasks, provenance).to_metadata())


def read_metadata(path: Path) -> dict[str, str]:
    """The text entries in a safetensors file whose checksum is right; raises `WeightsError` if it isn't one."""
    from safetensors import SafetensorError, safe_open

    verify(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({error}); fetch it again, or name another"
        ) from error


def is_export_of(spec: Spec, path: Path) -> bool:
    """Whether an ONNX export that describes itself as `spec` is one of the checkpoint at `path`.

    It is if both say the same of themselves: an export takes over configuration, tasks and provenance, with the step
    and the scores of the weights. Only the head of the file is read, without the library for it.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < LONGEST_HEADER else {}
        return spec_from_metadata(header["__metadata__"], path) == spec
    except (OSError, ValueError, KeyError, TypeError, WeightsError):
        return False


def read_spec(path: Path) -> Spec:
    """The description inside a checkpoint; raises `WeightsError` if there is none."""
    return spec_from_metadata(read_metadata(path), path)


def load(path: Path) -> "tuple[Aurora, Spec]":
    """The model in float32 on the CPU, in evaluation mode, and its description.

    Raises:
        WeightsError: missing, damaged, of another format, or tensors that don't fit the description.
    """
    from aurora.model.aurora import build_uninitialized

    spec = read_spec(path)
    model = build_uninitialized(spec.config, spec.tasks)
    load_into(model, path)
    return model, spec


def load_into(module: "Module", path: Path) -> None:
    """Copy a safetensors file's tensors into the module's, in the module's own precision.

    Raises `WeightsError`, before anything is changed, unless names and shapes agree exactly.
    """
    import torch
    from safetensors import safe_open

    state = module.state_dict()
    with safe_open(path, framework="pt") as file:
        expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
        names = file.keys()
        found = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                wanted, seen = (shapes.get(name, "none") for shapes in (expected, found))
                raise WeightsError(
                    f"{path} doesn't fit its description: tensor {name} should have shape {wanted}, found {seen}; "
                    "fetch it again, or export it with this version"
                )
        with torch.no_grad():
            for name, tensor in state.items():
                tensor.copy_(file.get_tensor(name))
