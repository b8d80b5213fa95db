"""Read image files as 8-bit RGB pixels, in the orientation of OpenCV's default `imread`."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aurora.errors import ImageError
from aurora.images.headers import Header, image_size, load, read_header, require_decodable
from aurora.images.medical import Slice, read_slice
from aurora.images.transform import resize_to
from aurora.rows import Row, image_file

# Errors are raised as `ImageError`; OpenCV's lines on stderr would only repeat them.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# Unlike IMREAD_UNCHANGED these keep the depth and still apply the EXIF orientation.
_ANY_DEPTH = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
_PERCENTILE_SAMPLES = 1_000_000


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
    source = load(path, root)
    if source.volume_reader:
        return _from_slice(read_slice(path, source.volume_reader))
    header = read_header(source.data, path)
    if not header.deep:
        flags = cv2.IMREAD_GRAYSCALE if header.grey else cv2.IMREAD_COLOR_RGB
        return Image(_rgb(_decode(source.data, flags, header, path)), header.warnings)
    pixels = _decode(source.data, _ANY_DEPTH, header, path)
    if pixels.dtype == np.uint8:
        return Image(_decode(source.data, cv2.IMREAD_COLOR_RGB, header, path), header.warnings)
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1]
    return Image(_rgb(_scaled(pixels)), (*header.warnings, _scaling(pixels)))


def read_mask(path: Path) -> np.ndarray:
    """Read a true mask as (H, W) uint8 class ids, in the orientation of `read_image`.

    Raises:
        ImageError: the file can't be read, or has colours or values other than whole numbers from 0 to 255.
    """
    source = load(path, Path(path.anchor or "/"))
    if source.volume_reader:
        pixels = read_slice(path, source.volume_reader).pixels
    else:
        pixels = _decode(source.data, _ANY_DEPTH, read_header(source.data, path), path)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise ImageError("expected one channel of class ids, found a colour image", path)
        pixels = pixels[..., 0]
    ids = pixels.astype(np.uint8)
    if pixels.dtype != np.uint8 and not np.array_equal(ids, pixels):
        raise ImageError(f"expected class ids from 0 to 255, found other {pixels.dtype} values", path)
    return np.ascontiguousarray(ids)


def _decode(data: bytes, flags: int, header: Header, path: Path) -> np.ndarray:
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


def _from_slice(volume_slice: Slice) -> Image:
    pixels, warnings = volume_slice.pixels, volume_slice.warnings
    if volume_slice.window is not None:
        pixels = _stretched(pixels, *volume_slice.window)
    elif pixels.dtype != np.uint8:
        warnings = (*warnings, _scaling(pixels))
        pixels = _scaled(pixels)
    return Image(_rgb(pixels), warnings)


def _scaling(pixels: np.ndarray) -> str:
    return f"{pixels.dtype} pixels were scaled from their 1st..99th percentile to 8 bits"


def _scaled(pixels: np.ndarray) -> np.ndarray:
    """Scale pixels of any type to uint8: the 1st percentile becomes 0, the 99th 255, and NaN 0."""
    step = max(1, pixels.size // _PERCENTILE_SAMPLES)
    sample = pixels.reshape(-1)[::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return np.zeros(pixels.shape, np.uint8)
    low, high = np.percentile(sample, (1, 99))
    if low == high:
        # Nearly all pixels are equal, so the few others are the content.
        low, high = sample.min(), sample.max()
    return _stretched(pixels, float(low), float(high))


def _stretched(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low`..`high` to 0..255 and clip; NaN becomes 0."""
    scale = 255.0 / (high - low) if high > low else 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        stretched = (pixels.astype(np.result_type(pixels, np.float32)) - low) * scale
    return np.clip(np.nan_to_num(stretched, nan=0.0) + 0.5, 0, 255).astype(np.uint8)


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
    try:
        image = read_image(image_file(root, row), root)
        return ModelInput(resize_to(image.pixels, input_size), image.pixels.shape[:2], image.warnings)
    except ImageError as error:
        return ModelInput(None, error.size, reason=error.reason)
    except Exception as error:  # one image may break a decoder; the other rows still need predictions
        size = None
        with suppress(Exception):
            size = read_size(root, row).size
        return ModelInput(None, size, reason=f"the image broke its decoder ({type(error).__name__}: {error})")


def read_size(root: Path, row: Row) -> ModelInput:
    """Read only the size of a row's image, from its header; errors are returned, not raised."""
    try:
        return ModelInput(None, image_size(image_file(root, row), root))
    except ImageError as error:
        return ModelInput(None, None, reason=error.reason)
