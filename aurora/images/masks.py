"""Read and write masks of class ids."""

import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from aurora.errors import ImageError
from aurora.images import volume_masks
from aurora.images.geometry import Geometry, read_geometry
from aurora.images.headers import Header, load, read_header, require_decodable
from aurora.images.reader import ANY_DEPTH, decode, is_damage, read_stored
from aurora.images.tiff import find_damage
from aurora.runtime.c_stderr import caught_stderr


def read_mask(path: Path) -> np.ndarray:
    """Read a mask as (H, W) uint8 class ids, in the orientation of `read_image`.

    The ids are the values as they are stored: in a file with a palette the numbers of the colours, and in one of 1, 2
    or 4 bits the numbers from 0 to 1, 3 or 15.

    Raises:
        ImageError: the file can't be read, or has colours or values other than whole numbers from 0 to 255.
    """
    with caught_stderr() as printed:
        pixels = _stored(path)
    if is_damage(printed):
        raise _damaged(path, printed[0])
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise ImageError("expected one channel of class ids, found a colour image", path)
        pixels = pixels[..., 0]
    with np.errstate(invalid="ignore"):
        ids = pixels.astype(np.uint8)
    if pixels.dtype != np.uint8 and not np.array_equal(ids, pixels):
        raise ImageError(f"expected class ids from 0 to 255, found other {pixels.dtype} values", path)
    return np.ascontiguousarray(ids)


def _stored(path: Path) -> np.ndarray:
    source = load(path, Path(path.anchor or "/"))
    if source.medical:
        return read_stored(source, path).pixels
    header = read_header(source.data, path)
    if header.truncated:
        raise ImageError("can't be decoded, the file is truncated", path, header.size)
    damage = find_damage(source.data) if header.tiff else None
    if damage:
        raise _damaged(path, damage)
    if header.palette or header.bits < 8 or (header.white_is_zero and header.bits == 8):
        return _indices(source.data, header, path)
    return decode(source.data, ANY_DEPTH, header, path)


def _damaged(path: Path, reported: str) -> ImageError:
    return ImageError(f"is damaged in part, its decoder reported: {reported}", path)


def _indices(data: bytes, header: Header, path: Path) -> np.ndarray:
    """Decode the values of a file that OpenCV would turn into colours or spread over 8 bits."""
    from PIL import Image, ImageOps

    require_decodable(header.size, path)
    try:
        with Image.open(BytesIO(data)) as image:
            values = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint8)
            spread = image.mode == "L" and header.bits < 8
            highest = 1 if image.mode == "1" else 255
    except Exception:  # Pillow raises all kinds of errors on damaged content
        raise ImageError("can't be decoded, the file is damaged", path, header.size) from None
    values = highest - values if header.white_is_zero else values
    return values // (255 // (2**header.bits - 1)) if spread else values


def _opencv(ending: str, mask: np.ndarray) -> bytes:
    encoded, content = cv2.imencode(ending, mask)
    return content.tobytes() if encoded else b""


# How a mask is encoded, by the ending of its name; the first that fits counts.
_VOLUMES: Mapping[str, Callable[[np.ndarray, Geometry | None], bytes]] = {
    ".nii.gz": volume_masks.nifti_gz,
    ".nii": volume_masks.nifti,
    ".mha": volume_masks.metaimage,
    ".nrrd": volume_masks.nrrd,
}
_ENDINGS = (*_VOLUMES, ".png", ".bmp", ".tif", ".tiff", ".pgm")


class ImageSlice(NamedTuple):
    """What a mask is the mask of: a file inside the folder `root`; `number` is None for what `read_image` reads."""

    path: Path
    root: Path
    number: int | None = None


def states_place(name: str) -> bool:
    """Return whether a mask file of this name can state where it lies in the patient."""
    return _ending(name) in _VOLUMES


def encode_mask(mask: np.ndarray, name: str, image: ImageSlice | None = None) -> bytes:
    """Encode a mask (H, W) uint8 in the format of its file's name, or as PNG; no bytes if that format can't hold it.

    NIfTI, MetaImage and NRRD get the place in the patient that the file of the image states, if it states one.
    """
    ending = _ending(name) or ".png"
    if ending not in _VOLUMES:
        return _opencv(ending, mask)
    geometry = read_geometry(image.path, image.root, mask.shape, image.number) if image else None
    try:
        return _VOLUMES[ending](mask, geometry)
    except struct.error:  # a side is too long
        return b""


def mask_name_problem(name: str) -> str | None:
    """Return why no mask can be written in the format of a name, and what to name it instead; None if one can."""
    if _ending(name):
        return None
    return f"masks are written as {', '.join(_ENDINGS)}; under another name its content is PNG, so name it .png"


def _ending(name: str) -> str | None:
    return next((ending for ending in _ENDINGS if name.lower().endswith(ending)), None)
