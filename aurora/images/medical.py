"""Medical formats, through SimpleITK: one slice of a MetaImage, NIfTI or DICOM file."""

import gzip
import math
import mmap
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import pack, unpack_from
from typing import TYPE_CHECKING

from aurora.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    import SimpleITK as sitk

#: An image with more pixels isn't decoded: a file of a few hundred kilobytes can unpack to gigabytes.
MAX_PIXELS = 100_000_000

_READERS = {".mha": "MetaImageIO", ".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".dcm": "GDCMImageIO"}
# Instead of what ITK says, which names its own files and addresses.
_UNREADABLE = "can't be decoded, the file is damaged or of a kind that isn't read"


@dataclass(frozen=True, slots=True)
class Slice:
    """(H, W) or (H, W, 3) pixels of any number type; `window` is the range (low, high) to show, if the file has one."""

    pixels: "np.ndarray"
    window: tuple[float, float] | None
    warnings: tuple[str, ...]


def reader_of(name: str, head: bytes) -> str | None:
    """SimpleITK's reader for a file by its name and its first 132 bytes; None when it isn't a medical format."""
    if head[128:132] == b"DICM":
        return "GDCMImageIO"
    return next((reader for end, reader in _READERS.items() if name.lower().endswith(end)), None)


def volume_size(path: Path, reader: str) -> tuple[int, int]:
    """(height, width) of a slice, from the header; `ImageError` when it can't be read."""
    width, height = _open(path, reader).GetSize()[:2]
    return height, width


def read_slice(path: Path, reader: str) -> Slice:
    """The middle slice (of the middle frame) of a volume, with a warning when there are several.

    Raises `ImageError` when the file can't be read or is too large.
    """
    import SimpleITK as sitk

    source = _open(path, reader)
    size = source.GetSize()
    if size[0] * size[1] > MAX_PIXELS or math.prod(size) > MAX_VOXELS:
        raise ImageError(f"its size {'x'.join(map(str, size))} is more than is read", path)
    if len(size) > 2:
        source.SetExtractIndex([0, 0, *(extent // 2 for extent in size[2:])])
        source.SetExtractSize([*size[:2], *(0 for _ in size[2:])])
    try:
        pixels = sitk.GetArrayFromImage(source.Execute())
    except RuntimeError:
        raise ImageError(_UNREADABLE, path) from None
    if pixels.ndim == 3:
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    count = math.prod(size[2:])
    warnings = (f"the middle one of {count} slices was taken",) if count > 1 else ()
    return Slice(pixels, _window(source), warnings)


def _open(path: Path, reader: str) -> "sitk.ImageFileReader":
    """A reader that knows the header and has at least two dimensions."""
    import SimpleITK as sitk

    validate_file(path, reader)
    sitk.ProcessObject.GlobalWarningDisplayOff()
    source = sitk.ImageFileReader()
    source.SetImageIO(reader)
    source.SetFileName(str(path))
    try:
        source.ReadImageInformation()
    except RuntimeError:
        raise ImageError(_UNREADABLE, path) from None
    if len(source.GetSize()) < 2 or 0 in source.GetSize():
        raise ImageError(f"expected an image, found the size {source.GetSize()}", path)
    return source


def _window(source: "sitk.ImageFileReader") -> tuple[float, float] | None:
    """The first DICOM window as (low, high) in the pixels' own units (DICOM PS3.3 C.11.2.1.2, LINEAR)."""
    try:
        centre, width = _tag(source, "0028|1050"), _tag(source, "0028|1051")
        if source.GetMetaData("0028|0004").strip() == "MONOCHROME1":
            centre = _mirrored(source, centre)
    except (RuntimeError, ValueError):
        return None
    if not (width > 1 and math.isfinite(centre) and math.isfinite(width)):
        return None
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _mirrored(source: "sitk.ImageFileReader", centre: float) -> float:
    """ITK hands MONOCHROME1 out inverted (low is dark) without telling the window, which is mirrored here."""
    stored_ends = -1 if _tag(source, "0028|0103") else 2 ** _tag(source, "0028|0101") - 1
    slope, intercept = 1.0, 0.0
    if source.HasMetaDataKey("0028|1053") and source.HasMetaDataKey("0028|1052"):
        slope, intercept = _tag(source, "0028|1053"), _tag(source, "0028|1052")
    return slope * stored_ends + 2 * intercept - centre


def _tag(source: "sitk.ImageFileReader", key: str) -> float:
    return float(source.GetMetaData(key).split("\\")[0])


#: A compressed volume is unpacked as a whole, however little of it is asked for.
MAX_VOXELS = 1 << 30
_CUT = "can't be decoded, the file is truncated"
# The value representations of DICOM whose length takes 32 bits (PS3.5, table 7.1-1).
_LONG_KINDS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT_KINDS = {
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT"),
    *(b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
}
# Other spellings of LOCAL are names of files to MetaIO.
_LOCAL = re.compile(rb"ElementDataFile[ \t]*[=:][ \t]*(LOCAL|Local|local)[ \t\r]*")
_META_LINES = re.compile(rb"([ \t]*\w+[ \t]*[=:][\t -<>-~]*\r?\n)+[ \t]*")
_META_SIZES = {
    **{b"MET_CHAR": 1, b"MET_UCHAR": 1, b"MET_SHORT": 2, b"MET_USHORT": 2, b"MET_INT": 4, b"MET_UINT": 4},
    **{b"MET_LONG": 4, b"MET_ULONG": 4, b"MET_LONG_LONG": 8, b"MET_ULONG_LONG": 8, b"MET_FLOAT": 4, b"MET_DOUBLE": 8},
}


def validate_file(path: Path, reader: str) -> None:
    """Raise `ImageError` unless SimpleITK's `reader` may be given this file."""
    {"MetaImageIO": _require_metaimage, "NiftiImageIO": _require_nifti, "GDCMImageIO": _require_dicom}[reader](path)


def _require_metaimage(path: Path) -> None:
    """A MetaImage header may name another file for its pixels, and that one could lie anywhere.

    The name of that field must stand once in the whole file, so that there is no header to be read in two ways. Pixels
    as text, which is also what a header without BinaryData means, are refused: MetaIO writes beyond its memory where
    they are cut short.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        places = re.findall(rb"ElementDataFile[^\n]*", data)
        header = data[: max(0, data.find(b"ElementDataFile"))]
        body = len(data) - data.find(b"\n", len(header)) - 1
    if len(places) != 1 or not _LOCAL.fullmatch(places[0]):
        raise ImageError("expected a MetaImage that holds its own pixels (ElementDataFile = LOCAL)", path)
    fields = re.findall(rb"^[ \t]*(\w+)[ \t]*[=:](.*?)\r?$", header, re.MULTILINE)
    if not _META_LINES.fullmatch(header) or [v.strip(b" \t") for k, v in fields if k == b"BinaryData"] != [b"True"]:
        raise ImageError("expected a MetaImage header of lines 'name = value' with BinaryData = True", path)
    known = dict(fields)
    if known.get(b"CompressedData", b"").strip().lower() != b"true" and body < _meta_bytes(known):
        raise ImageError(_CUT, path)


def _meta_bytes(fields: Mapping[bytes, bytes]) -> int:
    """How many bytes of pixels a MetaImage header announces; 0 where it doesn't say so plainly."""
    try:
        sides = [int(side) for side in fields[b"DimSize"].split()]
        channels = int(fields.get(b"ElementNumberOfChannels", b"1"))
        return math.prod(sides) * channels * _META_SIZES[fields[b"ElementType"].strip()]
    except (KeyError, ValueError):
        return 0


def _require_nifti(path: Path) -> None:
    """The NIfTI library takes what is missing at a file's end for zeros, and looks for another file if told so.

    Layouts: nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
    """
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            head = file.read(540)
            order = next((order for order in "<>" if head[:4] in (pack(order + "i", 348), pack(order + "i", 540))), "<")
            newer = head[:4] == pack(order + "i", 540)
            sides = unpack_from(order + ("8q" if newer else "8h"), head, 16 if newer else 40)
            (bits,) = unpack_from(order + "h", head, 12 if newer else 72)
            (start,) = unpack_from(order + ("q" if newer else "f"), head, 168 if newer else 108)
            magic = head[4:7] if newer else head[344:347]
            end = start + math.prod(sides[1 : 1 + sides[0]]) * bits // 8
            if magic not in (b"n+1", b"n+2") or not 0 < end <= MAX_VOXELS * 16:
                raise ImageError("expected a NIfTI file that holds its own pixels", path)
            if file.seek(int(end) - 1) != end - 1 or not file.read(1):
                raise ImageError(_CUT, path)
            file.read(1 << 20)  # the checksum of a compressed file is looked at when its end is reached
    except (OSError, EOFError, zlib.error, struct.error, ValueError, OverflowError):
        raise ImageError("can't be decoded, it is no whole NIfTI file", path) from None


def _require_dicom(path: Path) -> None:
    """GDCM makes room for as much as an element says it holds, up to 4 GB, before it finds the file shorter.

    Elements are laid out as in DICOM PS3.5, 7.1; those inside a sequence of stated length, compressed pixels
    and the rare encodings (big-endian, deflated) aren't looked at.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 132 if data[128:132] == b"DICM" else 0
        if re.search(rb"1\.2\.840\.10008\.1\.2\.(2|1\.99)[\0 ]", data[:1024]):
            return
        implicit = at == 0 or re.search(rb"1\.2\.840\.10008\.1\.2\0", data[:1024]) is not None
        while at + 12 <= len(data):
            tag, kind = data[at : at + 4], data[at + 4 : at + 6]
            if tag[:2] == b"\xfe\xff":  # an item or the end of one: what it holds comes next
                start, length = at + 8, 0
            elif kind in _LONG_KINDS:
                start, (length,) = at + 12, unpack_from("<I", data, at + 8)
            elif kind in _SHORT_KINDS:
                start, (length,) = at + 8, unpack_from("<H", data, at + 6)
            elif implicit:
                start, (length,) = at + 8, unpack_from("<I", data, at + 4)
            else:
                raise ImageError(f"expected a DICOM file, found damage at byte {at}", path)
            if length == 0xFFFFFFFF:
                if tag == b"\xe0\x7f\x10\0":  # compressed pixels, up to the end
                    return
                length = 0
            at = start + length
        if at > len(data):
            raise ImageError("is cut short, or an element in it says that it is longer than the file", path)
