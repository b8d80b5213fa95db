"""A row's image in the model's frame, or why there is none."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import ImageError
from aurora.images import image_size, read_image
from aurora.rows import Row, image_file
from aurora.transform import to_frame


@dataclass(frozen=True, slots=True)
class Framed:
    """What became of an image.

    `pixels` is (H, W, 3) 8-bit RGB in the model's frame, None if it can't be read or wasn't wanted; `size` the
    original's height and width, None if unknown; `reason` says why an image that was wanted isn't there.
    """

    pixels: np.ndarray | None
    size: tuple[int, int] | None
    warnings: tuple[str, ...] = ()
    reason: str | None = None


def read_frame(root: Path, row: Row, frame: tuple[int, int]) -> Framed:
    """Read a row's image for a `frame` (height, width); what is wrong with it stands in the result."""
    try:
        image = read_image(image_file(root, row), root)
        return Framed(to_frame(image.pixels, frame), image.pixels.shape[:2], image.warnings)
    except ImageError as error:
        return Framed(None, read_size(root, row).size, reason=error.reason)
    except Exception as error:  # whatever one image does to a decoder, the others are still to be answered
        size = None
        with suppress(Exception):
            size = read_size(root, row).size
        return Framed(None, size, reason=f"the image broke its decoder ({type(error).__name__}: {error})")


def read_size(root: Path, row: Row) -> Framed:
    """Read no more than the size, from the header."""
    try:
        return Framed(None, image_size(image_file(root, row), root))
    except ImageError as error:
        return Framed(None, None, reason=error.reason)
