"""Read image files as 8-bit RGB pixels, in the orientation of OpenCV's default `imread`."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from aurora.errors import ImageError
from aurora.images.dicom import read_frame
from aurora.images.headers import (
    Header,
    Source,
    image_size,
    load,
    middle_warning,
    read_header,
    require_decodable,
)
from aurora.images.intensity import LookupTable, Window, to_8_bits
from aurora.images.tiff import find_damage
from aurora.images.transform import resize_to
from aurora.images.volume import read_layout, read_middle
from aurora.rows import Row, image_file
from aurora.runtime.c_stderr import caught_stderr

# Errors are raised as `ImageError`; OpenCV's lines on stderr would only repeat them.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# What libjpeg and libpng print where pixels are lost.
_DAMAGE = re.compile("Corrupt JPEG|Premature end|premature end|libpng error")
_IN_PART = "damaged in part, its decoder reported"
#: Unlike IMREAD_UNCHANGED these keep the depth and still apply the EXIF orientation.
ANY_DEPTH = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR


@dataclass(frozen=True, slots=True)
class Image:
    """An image: `pixels` (H, W, 3) uint8 RGB, and `warnings` about the file in plain words.

    The pixels of a grey image are a read-only view that repeats one channel three times.
    """

    pixels: np.ndarray
    warnings: tuple[str, ...] = ()


def read_image(path: Path, root: Path) -> Image:
    """Read an image file inside the input folder `root`.

    Alpha is dropped; more than 8 bits are scaled from the 1st and 99th percentile to 0..255; only the first of several
    frames is read, and only the middle slice of a volume.

    Example:
        >>> read_image(Path("input/images/1.png"), Path("input")).pixels.shape
        (512, 640, 3)

    Raises:
        ImageError: the file can't be opened or decoded, or is too large; `size` is set if the header can be read.
    """
    return read_source(load(path, root), path)


def read_source(source: Source, path: Path) -> Image:
    """Read an image whose file is open; see `read_image`. Only a medical format is read by its path."""
    with caught_stderr() as printed:
        stored = read_stored(source, path)
    return shown(stored, printed)


@dataclass(frozen=True, slots=True)
class Stored:
    """The values of an image as its file stores them.

    Attributes:
        pixels: (H, W), or (H, W, 3) RGB, of any number type.
        warnings: what is unusual about the file, in plain words.
        window: the values that the file asks to be shown.
        inverted: whether high values are dark.
    """

    pixels: np.ndarray
    warnings: tuple[str, ...] = ()
    window: Window | LookupTable | None = None
    inverted: bool = False


def read_stored(source: Source, path: Path) -> Stored:
    """Decode the first frame of an image, or the middle slice of a volume; raise `ImageError` if that fails."""
    if source.medical == "DICOM":
        frame = read_frame(path)
        return Stored(frame.pixels, middle_warning(frame.frames), frame.window, frame.inverted)
    if source.medical:
        with path.open("rb", buffering=0) as file:
            layout = read_layout(file, path)
            return Stored(read_middle(file, layout, path), (*middle_warning(layout.slices), *layout.warnings))
    header = read_header(source.data, path)
    if not header.deep:
        flags = cv2.IMREAD_GRAYSCALE if header.grey else cv2.IMREAD_COLOR_RGB
        return Stored(decode(source.data, flags, header, path), header.warnings)
    stored = read_deep(lambda flags: decode(source.data, flags, header, path), header)
    return with_damage(stored, find_damage(source.data)) if header.tiff else stored


def with_damage(stored: Stored, damage: str | None) -> Stored:
    """Return an image with a warning about what a decoder says of its `damage`, if there is any."""
    return replace(stored, warnings=(*stored.warnings, f"{_IN_PART}: {damage}")) if damage else stored


def read_deep(decode: Callable[[int], np.ndarray], header: Header) -> Stored:
    """Decode an image that may have more than 8 bits; `decode` takes OpenCV's flags."""
    pixels = decode(ANY_DEPTH)
    if pixels.dtype == np.uint8:
        return Stored(decode(cv2.IMREAD_COLOR_RGB), header.warnings)
    return Stored(pixels[..., ::-1] if pixels.ndim == 3 else pixels, header.warnings, inverted=header.white_is_zero)


