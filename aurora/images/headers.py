"""What an image file says of itself before its pixels are decoded: whether it may be opened, its size and frame."""

import os
import stat
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from aurora.errors import ImageError
from aurora.images.medical import MAX_PIXELS, reader_of, volume_size

#: No image of the challenge comes near; a larger file isn't read into memory.
MAX_BYTES = 1 << 30

_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_NO_LENGTH = {0x00, 0x01, 0xFF, *range(0xD0, 0xD9)}
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0x0100, 0x0101


@dataclass(frozen=True, slots=True)
class Header:
    """Size in pixels of the stored frame, and how the default `cv2.imread` turns it.

    `orientation` is EXIF's 1..8, `frames` how many images the file holds, `deep` whether a channel may have
    more than 8 bits, `truncated` whether the file's end is missing, `grey` that it is known to hold no colours.
    """

    stored_height: int
    stored_width: int
    orientation: int = 1
    frames: int = 1
    deep: bool = False
    truncated: bool = False
    grey: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the decoded frame: orientations 5 to 8 lie on their side."""
        turned = self.orientation >= 5
        return (self.stored_width, self.stored_height) if turned else (self.stored_height, self.stored_width)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the answer should know, in plain words."""
        said = {
            f"EXIF orientation {self.orientation} was applied, as OpenCV does": self.orientation != 1,
            "only the first of several frames was taken": self.frames > 1,
            "truncated: the end of the file is missing": self.truncated,
        }
        return tuple(text for text, holds in said.items() if holds)


@dataclass(frozen=True, slots=True)
class Source:
    """A file that may be read: its bytes, or the name of SimpleITK's reader that has to open it by its path."""

    data: bytes
    volume_reader: str | None = None


