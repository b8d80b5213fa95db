"""Tensors where they lie in a safetensors file, mapped into memory instead of read; needs no PyTorch.

numpy has no bfloat16, so tensors stay bytes with a type code. Copying them from file to file costs no more
memory than the pages that are mapped.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import WeightsError
from aurora.model.checkpoint import read_header

#: The supported type codes of a safetensors header, and the names that its writer takes.
FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor: its type code, its shape, and where its bytes lie in the file."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int

    def raw(self) -> np.ndarray:
        """The bytes (length,) uint8, mapped from the file."""
        return np.memmap(self.path, dtype=np.uint8, mode="r", offset=self.offset, shape=(self.length,))

    def float32(self) -> np.ndarray:
        """The values in float32, in the tensor's shape; every supported type converts exactly."""
        raw = self.raw()
        if self.dtype == "BF16":  # the upper half of a float32
            values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = raw.view(FLOATS[self.dtype]).astype(np.float32, copy=False)
        return values.reshape(self.shape)


def stored_tensors(path: Path) -> dict[str, Stored]:
    """All tensors of a safetensors file by name; raises `WeightsError` for anything but a whole one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):  # the library checks header, offsets and file size
            pass
        header, start = read_header(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); fetch it again") from error
    header.pop("__metadata__", None)
    return {
        name: Stored(path, entry["dtype"], tuple(entry["shape"]), start + first, last - first)
        for name, entry in header.items()
        for first, last in [entry["data_offsets"]]
    }
