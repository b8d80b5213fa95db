"""Read one frame of a DICOM file with SimpleITK, and what is needed to show it as a viewer does."""

import math
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, BinaryIO, cast

from aurora.errors import ImageError
from aurora.images.dicom_elements import Elements, codestream_size, examine, inflate
from aurora.images.intensity import LookupTable, Window
from aurora.images.voi import stated_in_sequences
from aurora.images.volume import require_moderate

if TYPE_CHECKING:
    import numpy as np
    import SimpleITK as sitk

#: Replaces ITK's message, which names source files and memory addresses.
UNREADABLE = "can't be decoded, the file is damaged or of a kind that isn't read"
_SYNTAX = re.compile(rb"\x02\0\x10\0UI..([0-9.]+)", re.DOTALL)
# The tag of the pixels, in both byte orders.
_PIXELS = re.compile(rb"\xe0\x7f[\x08-\x10]\0|\x7f\xe0\0[\x08-\x10]")
# The elements of the photometric interpretation and of the spacings along all axes, in both byte orders.
_PHOTOMETRIC = re.compile(rb"(?:\x28\0\x04\0|\0\x28\0\x04).{4}([A-Z][A-Z_0-9]+)", re.DOTALL)
_SPACING = re.compile(
    rb"(?:\x28\0\x30\0|\x18\0(?:\x50\0|\x88\0|\x64\x11)|\0\x28\0\x30|\0\x18(?:\0\x50|\0\x88|\x11\x64))"
    rb".{4}[-+\d.eE\\ ]+",
    re.DOTALL,
)
_IMPLICIT, _EXPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
# The transfer syntaxes whose pixels aren't compressed.
_PLAIN = (_IMPLICIT, _EXPLICIT, _BIG_ENDIAN)
_JPEG = "1.2.840.10008.1.2.4."
_HEAD = 1024
# Behind the offsets of frames, the compressed pixels begin within so many bytes.
_BEGINNING = 1 << 20
# Pixels may be so much longer than needed, in bytes.
_SLACK = 1 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: `pixels` (H, W) or (H, W, 3) of any number type, and how to show them.

    `window` is None if the file has none or holds colours; `inverted` says that high values are dark; `frames` is the
    number of frames in the file.
    """

    pixels: "np.ndarray"
    window: Window | LookupTable | None
    inverted: bool
    frames: int


def is_dicom(head: bytes) -> bool:
    """Return whether a file's first bytes (132 or more) are those of a DICOM file, with or without a preamble."""
    return head[128:132] == b"DICM" or re.match(rb"[\x02\x08]\0.\0(?:[A-Z]{2}|..\0\0)", head, re.DOTALL) is not None


def frame_extent(path: Path) -> tuple[tuple[int, int], int]:
    """Return (height, width) of a frame and the number of frames, from the header.

    Raises:
        ImageError: the header can't be read.
    """
    with _opened(path) as (source, *_):
        width, height, *others = source.GetSize()
        return (height, width), math.prod(others)


def read_frame(path: Path) -> Frame:
    """Read the middle frame of a DICOM file.

    Raises:
        ImageError: the file can't be read or is too large.
    """
    with _opened(path) as (source, inverted, header, pixels):
        return _middle(source, inverted, header, pixels, path)


def decode_frame(header: bytes, pixels: bytes, number: int, path: Path) -> Frame:
    """Decode a DICOM file of one frame, whose `header` ends where the element of the pixels begins; see `read_frame`.

    Args:
        header: the header.
        pixels: the element of the pixels, with its tag.
        number: the number of the frame, from 0, in the file that both come from.
        path: that file, for messages.
    """
    shown, inverted = _without_geometry(header)
    with memory_file() as (file, name):
        file.write(shown)
        file.write(pixels)
        return _middle(_header_reader(name, path), inverted, header, pixels[:_BEGINNING], path, number)


def require_readable(header: bytes, pixels: bytes, path: Path) -> None:
    """Raise `ImageError` unless the header of `decode_frame` can be read, before every frame fails for it."""
    with memory_file() as (file, name):
        file.write(_without_geometry(header)[0])
        file.write(pixels)
        _header_reader(name, path)


