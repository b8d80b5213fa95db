"""A checkpoint is one safetensors file that describes itself.

Its metadata hold one JSON text with the model's configuration, the task registry and the provenance; an
ONNX export bears the same. Reading the description needs no torch. A file named in a `SHA256SUMS` beside
it is verified before use. Nothing is ever unpickled.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora.errors import OutputError, WeightsError
from aurora.model.config import ModelConfig
from aurora.tasks import Registry, from_records, to_records

if TYPE_CHECKING:
    from torch.nn import Module

    from aurora.model.aurora import Aurora

KEY = "aurora"
FORMAT = 1
#: The version of an ONNX export's inputs and outputs; 2: a type without rows may be given none.
ONNX_VERSION = 2
CHECKSUMS = "SHA256SUMS"
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


def verify(path: Path) -> str:
    """The SHA-256 of `path`, and of its tensors if those lie in a file of their own, as hexadecimal text.

    Raises `WeightsError` unless each is a file whose checksum agrees with a `SHA256SUMS` beside it, if any.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; name one with --weights")
    return " ".join(_verified(file) for file in (path, tensors_beside(path)) if file == path or file.is_file())


def tensors_beside(path: Path) -> Path:
    """Where the tensors of an ONNX file lie that is too large to hold them itself."""
    return path.with_name(path.name + ".data")


def _verified(path: Path) -> str:
    listing = path.with_name(CHECKSUMS)
    expected = _checksums(listing).get(path.name)
    try:
        found = sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} can't be read ({error.strerror}); let user {os.geteuid()} read it") from None
    if expected not in (None, found):
        raise WeightsError(f"{path} is damaged: its SHA-256 is not the one in {listing}; fetch the file again")
    return found


def sha256(path: Path) -> str:
    """The file's SHA-256 as hexadecimal text."""
    state = path.stat()
    return _sha256(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(8)
def _sha256(path: Path, *state: int) -> str:
    """Remembered for as long as the file is the same one, since a run wants it several times."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_checksum(path: Path) -> None:
    """Enter a file's SHA-256 in the `SHA256SUMS` beside it, in the form that `sha256sum -c` reads."""
    _write_checksums(path, _checksums(path.with_name(CHECKSUMS)) | {path.name: sha256(path)})


def forget_checksum(path: Path) -> None:
    """Take a file out of the `SHA256SUMS` beside it, if it is listed there."""
    sums = _checksums(path.with_name(CHECKSUMS))
    if sums.pop(path.name, None):
        _write_checksums(path, sums)


def _write_checksums(path: Path, sums: Mapping[str, str]) -> None:
    beside = path.with_name(CHECKSUMS + ".part")
    beside.write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)), encoding="utf-8")
    _to_disk(beside)
    os.replace(beside, path.with_name(CHECKSUMS))


def _to_disk(path: Path) -> None:
    """Wait until what was written to `path` survives a loss of power."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _checksums(listing: Path) -> dict[str, str]:
    """Names and checksums in a `SHA256SUMS`; none if there is no such file."""
    if not listing.is_file():
        return {}
    try:
        lines = [line.partition("  ") for line in listing.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{listing} can't be read as text ({error}); fetch it again, or remove it") from None
    return {name: digest for digest, _, name in lines}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at the end, complete and with its checksum entered.

    Raises `OutputError` if it can't be written; what stood at `path` before then stays.
    """
    from safetensors import SafetensorError

    beside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.chmod(0o644)  # safetensors makes files that only their owner can read; a container has another user
        _to_disk(beside)
        forget_checksum(path)  # stopped between the next two lines, the new file has no checksum instead of a wrong one
        os.replace(beside, path)
        record_checksum(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"can't write {path} ({error}); name another place with --out") from error
    finally:
        with suppress(OSError):  # what kept it from being written
            beside.unlink(missing_ok=True)


def save(path: Path, model: "Aurora", provenance: Mapping[str, Any], *, half: bool = False) -> None:
    """Write `model` atomically and enter its checksum; `half` stores the weights as float16, half the size."""
    import torch
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    with replacing(path) as beside:
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
    from aurora.model.empty import empty_model

    spec = read_spec(path)
    model = empty_model(spec.config, spec.tasks)
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
