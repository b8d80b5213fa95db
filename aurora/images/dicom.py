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
from struct import unpack_from
from typing import TYPE_CHECKING, BinaryIO, cast

from aurora.errors import ImageError
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
# The value representations whose length has 16 bits (PS3.5, table 7.1-2); GDCM reads 32 bits for all others.
_SHORT_VRS = set(re.findall(b"..", b"AEASATCSDADSDTFLFDISLOLTPNSHSLSSSTTMUIULUS"))
_ITEM, _SEQUENCE_END, _PIXEL_DATA = b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0", b"\xe0\x7f\x10\0"
_UNDEFINED = 0xFFFFFFFF
# What an element may claim beyond the end of the file, in bytes: so much memory does no harm.
_SLACK = 1 << 20
_IMPLICIT, _DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


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
    with _opened(path) as (source, _, _):
        width, height, *others = source.GetSize()
        return (height, width), math.prod(others)


def read_frame(path: Path) -> Frame:
    """Read the middle frame of a DICOM file.

    Raises:
        ImageError: the file can't be read or is too large.
    """
    with _opened(path) as (source, inverted, header):
        return _middle(source, inverted, header, path)


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
        return _middle(_header_reader(name, path), inverted, header, path, number)


def require_readable(header: bytes, pixels: bytes, path: Path) -> None:
    """Raise `ImageError` unless the header of `decode_frame` can be read, before every frame fails for it."""
    with memory_file() as (file, name):
        file.write(_without_geometry(header)[0])
        file.write(pixels)
        _header_reader(name, path)


def _middle(
    source: "sitk.ImageFileReader", inverted: bool, header: bytes, path: Path, number: int | None = None
) -> Frame:
    """Decode the middle frame of a file whose header was read; `number` is that of the only frame of a cine's part."""
    import SimpleITK as sitk

    size = source.GetSize()
    require_moderate(size, path)
    # The extracted region keeps all its axes: where one is dropped, ITK checks the orientation of the others.
    source.SetExtractIndex([0, 0, *(extent // 2 for extent in size[2:])])
    source.SetExtractSize([*size[:2], *(1 for _ in size[2:])])
    try:
        pixels = sitk.GetArrayFromImage(source.Execute())
    except RuntimeError:
        raise ImageError(UNREADABLE, path, size[1::-1]) from None
    channels = source.GetNumberOfComponents()
    pixels = pixels.reshape(*size[1::-1], channels)
    pixels = pixels[..., :3] if channels in (3, 4) else pixels[..., 0]
    frames = math.prod(size[2:])
    window = None
    if pixels.ndim == 2:
        window = stated_in_sequences(header, frames // 2 if number is None else number) or _window(source)
    return Frame(pixels, window, inverted, frames)


@contextmanager
def _opened(path: Path) -> Iterator[tuple["sitk.ImageFileReader", bool, bytes]]:
    """Yield a reader that has read the header, whether high values of its pixels are dark, and the header."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header = require_safe(data, path)
        shown, inverted = _without_geometry(header)
        if shown == header:
            yield _header_reader(str(path), path), inverted, header
            return
        with memory_file() as (changed, name):
            changed.write(shown)
            changed.write(data[len(header) :])
            yield _header_reader(name, path), inverted, header


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


def require_safe(data: mmap.mmap, path: Path) -> bytes:
    """Return the header of a DICOM file, up to its pixels, unless the file is dangerous to GDCM or holds no image.

    It is dangerous if an element is longer than the file, because GDCM allocates what an element states, up to 4 GB.
    Elements are laid out as in PS3.5, 7.1. Where the walk from one to the next is in doubt, it ends without objection.
    Not checked: deflated and big-endian files.

    Raises:
        ImageError: an element is longer than the file, or the file holds no pixels or a video.
    """
    uid = transfer_syntax(data[:1024])
    if is_mpeg(uid):
        raise ImageError("is a video (MPEG inside DICOM); save the frame you need as PNG and name that", path)
    if uid == _DEFLATED:
        return b""
    pixels = _PIXELS.search(data)
    if pixels is None:
        raise ImageError("is a DICOM file without pixels, such as a report or a plan; name an image", path)
    if uid != _BIG_ENDIAN and _claims_too_much(data, implicit=uid == _IMPLICIT):
        raise ImageError("is cut short, or an element in it says that it is longer than the file", path)
    return data[: pixels.start()]


def _claims_too_much(data: mmap.mmap, *, implicit: bool) -> bool:
    """Return whether an element up to the pixels claims to be longer than the file, so that GDCM would allocate it."""
    limit, offset = len(data) + _SLACK, 132 if data[128:132] == b"DICM" else 0
    implicit |= not offset and not data[4:6].isalpha()
    fragments, unknown = False, 0  # whether pixels are compressed; the depth inside an element of unknown kind
    while offset + 12 <= len(data) and any(tag := data[offset : offset + 4]):
        vr, start, (length,) = data[offset + 4 : offset + 6], offset + 8, unpack_from("<I", data, offset + 4)
        named, explicit = vr.isalpha() and vr.isupper(), tag[:2] == b"\2\0" or not (implicit or unknown)
        if tag[:2] == b"\2\0" and not named:
            return True  # GDCM takes what follows for a length of 32 bits
        if tag[:2] == _ITEM[:2]:
            unknown -= unknown > 0 and tag == _SEQUENCE_END
        elif explicit and vr in _SHORT_VRS:
            (length,) = unpack_from("<H", data, offset + 6)
        elif explicit and named:
            start, (length,) = offset + 12, unpack_from("<I", data, start)
        elif named and length > limit:
            return False  # it is explicit, against what the file states
        if length == _UNDEFINED:
            fragments |= tag == _PIXEL_DATA
            unknown += unknown > 0 or (explicit and vr == b"UN")
        elif length > limit:
            return True
        elif tag == _PIXEL_DATA or (fragments and tag == _SEQUENCE_END):
            return False
        nested = (tag == _ITEM and not fragments) or (vr == b"SQ" if explicit else data[start : start + 4] == _ITEM)
        offset = start + (0 if nested or length == _UNDEFINED else length)
    return False
