"""Read TIFF files that OpenCV doesn't, and find damage of which it says nothing.

It reads a strip that can't be decoded as black.
"""

import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from aurora.runtime.c_stderr import caught_stderr

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

# Compressions of TIFF 6.0 and its supplements.
_NONE, _JPEG, _DEFLATE = 1, 7, (8, 32946)
_COMPRESSION, _JPEG_TABLES = 259, 347
# The tags of the offsets and of the lengths of strips and of tiles.
_PARTS = ((273, 279), (324, 325))

# The largest pixel in bytes: four channels of 64 bits.
_PIXEL = 32
_CHUNK = 1 << 20


def decode_few_bits(data: bytes) -> np.ndarray | None:
    """Decode a TIFF file of 2 or 4 bits per pixel, (H, W, 3) uint8 RGB, as a viewer shows it; None if that fails."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data), formats=("TIFF",)) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception:  # Pillow raises all kinds of errors on damaged content
        return None


def find_damage(file: bytes | Path, page: int = 0) -> str | None:
    """Return what a decoder says of a compressed page of a TIFF file if it is damaged, else None.

    Nothing is said of damage that no decoder can see, such as another grey value in an uncompressed strip, nor of a
    kind of file that Pillow doesn't read.
    """
    from PIL import Image

    source = BytesIO(file) if isinstance(file, bytes) else file
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(source, formats=("TIFF",)) as image:
            image.seek(page)
            return _damage(image)  # type: ignore[arg-type]
    except Exception:  # Pillow raises all kinds of errors on what it doesn't read
        return None


def _damage(image: "TiffImageFile") -> str | None:
    compression = image.tag_v2.get(_COMPRESSION, _NONE)
    if compression == _NONE:
        return None
    if compression in _DEFLATE:
        most = image.width * image.height * _PIXEL
        return next((damage for part in _parts(image) if (damage := _deflate_damage(part, most))), None)
    with caught_stderr() as printed:
        # libtiff is silent about damage inside JPEG data.
        whole = _decodes_jpeg(image) if compression == _JPEG else _decodes(image)
    return printed[0] if printed else None if whole else "a strip can't be decoded"


def _deflate_damage(part: bytes, most: int) -> str | None:
    """Return what is wrong with a strip, whose checksum libtiff doesn't compare, by its first `most` bytes unpacked."""
    unpacker = zlib.decompressobj()
    try:
        while part and not unpacker.eof and most > 0:
            most -= len(unpacker.decompress(part, _CHUNK))
            part = unpacker.unconsumed_tail
    except zlib.error as error:
        return str(error)
    return None if unpacker.eof or most <= 0 else "a strip is cut short"


def _decodes_jpeg(image: "TiffImageFile") -> bool:
    tables = image.tag_v2.get(_JPEG_TABLES, b"\xff\xd8\xff\xd9")[:-2]  # they end with an end-of-image marker
    # At an eighth of its size each strip is read as a whole nevertheless.
    small = cv2.IMREAD_REDUCED_GRAYSCALE_8
    return all(cv2.imdecode(np.frombuffer(tables + part[2:], np.uint8), small) is not None for part in _parts(image))


def _decodes(image: "TiffImageFile") -> bool:
    try:
        image.load()
    except OSError:
        return False
    return True


def _parts(image: "TiffImageFile") -> Iterator[bytes]:
    """Yield the strips or tiles of a page as they are stored."""
    tags, file = image.tag_v2, image.fp
    assert file is not None
    offsets, lengths = next((tags[begin], tags[length]) for begin, length in _PARTS if begin in tags)
    for offset, length in zip(offsets, lengths, strict=True):
        file.seek(offset)
        yield file.read(length)
