"""Open image files safely, and read size and orientation from their headers without decoding pixels."""

import mmap
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO, FileIO
from pathlib import Path

from aurora.errors import ImageError
from aurora.images.contents import other_content
from aurora.images.dicom import frame_extent, is_dicom
from aurora.images.volume import MAX_PIXELS, format_of, read_layout
from aurora.rows.near_miss import near_miss
from aurora.runtime.c_stderr import caught_stderr

#: Larger files aren't read into memory; all images of the challenge are far smaller.
MAX_BYTES = 1 << 30

_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_NO_LENGTH = {0x00, 0x01, 0xFF, *range(0xD0, 0xD9)}
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0x0100, 0x0101
_BITS, _PHOTOMETRIC, _SAMPLES = 0x0102, 0x0106, 0x0115
#: Enough of a file to tell what it holds.
HEAD = 4096


@dataclass(frozen=True, slots=True)
class Header:
    """The properties of an image that its header states; sizes are in pixels.

    Attributes:
        stored_height: height before the orientation is applied.
        stored_width: width before the orientation is applied.
        orientation: the EXIF orientation, 1 to 8, which `cv2.imread` applies by default.
        frames: the number of images in the file.
        deep: whether a channel may have more than 8 bits.
        truncated: whether the end of the file is missing.
        grey: whether the file is known to have a single channel.
        bits: the number of bits per channel.
        palette: whether the values are numbers of colours.
        white_is_zero: whether high values are dark (TIFF only).
        tiff: whether the file is a TIFF.
    """

    stored_height: int
    stored_width: int
    orientation: int = 1
    frames: int = 1
    deep: bool = False
    truncated: bool = False
    grey: bool = False
    bits: int = 8
    palette: bool = False
    white_is_zero: bool = False
    tiff: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the decoded image; orientations 5 to 8 swap the sides."""
        swapped = self.orientation >= 5
        return (self.stored_width, self.stored_height) if swapped else (self.stored_height, self.stored_width)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual about the file, in plain words."""
        messages = {
            f"EXIF orientation {self.orientation} was applied, as OpenCV does": self.orientation != 1,
            "only the first of several frames was taken": self.frames > 1,
            "truncated: the end of the file is missing": self.truncated,
        }
        return tuple(text for text, applies in messages.items() if applies)


@dataclass(frozen=True, slots=True)
class Source:
    """A file's content, or its first bytes and the name of the medical format, whose reader opens it by path."""

    data: bytes
    medical: str | None = None


def load(path: Path, root: Path) -> Source:
    """Open and read a file once.

    Raises:
        ImageError: it isn't a regular file of at most `MAX_BYTES` whose real path (after links) is inside `root`.
    """
    with opened(path, root) as file:
        head = file.read(HEAD)
        medical = medical_format(head)
        # Not memory-mapped, because the process would crash if the file were truncated while it is decoded.
        return Source(head, medical) if medical else Source(head + file.read())


def medical_format(head: bytes) -> str | None:
    """Return "DICOM", "NIfTI", "MetaImage" or "NRRD" by a file's first bytes, None if it is none of them."""
    return "DICOM" if is_dicom(head) else format_of(head)


