"""Copy the vision tower of a published Qwen3-VL checkpoint into one file, without loading the model."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from aurora import __version__
from aurora.errors import UsageError, WeightsError
from aurora.model.config import EncoderConfig
from aurora.runtime.files import checksummed, sha256
from training.imported import encoder_metadata
from training.qwen.config import LANGUAGE_PARTS, PREFIXES, Layout, read_layout
from training.qwen.source import Source, open_source
from training.qwen.stored import FLOATS, TensorSlice, tensor_slices

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
KERNEL = "patch_embed.proj.weight"


def import_encoder(name: str, out: Path, revision: str | None = None, depth: int | None = None) -> EncoderConfig:
    """Write the vision tower of the checkpoint `name` to `out` and return its dimensions.

    Weights keep their published type (bfloat16, float16 or float32), except the patch kernel: its two temporal halves,
    which see the same still image, are added in float32.

    Args:
        name: a folder, or a hub id such as Qwen/Qwen3-VL-2B-Instruct.
        out: the safetensors file to write; its checksum is entered in the `SHA256SUMS` in the same folder.
        revision: branch, tag or commit of a hub repository.
        depth: number of blocks to keep, from the first; all if None.

    Raises:
        UsageError: no such source, or more blocks than the tower has.
        WeightsError: another architecture, or a tensor that is missing, unexpected, damaged or of the wrong shape.
        OutputError: `out` can't be written.

    Example:
        >>> import_encoder("Qwen/Qwen3-VL-2B-Instruct", Path("encoder.safetensors"), depth=12)  # doctest: +SKIP
        EncoderConfig(depth=12, ...)
    """
    source = open_source(name, revision)
    layout = read_layout(_required(source, CONFIG))
    depth = depth or layout.encoder.depth
    if depth > layout.encoder.depth:
        raise UsageError(f"expected a depth of at most {layout.encoder.depth}, the blocks of {name}, found {depth}")
    encoder = replace(layout.encoder, depth=depth)
    tensors = _tower(source, layout, depth)
    provenance = {
        "source": source.name,
        "revision": source.revision,
        "model_type": layout.model_type,
        "published_depth": layout.encoder.depth,
        "sha256": {path.name: sha256(path) for path in sorted({tensor.path for tensor in tensors.values()})},
        "version": __version__,
    }
    _write(out, tensors, encoder_metadata(encoder, provenance))
    return encoder


def _required(source: Source, file: str) -> Path:
    """Fetch a file; raise `WeightsError` if the source has none of that name."""
    path = source.fetch(file)
    if path is None:
        raise WeightsError(f"expected {file} in {source.name}, found {', '.join(source.files()) or 'nothing'}")
    return path


def _tower(source: Source, layout: Layout, depth: int) -> dict[str, TensorSlice]:
    """Return the tower's tensors up to block `depth`, checked, by their names in `Encoder`."""
    shapes = {name: shape for name, shape in layout.shapes.items() if _block(name) < depth}
    files = _files_by_tensor(source)
    prefix = next((prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in files)), None)
    if prefix is None:
        raise WeightsError(
            f"{source.name}: expected tensors named {' or '.join(f'{p}*' for p in PREFIXES)}, "
            f"found {_some(files)}; name a checkpoint that has the vision tower"
        )
    present = {name.removeprefix(prefix) for name in files if name.startswith(prefix)}
    unexpected = {name for name in present - layout.shapes.keys() if not name.startswith(LANGUAGE_PARTS)}
    for problem, names in (("misses", shapes.keys() - present), ("has unexpected", unexpected)):
        if names:
            raise WeightsError(
                f"{source.name} {problem} {len(names)} tensors of a Qwen3-VL tower of {layout.encoder.depth} "
                f"blocks: {_some(prefix + name for name in names)}; its config.json and weights don't match"
            )
    shards = {file: tensor_slices(_required(source, file)) for file in {files[prefix + name] for name in shapes}}
    tower = {}
    for name, shape in shapes.items():
        shard = files[prefix + name]
        tensor = shards[shard].get(prefix + name)
        if tensor is None:
            raise WeightsError(
                f"{source.name}: {INDEX} lists {prefix + name} in {shard}, which has no such tensor; fetch both again"
            )
        _check(tensor, prefix + name, shape)
        tower[name] = tensor
    return tower


def _files_by_tensor(source: Source) -> dict[str, str]:
    """Return the file of every tensor in the checkpoint, from its index or, without one, its only file."""
    index = source.fetch(INDEX)
    if index is None:
        single = source.fetch(SINGLE)
        if single is None:
            raise WeightsError(
                f"expected {SINGLE} or {INDEX} in {source.name}, found {', '.join(source.files())}; "
                "pickled weights are never opened; name a checkpoint in safetensors"
            )
        return dict.fromkeys(tensor_slices(single), SINGLE)
    try:
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(name): str(file) for name, file in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index} is not a complete index of shards ({error}); fetch it again") from error


def _check(tensor: TensorSlice, name: str, shape: tuple[int, ...]) -> None:
    """Raise `WeightsError` if a tensor has another type or shape, or values that aren't finite."""
    if tensor.dtype not in FLOATS:
        raise WeightsError(f"{tensor.path}: expected {name} in {', '.join(FLOATS)}, found {tensor.dtype}")
    if tensor.shape != shape:
        raise WeightsError(f"{tensor.path}: tensor {name} should have shape {shape}, found {tensor.shape}")
    if not np.isfinite(tensor.float32()).all():
        raise WeightsError(f"{tensor.path}: tensor {name} holds values that aren't finite; fetch the file again")


def _write(out: Path, tensors: dict[str, TensorSlice], metadata: dict[str, str]) -> None:
    from safetensors import TensorSpec, serialize_file

    kernel = tensors[KERNEL].float32().sum(axis=2, dtype=np.float32)
    data = {name: tensor.raw() for name, tensor in tensors.items()} | {KERNEL: kernel}
    types = {name: FLOATS[tensor.dtype] for name, tensor in tensors.items()} | {KERNEL: "float32"}
    shapes = {name: tensor.shape for name, tensor in tensors.items()} | {KERNEL: kernel.shape}
    specs = {
        name: TensorSpec(dtype=types[name], shape=shapes[name], data_ptr=array.ctypes.data, data_len=array.nbytes)
        for name, array in data.items()
    }
    with checksummed(out) as temporary:
        serialize_file(specs, temporary, metadata)


def _block(name: str) -> int:
    """Return the index of a tensor's block, -1 for the embeddings."""
    return int(name.split(".")[1]) if name.startswith("blocks.") else -1


def _some(names: Iterable[str]) -> str:
    """List the first few names, for a message."""
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "") or "none"
