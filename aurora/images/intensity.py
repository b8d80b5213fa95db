"""Map the values of an image to 8 bits, as a viewer shows them."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

_PERCENTILE_SAMPLES = 1_000_000
# The pixels that are converted at once, so that floating-point copies of large images take little memory.
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Window:
    """The values that a DICOM file asks to be shown (PS3.3 C.11.2): `function` is LINEAR, LINEAR_EXACT or SIGMOID."""

    centre: float
    width: float
    function: str = "LINEAR"

    @classmethod
    def usable(cls, centre: float, width: float, function: str) -> Self | None:
        """Return a window; None if its numbers say nothing."""
        narrowest = 0 if function in ("SIGMOID", "LINEAR_EXACT") else 1
        usable = math.isfinite(centre) and math.isfinite(width) and width > narrowest
        return cls(centre, width, function) if usable else None

    def __str__(self) -> str:
        return "window"

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Map pixels of any type to uint8."""
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                shown = 255 / (1 + np.exp(-4 * (pixels.astype(np.float32) - self.centre) / self.width))
            return np.nan_to_num(shown + 0.5).astype(np.uint8)
        if self.function == "LINEAR_EXACT":
            return stretched(pixels, self.centre - self.width / 2, self.centre + self.width / 2)
        half = (self.width - 1) / 2
        return stretched(pixels, self.centre - 0.5 - half, self.centre - 0.5 + half)


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A table of what a DICOM file asks to be shown: `values` (N,) uint8, for the pixels `first` and upwards."""

    first: int
    values: np.ndarray

    def __str__(self) -> str:
        return "look-up table"

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Map pixels of any type to uint8; those beyond an end of the table become its value there."""
        places = np.nan_to_num(pixels.astype(np.float64)) - self.first
        return self.values[np.clip(places, 0, len(self.values) - 1).astype(np.int64)]


def to_8_bits(pixels: np.ndarray, window: Window | LookupTable | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Map pixels of any type to uint8 by a window or table, or by their percentiles; return them and what was done.

    Pixels that are uint8 already, and have no window, remain as they are.
    """
    if window is not None:
        shown = window.apply(pixels)
        same = pixels.dtype == np.uint8 and np.array_equal(shown, pixels)
        return shown, () if same else (f"{pixels.dtype} pixels were scaled from the file's {window} to 8 bits",)
    if pixels.dtype == np.uint8:
        return pixels, ()
    return scaled(pixels), (f"{pixels.dtype} pixels were scaled from their 1st..99th percentile to 8 bits",)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Scale pixels of any type to uint8: the 1st percentile becomes 0, the 99th 255, and NaN 0."""
    step = max(1, pixels.size // _PERCENTILE_SAMPLES)
    sample = pixels.reshape(-1, *pixels.shape[2:])[::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return np.zeros(pixels.shape, np.uint8)
    low, high = np.percentile(sample, (1, 99))
    if low == high:
        # Nearly all pixels are equal, so the few others are the content.
        low, high = sample.min(), sample.max()
    return stretched(pixels, float(low), float(high))


def stretched(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low`..`high` to 0..255 and clip; NaN becomes 0."""
    scale = 255.0 / (high - low) if high > low else 0.0
    shown = np.empty(pixels.shape, np.uint8)
    rows = max(1, _BLOCK // max(1, pixels[:1].size))
    for start in range(0, len(pixels), rows):
        block = pixels[start : start + rows]
        with np.errstate(invalid="ignore", over="ignore"):
            values = (block.astype(np.result_type(block, np.float32)) - low) * scale
        shown[start : start + rows] = np.clip(np.nan_to_num(values, nan=0.0) + 0.5, 0, 255)
    return shown