@contextmanager
def opened(path: Path, root: Path) -> Iterator[FileIO]:
    """Open a file inside `root` for reading, unbuffered; see `load` for the errors."""
    try:
        real = os.path.realpath(path)
        if not real.startswith(_real_root(os.fspath(root))):
            raise ImageError(f"is a link that leads out of {root}", path)
        # Blocking mode would wait forever for a FIFO's writer.
        with open(os.open(real, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("isn't a regular file", path)
            if not 0 < status.st_size <= MAX_BYTES:
                raise ImageError(f"{'is empty' if not status.st_size else 'is larger than 1 GiB'}", path)
            yield file
    except FileNotFoundError as error:
        missing = f"can't be opened ({error.strerror})"
        near = near_miss(os.path.relpath(path, root / "csv_files"), root)
        if near is None:
            raise ImageError(missing, path) from None
        # The reason is the same for all files with this mistake, so that they are counted together.
        raise ImageError(f"{missing}: {near.advice}", f"{path}, which may mean {near.expected}") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ImageError(f"can't be opened ({reason})", path) from None


@lru_cache(maxsize=8)
def _real_root(root: str) -> str:
    return os.path.join(os.path.realpath(root), "")


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of an image says.

    `size` is (height, width) of the image that `read_image` returns; it may exceed `MAX_PIXELS`, because a fallback
    needs the true size. `warnings` are those of `read_image` that the header reveals. `turned` is whether the image is
    turned or mirrored by its EXIF orientation.
    """

    size: tuple[int, int]
    warnings: tuple[str, ...] = ()
    turned: bool = False


def read_info(path: Path, root: Path) -> ImageInfo:
    """Read the header of an image file inside the input folder `root`.

    Raises:
        ImageError: the file can't be opened, or its header can't be read.
    """
    with opened(path, root) as file:
        medical = medical_format(file.read(HEAD))
        if medical is None:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = read_header(data, path)
            return ImageInfo(header.size, header.warnings, header.orientation != 1)
        if medical != "DICOM":
            file.seek(0)
            layout = read_layout(file, path)
            return ImageInfo(layout.slice_size, (*middle_warning(layout.slices), *layout.warnings))
    with caught_stderr():
        size, frames = frame_extent(path)
    return ImageInfo(size, middle_warning(frames))


def middle_warning(slices: int) -> tuple[str, ...]:
    """Return the warning that only one of several slices or frames is read; empty if there is one."""
    return (f"the middle one of {slices} slices was taken",) if slices > 1 else ()


def image_size(path: Path, root: Path) -> tuple[int, int]:
    """Return the size of `read_info`, (height, width)."""
    return read_info(path, root).size


def require_decodable(size: tuple[int, int], source: object) -> None:
    """Raise `ImageError` for an image of `size` (height, width) with more than `MAX_PIXELS`."""
    height, width = size
    if height * width > MAX_PIXELS:
        raise ImageError(f"{width}x{height} pixels are more than the {MAX_PIXELS:,} that are decoded", source, size)


def read_header(data: bytes | mmap.mmap, path: Path) -> Header:
    """Parse the header of an image file's content.

    Raises:
        ImageError: the content has no valid header; the message names `path`.
    """
    try:
        header = _png(data) or _jpeg(data) or _bmp(data) or _tiff(data) or _other(data)
    except (struct.error, IndexError):
        raise ImageError("is cut short in its header", path) from None
    if header is None:
        raise ImageError(other_content(data[:HEAD]), path)
    if min(header.size) < 1:
        raise ImageError(f"its header states the size {header.stored_width}x{header.stored_height}", path)
    return header


def _png(data: bytes | mmap.mmap) -> Header | None:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    orientation = frames = 1
    chunk, offset = b"", 8
    while chunk != b"IEND" and offset + 8 <= len(data):
        length, chunk = struct.unpack_from(">I4s", data, offset)
        end = offset + 8 + length
        if chunk == b"eXIf" and zlib.crc32(data[offset + 4 : end]).to_bytes(4) == data[end : end + 4]:
            orientation = _exif_orientation(data[offset + 8 : end])
        elif chunk == b"acTL":
            (frames,) = struct.unpack_from(">I", data, offset + 8)
        offset = end + 4
    truncated = chunk != b"IEND" or length > len(data)
    return Header(
        height,
        width,
        orientation,
        frames,
        deep=depth == 16,
        truncated=truncated,
        grey=colour == 0,
        bits=depth,
        palette=colour == 3,
    )


def _jpeg(data: bytes | mmap.mmap) -> Header | None:
    if data[:3] != b"\xff\xd8\xff":
        return None
    orientation, offset = 1, 2
    while (marker := data[offset + 1]) not in _JPEG_FRAMES:
        if marker in _JPEG_NO_LENGTH:
            offset += 1
        else:
            (length,) = struct.unpack_from(">H", data, offset + 2)
            if marker == 0xE1 and data[offset + 4 : offset + 10] == b"Exif\0\0":
                orientation = _exif_orientation(data[offset + 10 : offset + 2 + length])
            offset += 2 + length
        offset = data.find(b"\xff", offset)
        if offset < 0:
            raise IndexError("no frame")
    height, width, channels = struct.unpack_from(">HHB", data, offset + 5)
    complete = data[-2:] == b"\xff\xd9" or data.find(b"\xff\xd9", offset) > 0
    return Header(height, width, orientation, truncated=not complete, grey=channels == 1)


def _bmp(data: bytes | mmap.mmap) -> Header | None:
    if data[:2] != b"BM":
        return None
    (header_length,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_length == 12 else "<ii", data, 18)
    (bits,) = struct.unpack_from("<H", data, 24 if header_length == 12 else 28)
    return Header(abs(height), width, palette=bits <= 8)


def _tiff(data: bytes | mmap.mmap) -> Header | None:
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    tags, next_directory = _read_directory(data)
    if _WIDTH not in tags or _HEIGHT not in tags:
        return None
    photometric, single = tags.get(_PHOTOMETRIC), tags.get(_SAMPLES, 1) == 1
    return Header(
        tags[_HEIGHT],
        tags[_WIDTH],
        tags.get(_ORIENTATION, 1),
        frames=2 if next_directory else 1,
        deep=True,
        bits=tags.get(_BITS, 1) if single else 8,
        palette=photometric == 3,
        white_is_zero=photometric == 0,
        tiff=True,
    )


def _exif_orientation(data: bytes) -> int:
    try:
        tags, _ = _read_directory(data.removeprefix(b"Exif\0\0"))
    except struct.error:
        return 1
    return tags.get(_ORIENTATION, 1)


def _read_directory(data: bytes | mmap.mmap) -> tuple[dict[int, int], int]:
    """Return the first value of each integer tag in a TIFF's first directory, and the next one's offset (0: none)."""
    # OpenCV takes every byte order mark but II as big-endian.
    order = "<" if data[:2] == b"II" else ">"
    magic, start = struct.unpack_from(order + "HI", data, 2)
    if magic != 42:
        return {}, 0
    (count,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, int] = {}
    end = start + 2 + 12 * count
    # Like OpenCV, use the complete entries of a directory that is cut short.
    for offset in range(start + 2, min(end, len(data) - 11), 12):
        tag, field_type = struct.unpack_from(order + "HH", data, offset)
        # Like OpenCV, read an orientation as 16 bits regardless of its type, and keep the first of repeated tags.
        if field_type in (3, 4) or tag == _ORIENTATION:
            wide = field_type == 4 and tag != _ORIENTATION
            tags.setdefault(tag, struct.unpack_from(order + ("I" if wide else "H"), data, offset + 8)[0])
    if not 1 <= tags.get(_ORIENTATION, 1) <= 8:
        tags[_ORIENTATION] = 1
    next_directory = struct.unpack_from(order + "I", data, end)[0] if end + 4 <= len(data) else 0
    return tags, next_directory


def _other(data: bytes | mmap.mmap) -> Header | None:
    """Read the header of a rarer format with Pillow, which decodes no pixels when it opens a file."""
    from PIL import Image

    # Pillow's limit would print a warning; `MAX_PIXELS` replaces it.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(BytesIO(data), formats=("GIF", "WEBP", "PPM", "JPEG2000")) as image:
            orientation = _exif_orientation(image.info.get("exif", b""))
            frames = getattr(image, "n_frames", 1)
            deep, palette = image.format in ("PPM", "JPEG2000"), image.mode == "P"
            return Header(image.height, image.width, orientation, frames, deep, palette=palette)
    except Exception:  # Pillow raises all kinds of errors on damaged content
        return None