def _middle(
    source: "sitk.ImageFileReader", inverted: bool, header: bytes, pixels: bytes, path: Path, number: int | None = None
) -> Frame:
    """Decode the middle frame of a file whose header was read.

    `pixels` is how the element of the pixels begins, and `number` that of the only frame of a cine's part.
    """
    import SimpleITK as sitk

    size = source.GetSize()
    require_moderate(size, path)
    stated = codestream_size(pixels) if transfer_syntax(header[:_HEAD]).startswith(_JPEG) else None
    if stated and math.prod(stated) > math.prod(size[:2]):  # the decoder would allocate it
        found = f"{size[0]}x{size[1]} in its header and {stated[1]}x{stated[0]} in its pixels"
        raise ImageError(f"expected one size, found {found}", path, size[1::-1])
    # The extracted region keeps all its axes: where one is dropped, ITK checks the orientation of the others.
    source.SetExtractIndex([0, 0, *(extent // 2 for extent in size[2:])])
    source.SetExtractSize([*size[:2], *(1 for _ in size[2:])])
    try:
        values = sitk.GetArrayFromImage(source.Execute())
    except RuntimeError:
        raise ImageError(UNREADABLE, path, size[1::-1]) from None
    channels = source.GetNumberOfComponents()
    values = values.reshape(*size[1::-1], channels)
    values = values[..., :3] if channels in (3, 4) else values[..., 0]
    frames = math.prod(size[2:])
    window = None
    if values.ndim == 2:
        window = stated_in_sequences(header, frames // 2 if number is None else number) or _window(source)
    return Frame(values, window, inverted, frames)


@contextmanager
def _opened(path: Path) -> Iterator[tuple["sitk.ImageFileReader", bool, bytes, bytes]]:
    """Yield a reader that has read the header, whether high values are dark, the header, and how the pixels begin."""
    with inflated_content(path) as (data, name):
        header, elements = require_safe(data, path)
        shown, inverted = _without_geometry(header)
        needed = elements.needed if transfer_syntax(header[:_HEAD]) in _PLAIN else None
        pixels = data[len(header) : len(header) + _BEGINNING]
        too_long = False
        if needed is not None and elements.length is not None:
            if elements.length < needed:
                raise ImageError("can't be decoded, the file is truncated", path)
            too_long = elements.length > 2 * needed + _SLACK
        if shown == header and not too_long:
            yield _header_reader(name, path), inverted, header, pixels
            return
        with memory_file() as (changed, name):
            changed.write(shown)
            if too_long and needed is not None:  # GDCM would read all of it
                length = needed + needed % 2
                changed.write(data[len(header) : elements.start - 4] + pack(elements.order + "I", length))
                changed.write(data[elements.start : elements.start + length])
            else:
                changed.write(data[len(header) :])
            yield _header_reader(name, path), inverted, header, pixels


@contextmanager
def inflated_content(path: Path) -> Iterator[tuple[mmap.mmap, str]]:
    """Yield the content of a DICOM file, inflated if it is deflated, and the name of a file that holds it.

    Raises:
        ImageError: a deflated file is damaged, or its header is longer than is read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if transfer_syntax(data[:_HEAD]) != _DEFLATED:
            yield data, str(path)
            return
        with memory_file() as (inflated, name):
            problem = inflate(data, _DEFLATED.encode(), _EXPLICIT.encode(), inflated)
            if problem:
                raise ImageError(problem, path)
            with mmap.mmap(inflated.fileno(), 0, access=mmap.ACCESS_READ) as plain:
                yield plain, name


def _header_reader(name: str, path: Path) -> "sitk.ImageFileReader":
    """Return a reader that has read the header of the file `name`, which is `path` in messages."""
    import SimpleITK as sitk

    sitk.ProcessObject.GlobalWarningDisplayOff()
    source = sitk.ImageFileReader()
    source.SetImageIO("GDCMImageIO")
    source.SetFileName(name)
    try:
        source.ReadImageInformation()
    except RuntimeError:
        raise ImageError(UNREADABLE, path) from None
    if len(source.GetSize()) < 2 or 0 in source.GetSize():
        raise ImageError(f"expected an image, found the size {source.GetSize()}", path)
    return source


def _without_geometry(header: bytes) -> tuple[bytes, bool]:
    """Return a header that ITK accepts, as long as before, and whether it states MONOCHROME1.

    ITK refuses a spacing of 0, so every 0 in a spacing becomes 1; and it inverts MONOCHROME1 for some depths only, so
    that this becomes MONOCHROME2.
    """
    shown = _SPACING.sub(lambda element: element[0][:8] + element[0][8:].replace(b"0", b"1"), header)
    photometric = _PHOTOMETRIC.search(shown)  # that of an icon comes later
    if photometric is None or photometric[1] != b"MONOCHROME1":
        return shown, False
    return shown[: photometric.end() - 1] + b"2" + shown[photometric.end() :], True


@contextmanager
def memory_file() -> Iterator[tuple[BinaryIO, str]]:
    """Yield an unbuffered temporary file and its name, in memory where the system can."""
    if sys.platform == "linux":  # where no folder may be writable
        with open(os.memfd_create("dicom"), "wb", buffering=0) as file:
            yield file, f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(buffering=0) as named:
            yield cast(BinaryIO, named), named.name


def _window(source: "sitk.ImageFileReader") -> Window | None:
    """Return the first window of an image without colours, if it states one."""
    try:
        if not source.GetMetaData("0028|0004").startswith("MONOCHROME"):
            return None
        centre, width = (float(source.GetMetaData(key).split("\\")[0]) for key in ("0028|1050", "0028|1051"))
    except (RuntimeError, ValueError):
        return None
    named = source.HasMetaDataKey("0028|1056")
    function = source.GetMetaData("0028|1056").strip() if named else "LINEAR"
    return Window.usable(centre, width, function)


def transfer_syntax(head: bytes) -> str:
    """Return the unique identifier of the transfer syntax by a file's first bytes; empty if they don't state one."""
    syntax = _SYNTAX.search(head)
    return syntax[1].decode() if syntax else ""


def is_mpeg(syntax: str) -> bool:
    """Return whether the pixels of a transfer syntax are an MPEG video."""
    return re.fullmatch(r"1\.2\.840\.10008\.1\.2\.4\.10[0-9](\.1)?", syntax) is not None


def require_safe(data: mmap.mmap, path: Path) -> tuple[bytes, Elements]:
    """Return the header of a DICOM file, up to its pixels, and its elements.

    Raises:
        ImageError: the file is dangerous to GDCM, or holds no pixels or a video.
    """
    uid = transfer_syntax(data[:1024])
    if is_mpeg(uid):
        raise ImageError("is a video (MPEG inside DICOM); save the frame you need as PNG and name that", path)
    if uid == _DEFLATED:
        return b"", Elements()
    pixels = _PIXELS.search(data)
    if pixels is None:
        raise ImageError("is a DICOM file without pixels, such as a report or a plan; name an image", path)
    elements = examine(data, implicit=uid == _IMPLICIT, order=">" if uid == _BIG_ENDIAN else "<")
    if elements.problem:
        raise ImageError(elements.problem, path)
    return data[: pixels.start() if elements.pixels is None else elements.pixels], elements
