"""Memory-map the tensors of a safetensors file, without PyTorch.

NumPy has no bfloat16, so tensors are bytes with a type code. Copying them from file to file needs no memory beyond the
mapped pages.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import WeightsError
from aurora.model.checkpoint import read_header

#: The supported type codes of a safetensors header, and the writer's names for them.
FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class TensorSlice:
    """A tensor in a file: type code, shape, and the offset and number of its bytes."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int

    def raw(self) -> np.ndarray:
        """Map the bytes (length,) uint8."""
        return np.memmap(self.path, dtype=np.uint8, mode="r", offset=self.offset, shape=(self.length,))

    def float32(self) -> np.ndarray:
        """Return the values in float32, in the tensor's shape; the conversion is exact for every supported type."""
        raw = self.raw()
        if self.dtype == "BF16":  # the upper half of a float32
            values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = raw.view(FLOATS[self.dtype]).astype(np.float32, copy=False)
        return values.reshape(self.shape)


def tensor_slices(path: Path) -> dict[str, TensorSlice]:
    """Return the tensors of a safetensors file by name; raise `WeightsError` unless the file is complete."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):  # checks header, offsets and file size, but gives no offsets
            pass
        header, start = read_header(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); fetch it again") from error
    header.pop("__metadata__", None)
    return {
        name: TensorSlice(path, entry["dtype"], tuple(entry["shape"]), start + first, last - first)
        for name, entry in header.items()
        for first, last in [entry["data_offsets"]]
    }
