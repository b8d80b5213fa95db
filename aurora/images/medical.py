"""Read one slice of a MetaImage, NIfTI or DICOM file with SimpleITK.

Files are validated first, because the C and C++ libraries below SimpleITK trust their headers.
"""

import gzip
import math
import mmap
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
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
#: A volume with more voxels isn't decoded: to read one slice, a compressed volume is unpacked as a whole.
MAX_VOXELS = 1 << 30

_READERS = {".mha": "MetaImageIO", ".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".dcm": "GDCMImageIO"}
# Replaces ITK's message, which names source files and memory addresses.
_UNREADABLE = "can't be decoded, the file is damaged or of a kind that isn't read"


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of a volume: `pixels` (H, W) or (H, W, 3) of any number type, and `warnings` in plain words.

    `window` is the range (low, high) of values to show; None if the file has none.
    """

    pixels: "np.ndarray"
    window: tuple[float, float] | None
    warnings: tuple[str, ...]


def reader_of(name: str, head: bytes) -> str | None:
    """Return SimpleITK's reader for a file, by its name and first 132 bytes; None if it isn't a medical format."""
    if head[128:132] == b"DICM":
        return "GDCMImageIO"
    return next((reader for end, reader in _READERS.items() if name.lower().endswith(end)), None)


def volume_info(path: Path, reader: str) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Return (height, width) of a slice and the warnings of `read_slice`, from the header.

    Raises:
        ImageError: the header can't be read.
    """
    size = _open(path, reader).GetSize()
    return (size[1], size[0]), _warnings(size)


def read_slice(path: Path, reader: str) -> Slice:
    """Read the middle slice (of the middle frame) of a volume, with a warning if there are several.

    Raises:
        ImageError: the file can't be read or is too large.
    """
    import SimpleITK as sitk

    source = _open(path, reader)
    size = source.GetSize()
    if size[0] * size[1] > MAX_PIXELS or math.prod(size) > MAX_VOXELS:
        raise ImageError(f"its size {'x'.join(map(str, size))} is more than is read", path, size[1::-1])
    if len(size) > 2:
        source.SetExtractIndex([0, 0, *(extent // 2 for extent in size[2:])])
        source.SetExtractSize([*size[:2], *(0 for _ in size[2:])])
    try:
        pixels = sitk.GetArrayFromImage(source.Execute())
    except RuntimeError:
        raise ImageError(_UNREADABLE, path, size[1::-1]) from None
    if pixels.ndim == 3:
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    return Slice(pixels, _window(source), _warnings(size))


def _warnings(size: Sequence[int]) -> tuple[str, ...]:
    count = math.prod(size[2:])
    return (f"the middle one of {count} slices was taken",) if count > 1 else ()


def _open(path: Path, reader: str) -> "sitk.ImageFileReader":
    """Return a reader that has read the header of an image with at least two dimensions."""
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
    """Return the first DICOM window as (low, high) in the pixels' units (DICOM PS3.3 C.11.2.1.2, LINEAR), if any."""
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
    """Mirror a window centre, because ITK inverts MONOCHROME1 pixels (so that low is dark) but not the window."""
    stored_ends = -1 if _tag(source, "0028|0103") else 2 ** _tag(source, "0028|0101") - 1
    slope, intercept = 1.0, 0.0
    if source.HasMetaDataKey("0028|1053") and source.HasMetaDataKey("0028|1052"):
        slope, intercept = _tag(source, "0028|1053"), _tag(source, "0028|1052")
    return slope * stored_ends + 2 * intercept - centre


def _tag(source: "sitk.ImageFileReader", key: str) -> float:
    return float(source.GetMetaData(key).split("\\")[0])


_CUT = "can't be decoded, the file is truncated"
# The value representations of DICOM whose length has 32 bits (PS3.5, table 7.1-1), and the others.
_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT_VRS = {
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT"),
    *(b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
}
# MetaIO takes any other spelling of LOCAL as a file name.
_LOCAL = re.compile(rb"ElementDataFile[ \t]*[=:][ \t]*(LOCAL|Local|local)[ \t\r]*")
_META_LINES = re.compile(rb"([ \t]*\w+[ \t]*[=:][\t -<>-~]*\r?\n)+[ \t]*")
_META_SIZES = {
    **{b"MET_CHAR": 1, b"MET_UCHAR": 1, b"MET_SHORT": 2, b"MET_USHORT": 2, b"MET_INT": 4, b"MET_UINT": 4},
    **{b"MET_LONG": 4, b"MET_ULONG": 4, b"MET_LONG_LONG": 8, b"MET_ULONG_LONG": 8, b"MET_FLOAT": 4, b"MET_DOUBLE": 8},
}


def validate_file(path: Path, reader: str) -> None:
    """Raise `ImageError` unless the file is safe for SimpleITK's `reader`: complete and self-contained."""
    {"MetaImageIO": _require_metaimage, "NiftiImageIO": _require_nifti, "GDCMImageIO": _require_dicom}[reader](path)


def _require_metaimage(path: Path) -> None:
    """Reject a MetaImage whose pixels are text, or in another file, which could be anywhere.

    The field's name must occur once in the whole file, so that the header can't be read in two ways. Pixels as text
    (the default of a header without BinaryData) are rejected because MetaIO writes out of bounds if they are cut short.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        references = re.findall(rb"ElementDataFile[^\n]*", data)
        header = data[: max(0, data.find(b"ElementDataFile"))]
        body = len(data) - data.find(b"\n", len(header)) - 1
    if len(references) != 1 or not _LOCAL.fullmatch(references[0]):
        raise ImageError("expected a MetaImage that holds its own pixels (ElementDataFile = LOCAL)", path)
    fields = re.findall(rb"^[ \t]*(\w+)[ \t]*[=:](.*?)\r?$", header, re.MULTILINE)
    if not _META_LINES.fullmatch(header) or [v.strip(b" \t") for k, v in fields if k == b"BinaryData"] != [b"True"]:
        raise ImageError("expected a MetaImage header of lines 'name = value' with BinaryData = True", path)
    known = dict(fields)
    if known.get(b"CompressedData", b"").strip().lower() != b"true" and body < _meta_bytes(known):
        raise ImageError(_CUT, path)


def _meta_bytes(fields: Mapping[bytes, bytes]) -> int:
    """Return the number of bytes of pixels that a MetaImage header states; 0 if that isn't clear."""
    try:
        sides = [int(side) for side in fields[b"DimSize"].split()]
        channels = int(fields.get(b"ElementNumberOfChannels", b"1"))
        return math.prod(sides) * channels * _META_SIZES[fields[b"ElementType"].strip()]
    except (KeyError, ValueError):
        return 0


def _require_nifti(path: Path) -> None:
    """Reject a NIfTI file whose pixels are in another file, or incomplete, which its library would hide with zeros.

    A volume of more than `MAX_VOXELS` isn't unpacked, because only its size is read, from the header.
    Layouts: nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            head = file.read(540)
            order = next((order for order in "<>" if head[:4] in (pack(order + "i", 348), pack(order + "i", 540))), "<")
            version_2 = head[:4] == pack(order + "i", 540)
            dim = unpack_from(order + ("8q" if version_2 else "8h"), head, 16 if version_2 else 40)
            (bits,) = unpack_from(order + "h", head, 12 if version_2 else 72)
            (start,) = unpack_from(order + ("q" if version_2 else "f"), head, 168 if version_2 else 108)
            magic = head[4:7] if version_2 else head[344:347]
            voxels = math.prod(dim[1 : 1 + dim[0]])
            end = start + voxels * bits // 8
            if magic not in (b"n+1", b"n+2") or not 0 < end <= MAX_VOXELS * 16:
                raise ImageError("expected a NIfTI file that holds its own pixels", path)
            if voxels > MAX_VOXELS:
                return
            if file.seek(int(end) - 1) != end - 1 or not file.read(1):
                raise ImageError(_CUT, path)
            file.read(1 << 20)  # gzip verifies its checksum when the end is reached
    except (OSError, EOFError, zlib.error, struct.error, ValueError, OverflowError):
        raise ImageError("can't be decoded, it isn't a complete NIfTI file", path) from None


def _require_dicom(path: Path) -> None:
    """Reject a DICOM file with an element longer than the file, for which GDCM would allocate up to 4 GB.

    The layout of elements is that of DICOM PS3.5, 7.1. Not checked: elements inside a sequence of stated length,
    compressed pixels, and the rare encodings (big-endian, deflated).
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        offset = 132 if data[128:132] == b"DICM" else 0
        if re.search(rb"1\.2\.840\.10008\.1\.2\.(2|1\.99)[\0 ]", data[:1024]):
            return
        implicit = offset == 0 or re.search(rb"1\.2\.840\.10008\.1\.2\0", data[:1024]) is not None
        while offset + 12 <= len(data):
            tag, vr = data[offset : offset + 4], data[offset + 4 : offset + 6]
            if tag[:2] == b"\xfe\xff":  # the start or end of an item, whose elements follow
                start, length = offset + 8, 0
            elif vr in _LONG_VRS:
                start, (length,) = offset + 12, unpack_from("<I", data, offset + 8)
            elif vr in _SHORT_VRS:
                start, (length,) = offset + 8, unpack_from("<H", data, offset + 6)
            elif implicit:
                start, (length,) = offset + 8, unpack_from("<I", data, offset + 4)
            else:
                raise ImageError(f"expected a DICOM file, found damage at byte {offset}", path)
            if length == 0xFFFFFFFF:
                if tag == b"\xe0\x7f\x10\0":  # compressed pixels, to the end of the file
                    return
                length = 0
            offset = start + length
        if offset > len(data):
            raise ImageError("is cut short, or an element in it says that it is longer than the file", path)
