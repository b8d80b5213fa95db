"""Whether a medical file is whole, and holds its own pixels, before a library in C is let at it.

Those libraries read other files where a header names them, take what is missing for zeros, print to the process's
stderr, make room for as much as a header claims, or write beyond their memory.
"""

import gzip
import math
import mmap
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from struct import pack, unpack_from

from aurora.errors import ImageError

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


def require_sound(path: Path, reader: str) -> None:
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