def shown(stored: Stored, printed: list[str]) -> Image:
    """Return an image as a viewer shows it; its warnings repeat what the decoder has `printed`."""
    pixels, scaling = to_8_bits(stored.pixels, stored.window)
    if stored.inverted:
        pixels = 255 - pixels
    return Image(_rgb(pixels), (*stored.warnings, *scaling, *_remarks(printed, stored.warnings)))


def _remarks(printed: list[str], warnings: tuple[str, ...]) -> tuple[str, ...]:
    """Return a warning for what the decoder printed, unless the file is known to be truncated."""
    if not printed or any(warning.startswith("truncated") for warning in warnings):
        return ()
    found = _IN_PART if is_damage(printed) else "its decoder reported"
    return (f"{found}: {'; '.join(printed)}",)


def is_damage(printed: Iterable[str]) -> bool:
    """Return whether lines that a decoder has printed say that pixels are lost."""
    return any(_DAMAGE.search(line) for line in printed)


def decode(data: bytes, flags: int, header: Header, path: Path) -> np.ndarray:
    """Decode an image with OpenCV; raise `ImageError` if that fails or the image is too large."""
    require_decodable(header.size, path)
    if header.truncated and data.startswith(b"\x89PNG"):
        # OpenCV allocates as much as the incomplete chunk claims, up to 4 GB, before it finds the end missing.
        raise ImageError("can't be decoded, the file is truncated", path, header.size)
    if header.truncated:
        # Where a JPEG is cut off, `imread` keeps supplying end-of-image markers, but `imdecode` gives up. So append
        # them: as many bytes as the longest JPEG segment that the cut may have hit.
        data += b"\xff\xd9" * 32768
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        damage = "truncated" if header.truncated else "damaged"
        raise ImageError(f"can't be decoded, the file is {damage}", path, header.size)
    return pixels


def _rgb(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return np.broadcast_to(pixels[..., None], (*pixels.shape, 3))
    return np.ascontiguousarray(pixels)


@dataclass(frozen=True, slots=True)
class ModelInput:
    """An image at the model's input size, or the reason why there is none.

    Attributes:
        pixels: (H, W, 3) uint8 RGB at the model's input size; None if the image can't be read or wasn't requested.
        size: height and width of the original image in pixels; None if unknown.
        warnings: what is unusual about the file, in plain words.
        reason: why a requested image can't be read.
    """

    pixels: np.ndarray | None
    size: tuple[int, int] | None
    warnings: tuple[str, ...] = ()
    reason: str | None = None


def load_model_input(root: Path, row: Row, input_size: tuple[int, int]) -> ModelInput:
    """Read a row's image and resize it to `input_size` (height, width); errors are returned, not raised."""
    found = model_input(lambda: read_image(image_file(root, row), root), input_size)
    if found.reason is None or found.size is not None:
        return found
    with suppress(Exception):
        return replace(found, size=read_size(root, row).size)
    return found


def model_input(read: Callable[[], Image], input_size: tuple[int, int]) -> ModelInput:
    """Resize the image that `read` returns to `input_size` (height, width); errors are returned, not raised."""
    try:
        image = read()
        return ModelInput(resize_to(image.pixels, input_size), image.pixels.shape[:2], image.warnings)
    except Exception as error:  # one image may break a decoder; the other rows still need predictions
        named = as_image_error(error, "")
        return ModelInput(None, named.size, reason=named.reason)


def as_image_error(error: Exception, source: object) -> ImageError:
    """Return an error that reading the image `source` has raised, as an `ImageError` if it is a decoder's own."""
    if isinstance(error, ImageError):
        return error
    return ImageError(f"the image broke its decoder ({type(error).__name__}: {error})", source)


def read_size(root: Path, row: Row) -> ModelInput:
    """Read only the size of a row's image, from its header; errors are returned, not raised."""
    try:
        return ModelInput(None, image_size(image_file(root, row), root))
    except ImageError as error:
        return ModelInput(None, None, reason=error.reason)
