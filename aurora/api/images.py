"""Read what callers have as an image: a path, the content of a file, an array, or a Pillow image."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from aurora.api.cine import Frame
from aurora.api.scale import Scale, read_scale
from aurora.errors import ImageError, UsageError
from aurora.images.headers import HEAD, Source, medical_format
from aurora.images.intensity import to_8_bits
from aurora.images.reader import Image, read_image, read_source

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

#: A path, the content of a file, an array (H, W) or (H, W, 3) of grey or RGB values, a Pillow image, or a frame.
ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | np.ndarray | PillowImage | Frame"


def read_any(image: ImageLike) -> Image:
    """Return the 8-bit RGB pixels of an image, by the rules of `read_image` for all kinds of sources.

    Raises:
        ImageError: the file can't be read.
        UsageError: the object isn't an image.

    Example:
        >>> read_any(np.zeros((100, 200))).pixels.shape
        (100, 200, 3)
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Frame):
        if isinstance(image.content, ImageError):
            raise image.content
        return image.content
    if isinstance(image, bytes):
        if image and medical_format(image[:HEAD]) is None:
            return read_source(Source(image), Path("image"))
        with temporary_file(image) as name:  # medical formats are read by their path
            return _from_file(name)
    if isinstance(image, (str, os.PathLike)):
        return _from_file(os.fspath(image))
    return _from_array(_pillow_pixels(image))


@contextmanager
def temporary_file(content: bytes) -> Iterator[str]:
    """Yield the name of a file with this content, which is removed afterwards."""
    with tempfile.NamedTemporaryFile(buffering=0) as file:
        file.write(content)
        yield file.name


def name_of(image: ImageLike, number: int) -> str:
    """Return the path of an image, or "image N" if it has none."""
    if isinstance(image, Frame):
        return str(image.path)
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {number}"


def scale_of(image: ImageLike) -> Scale:
    """Return what the file of an image says about the size of its pixels; nothing for an image without a file."""
    if isinstance(image, Frame):
        return image.scale
    if isinstance(image, bytes) and medical_format(image[:HEAD]):
        with temporary_file(image) as name:
            return read_scale(Path(name))
    return read_scale(Path(image)) if isinstance(image, (str, os.PathLike)) else Scale()


def _from_file(name: str) -> Image:
    # The caller chose the file, so a link may lead anywhere.
    path = Path(os.path.realpath(name))
    return read_image(path, path.parent)


def _from_array(pixels: np.ndarray) -> Image:
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)) or not pixels.size:
        raise UsageError(f"expected an array (H, W) or (H, W, 3), found one of shape {pixels.shape}")
    if not (np.issubdtype(pixels.dtype, np.number) or pixels.dtype == bool):
        raise UsageError(f"expected an array of numbers, found one of {pixels.dtype}")
    grey = pixels if pixels.ndim == 2 else pixels[..., 0] if pixels.shape[2] == 1 else None
    shown, warnings = to_8_bits(pixels[..., :3] if grey is None else grey)
    if grey is not None:
        shown = np.broadcast_to(shown[..., None], (*shown.shape, 3))
    return Image(np.ascontiguousarray(shown) if grey is None else shown, warnings)


def _pillow_pixels(image: Any) -> np.ndarray:
    from PIL import Image as Pillow
    from PIL import ImageOps

    if not isinstance(image, Pillow.Image):
        raise UsageError(
            f"expected a path, bytes, an array or a Pillow image, found {type(image).__name__}; give one of these"
        )
    turned = ImageOps.exif_transpose(image)
    return np.asarray(turned if turned.mode in ("L", "I", "I;16", "F") else turned.convert("RGB"))