def load(path: Path, root: Path) -> Source:
    """Open a file once and read it.

    Raises `ImageError` unless it is a regular file whose real place (after links) is inside `root`.
    """
    try:
        real = os.path.realpath(path)
        if not real.startswith(_real_root(os.fspath(root))):
            raise ImageError(f"is a link that leads out of {root}", path)
        # A FIFO without a writer would block for ever.
        with open(os.open(real, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("isn't a regular file", path)
            if not 0 < status.st_size <= MAX_BYTES:
                raise ImageError(f"{'is empty' if not status.st_size else 'is larger than 1 GiB'}", path)
            head = file.read(132)
            reader = reader_of(path.name, head)
            return Source(head, reader) if reader else Source(head + file.read())
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ImageError(f"can't be opened ({reason})", path) from None


@lru_cache(maxsize=8)
def _real_root(root: str) -> str:
    return os.path.join(os.path.realpath(root), "")


def image_size(path: Path, root: Path) -> tuple[int, int]:
    """(height, width) of the frame `read_image` returns, from the header alone.

    It may exceed `MAX_PIXELS`, so that a fallback has the right size. Raises `ImageError`.
    """
    source = load(path, root)
    if source.volume_reader:
        return volume_size(path, source.volume_reader)
    return read_header(source.data, path).size


def require_decodable(size: tuple[int, int], place: object) -> None:
    """Raise an `ImageError` for an image of more than `MAX_PIXELS`; `size` is (height, width)."""
    height, width = size
    if height * width > MAX_PIXELS:
        raise ImageError(f"{width}x{height} pixels are more than the {MAX_PIXELS:,} that are decoded", place)


def read_header(data: bytes, path: Path) -> Header:
    """The header of an image's bytes; `path` is for the message of the `ImageError` when there is none."""
    try:
        header = _png(data) or _jpeg(data) or _bmp(data) or _tiff(data) or _other(data)
    except (struct.error, IndexError):
        raise ImageError("is cut short in its header", path) from None
    if header is None:
        raise ImageError("expected an image (png, jpg, bmp, tiff, ...), found another or damaged content", path)
    if min(header.size) < 1:
        raise ImageError(f"its header states the size {header.stored_width}x{header.stored_height}", path)
    return header


def _png(data: bytes) -> Header | None:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    orientation = frames = 1
    kind, at = b"", 8
    while kind != b"IEND" and at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf" and zlib.crc32(data[at + 4 : at + 8 + length]).to_bytes(4) == data[at + 8 + length :][:4]:
            orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        elif kind == b"acTL":
            (frames,) = struct.unpack_from(">I", data, at + 8)
        at += 12 + length
    truncated = kind != b"IEND" or length > len(data)
    return Header(height, width, orientation, frames, deep=depth == 16, truncated=truncated, grey=colour == 0)


def _jpeg(data: bytes) -> Header | None:
    if data[:3] != b"\xff\xd8\xff":
        return None
    orientation, at = 1, 2
    while (marker := data[at + 1]) not in _JPEG_FRAMES:
        if marker in _JPEG_NO_LENGTH:
            at += 1
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                orientation = _exif_orientation(data[at + 10 : at + 2 + length])
            at += 2 + length
        at = data.find(b"\xff", at)
        if at < 0:
            raise IndexError("no frame")
    height, width, channels = struct.unpack_from(">HHB", data, at + 5)
    whole = data.endswith(b"\xff\xd9") or data.find(b"\xff\xd9", at) > 0
    return Header(height, width, orientation, truncated=not whole, grey=channels == 1)


def _bmp(data: bytes) -> Header | None:
    if data[:2] != b"BM":
        return None
    (kind,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if kind == 12 else "<ii", data, 18)
    return Header(abs(height), width)


def _tiff(data: bytes) -> Header | None:
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    tags, following = _directory(data)
    if _WIDTH not in tags or _HEIGHT not in tags:
        return None
    orientation = tags.get(_ORIENTATION, 1)
    return Header(tags[_HEIGHT], tags[_WIDTH], orientation, frames=2 if following else 1, deep=True)


def _exif_orientation(data: bytes) -> int:
    try:
        tags, _ = _directory(data.removeprefix(b"Exif\0\0"))
    except struct.error:
        return 1
    return tags.get(_ORIENTATION, 1)


def _directory(data: bytes) -> tuple[dict[int, int], int]:
    """The first value of each integer tag of a TIFF's first directory, and where the next one begins (0: none)."""
    # OpenCV takes every mark but II for big-endian.
    order = "<" if data[:2] == b"II" else ">"
    magic, start = struct.unpack_from(order + "HI", data, 2)
    if magic != 42:
        return {}, 0
    (count,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, int] = {}
    end = start + 2 + 12 * count
    # Of a directory that is cut short the entries before the cut count, as they do for OpenCV.
    for at in range(start + 2, min(end, len(data) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        # OpenCV reads an orientation as 16 bits, whatever it says it is; of a tag that stands twice the first counts.
        if kind in (3, 4) or tag == _ORIENTATION:
            wide = kind == 4 and tag != _ORIENTATION
            tags.setdefault(tag, struct.unpack_from(order + ("I" if wide else "H"), data, at + 8)[0])
    if not 1 <= tags.get(_ORIENTATION, 1) <= 8:
        tags[_ORIENTATION] = 1
    following = struct.unpack_from(order + "I", data, end)[0] if end + 4 <= len(data) else 0
    return tags, following


def _other(data: bytes) -> Header | None:
    """The rarer formats, by Pillow, which reads no pixels when it opens a file."""
    from PIL import Image

    # Pillow's own limit would warn on stderr; `MAX_PIXELS` stands in for it.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(BytesIO(data), formats=("GIF", "WEBP", "PPM", "JPEG2000")) as image:
            orientation = _exif_orientation(image.info.get("exif", b""))
            frames = getattr(image, "n_frames", 1)
            return Header(image.height, image.width, orientation, frames, deep=image.format in ("PPM", "JPEG2000"))
    except Exception:  # what Pillow raises on damaged content is not bounded
        return None
