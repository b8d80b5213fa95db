"""Read the pages of a TIFF file and the frames of an animated GIF, WebP or PNG file, one after another."""

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from aurora.errors import ImageError
from aurora.images.headers import Header
from aurora.images.reader import Stored, read_deep, with_damage
from aurora.images.tiff import find_damage

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_DAMAGED = "can't be decoded, the file is damaged"


def count_pages(path: Path) -> int:
    """Return the number of pages of a TIFF file."""
    return cv2.imcount(str(path))


def read_pages(path: Path, header: Header, numbers: range) -> Iterator[Stored | ImageError]:
    """Yield pages of a TIFF file, ascending numbers from 0, or why there is none; `header` is that of the file."""
    for number in numbers:
        try:
            stored = read_deep(partial(_page, path, number), header)
        except cv2.error:
            yield ImageError(_DAMAGED, path, header.size)
        else:
            yield with_damage(Stored(stored.pixels, inverted=stored.inverted), find_damage(path, number))


def _page(path: Path, number: int, flags: int) -> np.ndarray:
    read, pages = cv2.imreadmulti(str(path), start=number, count=1, flags=flags)
    if not read or not pages:
        raise cv2.error
    return pages[0]


def probe_animation(path: Path) -> tuple[int, float | None]:
    """Return the number of frames of an animated GIF, WebP or PNG file, and its frames per second if it states them.

    Raises:
        ImageError: the file is damaged.
    """
    try:
        with _animation(path) as image:
            count = getattr(image, "n_frames", 1)
            image.seek(min(1, count - 1))
            image.load()  # WebP says only then how long a frame is shown
            duration = image.info.get("duration", 0)
    except Exception:  # Pillow raises all kinds of errors on damaged content
        raise ImageError(_DAMAGED, path) from None
    return count, 1000 / duration if duration else None


def read_animation(path: Path, numbers: range) -> Iterator[Stored | ImageError]:
    """Yield frames of an animated GIF, WebP or PNG file, ascending numbers from 0, or why there is none."""
    with _animation(path) as image:
        for number in numbers:
            try:
                image.seek(number)
                yield Stored(np.asarray(image.convert("RGB")))
            except Exception:  # Pillow raises all kinds of errors on damaged content
                yield ImageError(_DAMAGED, path, (image.height, image.width))


def _animation(path: Path) -> "PillowImage":
    from PIL import Image

    # Pillow warns of images that are larger than its own limit; the caller has checked the size by ours.
    with warnings.catch_warnings(action="ignore"):
        return Image.open(path, formats=("GIF", "WEBP", "PNG"))
