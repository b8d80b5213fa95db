"""Read the values of NIfTI, MetaImage and NRRD files as they are stored, without their geometry.

The headers are parsed here and the values are read by numpy, because SimpleITK refuses a sheared affine, doesn't notice
that a compressed file ends behind the slice, and follows a header to other files. To read 400 compressed slices of
512x512 one by one it takes 100 seconds instead of 0.9, and for one slice of such an NRRD volume 205 MB instead of 2.
Formats: nifti1.h and nifti2.h of the NIfTI Data Format Working Group, the MetaIO documentation of ITK, and the
definition of NRRD in teem.
"""

import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from struct import pack, unpack_from

import numpy as np

from aurora.errors import ImageError

#: An image with more pixels isn't decoded: a file of a few hundred kilobytes can unpack to gigabytes.
MAX_PIXELS = 100_000_000
#: A volume with more voxels isn't decoded: to read one slice, a compressed volume is unpacked up to its end.
MAX_VOXELS = 1 << 30
#: The longest text header that is read, in bytes.
MAX_HEADER = 1 << 16
#: The first bytes of a gzip stream.
GZIP = b"\x1f\x8b"

_ELSEWHERE = "is a header whose pixels are in another file; save header and pixels as one file ({})"
_CUT, _DAMAGED = "can't be decoded, the file is truncated", "can't be decoded, the file is damaged"
# The name of the first field varies; every header has the number of dimensions.
_META = re.compile(rb"\s*(?:\w+[ \t]*[=:].*?\n[ \t]*)?NDims[ \t]*[=:]", re.DOTALL)
_META_TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_NRRD_TYPES = {
    **{"signed char": "i1", "uchar": "u1", "unsigned char": "u1", "float": "f4", "double": "f8"},
    **{f"{sign}short{end}": "i2" for sign in ("", "signed ") for end in ("", " int")},
    **{f"{sign}{name}": code for sign in ("", "signed ") for name, code in (("int", "i4"), ("long long", "i8"))},
    **{"ushort": "u2", "unsigned short": "u2", "unsigned short int": "u2", "uint": "u4", "unsigned int": "u4"},
    **{"longlong": "i8", "long long int": "i8", "ulonglong": "u8", "unsigned long long": "u8"},
    **{
        f"{kind}int{bits}{end}": f"{kind or 'i'}{bits // 8}"
        for kind in ("", "u")
        for bits in (8, 16, 32, 64)
        for end in ("", "_t")
    },
}
# The type codes of NIfTI: numpy's type and the number of channels.
_NIFTI_TYPES = {
    **{2: ("u1", 1), 4: ("i2", 1), 8: ("i4", 1), 16: ("f4", 1), 64: ("f8", 1), 128: ("u1", 3), 256: ("i1", 1)},
    **{512: ("u2", 1), 768: ("u4", 1), 1024: ("i8", 1), 1280: ("u8", 1), 2304: ("u1", 4)},
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file stores its values.

    Attributes:
        dtype: the type of a value, with its byte order.
        size: the number of values along each axis, at least two; the first axis changes fastest.
        channels: the number of values per voxel that are stored together.
        start: the offset of the first value, in bytes, in the file or in what its stream unpacks to.
        stream: the offset of a zlib or gzip stream that holds the values; None if they aren't compressed.
        scale: the slope and intercept that the header states for the values.
        volumes: the number of values per voxel that are stored apart, as volumes one after the other.
    """

    dtype: np.dtype
    size: tuple[int, ...]
    channels: int
    start: int
    stream: int | None
    scale: tuple[float, float] = (1.0, 0.0)
    volumes: int = 1

    @property
    def axes(self) -> tuple[int, ...]:
        """The size with the number of values per voxel, if there are several."""
        return tuple(extent for axis, extent in enumerate((*self.size, self.components)) if axis < 2 or extent > 1)

    @property
    def components(self) -> int:
        """The number of values per voxel: 3 or 4 are colours, and of others the first is read."""
        return self.channels * self.volumes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What isn't read of a voxel, in plain words."""
        count = self.components
        return () if count in (1, 3, 4) else (f"the first one of {count} values per pixel was taken",)

    @property
    def slice_size(self) -> tuple[int, int]:
        """(height, width) of a slice."""
        return self.size[1], self.size[0]

    @property
    def slices(self) -> int:
        """The number of slices."""
        return math.prod(self.size[2:])

    @property
    def middle(self) -> int:
        """The number, from 0, of the slice that is in the middle of all further axes."""
        middle = 0
        for extent in self.size[:1:-1]:
            middle = middle * extent + extent // 2
        return middle


def format_of(head: bytes) -> str | None:
    """Return "NIfTI", "MetaImage" or "NRRD" by a file's first bytes, also if they are those of a gzip stream."""
    if head.startswith(GZIP):
        head = _unpacked_head(head)
        return "NIfTI" if _is_nifti(head) else None
    if _is_nifti(head):
        return "NIfTI"
    if head.startswith(b"NRRD000"):
        return "NRRD"
    return "MetaImage" if _META.match(head) else None


def _unpacked_head(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(47).decompress(head, 600)
    except zlib.error:
        return b""


def _is_nifti(head: bytes) -> bool:
    version_1 = head[:4] in (pack("<i", 348), pack(">i", 348))
    return version_1 or (head[:4] in (pack("<i", 540), pack(">i", 540)) and head[4:7] in (b"n+2", b"ni2"))


def read_layout(file: FileIO, path: Path) -> Layout:
    """Parse the header of an open NIfTI, MetaImage or NRRD file.

    Raises:
        ImageError: the header is damaged, its pixels are in another file, or they are stored in a way that isn't read.
    """
    head = file.read(MAX_HEADER)
    parse = _PARSERS[format_of(head) or "MetaImage"]
    try:
        layout = parse(head, path)
    except (KeyError, ValueError, struct.error, OverflowError) as error:
        found = f"one that isn't read: {error}" if isinstance(error, ValueError) else "a damaged one"
        raise ImageError(f"expected the header of a volume, found {found}", path) from None
    if len(layout.size) < 2 or min(*layout.size, layout.components) < 1 or layout.start < 0:
        raise ImageError(f"its header states the size {'x'.join(map(str, layout.size))}", path)
    return layout


def read_middle(file: FileIO, layout: Layout, path: Path) -> np.ndarray:
    """Read the middle slice of a volume, along its last axes; see `read_slices`.

    Raises:
        ImageError: the volume is too large, or the file is truncated or damaged.
    """
    require_moderate(layout.axes, path)
    # The last slice shows whether the file is complete.
    slices = []
    for found in read_slices(file, layout, path, sorted({layout.middle, layout.slices - 1})):
        if isinstance(found, ImageError):
            raise found
        slices.append(found)
    return slices[0]


def read_slices(file: FileIO, layout: Layout, path: Path, numbers: Iterable[int]) -> Iterator[np.ndarray | ImageError]:
    """Yield slices of a volume, (height, width) or (height, width, 3), as stored, or why there are none.

    Only one slice is in memory at a time. The values are float64 if the header states a scale.

    Args:
        file: the open file.
        layout: what its header says.
        path: the file's name, for messages.
        numbers: the slices, from 0 and ascending; those of several axes are counted through, the last axis slowest.
    """
    if layout.volumes == 1:
        found: Iterable[Sequence[bytes | str]] = ([part] for part in _parts(file, layout, numbers))
    else:
        # The values of a slice lie far apart, so that each slice takes a pass through a compressed stream.
        volumes = range(3 if layout.volumes in (3, 4) else 1)
        apart = ([number + volume * layout.slices for volume in volumes] for number in numbers)
        found = (list(_parts(file, layout, parts)) for parts in apart)
    for parts in found:
        problem = next((part for part in parts if isinstance(part, str)), None)
        if problem is None:
            yield _pixels([part for part in parts if isinstance(part, bytes)], layout)
        else:
            yield ImageError(problem, path, layout.slice_size)


def _parts(file: FileIO, layout: Layout, numbers: Iterable[int]) -> Iterator[bytes | str]:
    """Yield the bytes of slices of the volumes, counted through, by ascending numbers, or what is wrong."""
    height, width = layout.slice_size
    length = height * width * layout.channels * layout.dtype.itemsize
    begins = (layout.start + number * length for number in numbers)
    if layout.stream is None:
        yield from (_plain_bytes(file, begin, length) for begin in begins)
    else:
        file.seek(layout.stream)
        yield from _stream_bytes(file, begins, length, layout.start + layout.slices * layout.volumes * length)


def _pixels(parts: Sequence[bytes], layout: Layout) -> np.ndarray:
    """Return the values of a slice, (height, width) or (height, width, 3), from its part of each volume."""
    size = (*layout.slice_size, layout.channels)
    pixels = np.concatenate([np.frombuffer(part, layout.dtype).reshape(size) for part in parts], axis=-1)
    pixels = pixels.astype(layout.dtype.newbyteorder("="), copy=False)
    pixels = pixels[..., :3] if layout.components in (3, 4) else pixels[..., 0]
    slope, intercept = layout.scale
    return pixels if (slope, intercept) == (1.0, 0.0) else pixels * np.float64(slope) + intercept


def require_moderate(size: tuple[int, ...], path: Path) -> None:
    """Raise `ImageError` unless a volume of `size` (width, height, ...) is small enough to be read."""
    if size[0] * size[1] > MAX_PIXELS or math.prod(size) > MAX_VOXELS:
        raise ImageError(f"its size {'x'.join(map(str, size))} is more than is read", path, (size[1], size[0]))


def _plain_bytes(file: FileIO, begin: int, length: int) -> bytes | str:
    if begin + length > os.fstat(file.fileno()).st_size:  # before so much memory is allocated
        return _CUT
    file.seek(begin)
    content = file.read(length)
    return content if len(content) == length else _CUT


def _stream_bytes(file: FileIO, begins: Iterable[int], length: int, end: int) -> Iterator[bytes | str]:
    """Unpack the stream at the file's position once; yield `length` bytes from each of `begins`, or what is wrong.

    With the last bytes before `end` the checksum is read too, but no more than a little of what may follow it.
    """
    chunks, problem = _unpacked(file), _CUT
    content, position = bytearray(), 0  # `position` is that of the first byte of `content`
    for begin in begins:
        wanted = begin + length + (MAX_HEADER if begin + length == end else 0)
        try:
            while position + len(content) < wanted and (chunk := next(chunks, None)) is not None:
                content += chunk
                passed = min(max(0, begin - position), len(content))
                del content[:passed]
                position += passed
            piece = bytes(content[begin - position : begin - position + length])
            yield piece if len(piece) == length else problem
        except zlib.error:
            problem = _DAMAGED
            yield problem


def _unpacked(file: FileIO) -> Iterator[bytes]:
    """Yield what the zlib or gzip streams from the file's position on unpack to, in pieces of at most 16 MiB."""
    unpacker = zlib.decompressobj(47)  # of either kind
    while packed := file.read(1 << 14):  # deflate shrinks at most to a thousandth
        while packed:
            yield unpacker.decompress(packed)
            packed = unpacker.unused_data.lstrip(b"\0") if unpacker.eof else b""
            if unpacker.eof:
                unpacker = zlib.decompressobj(47)


def _parse_nifti(head: bytes, path: Path) -> Layout:
    packed = head.startswith(GZIP)
    head = _unpacked_head(head) if packed else head
    order = "<" if head[:4] in (pack("<i", 348), pack("<i", 540)) else ">"
    if unpack_from(order + "i", head)[0] == 348:
        magic, dim = head[344:348], unpack_from(order + "8h", head, 40)
        (code,), (start,) = unpack_from(order + "h", head, 70), unpack_from(order + "f", head, 108)
        scale = unpack_from(order + "2f", head, 112)
    else:
        magic, dim = head[4:8], unpack_from(order + "8q", head, 16)
        (code,), (start,) = unpack_from(order + "h", head, 12), unpack_from(order + "q", head, 168)
        scale = unpack_from(order + "2d", head, 176)
    if magic[:3] not in (b"n+1", b"n+2"):
        raise ImageError(_ELSEWHERE.format(".nii"), path)
    if code not in _NIFTI_TYPES:
        raise ValueError(f"the type of its values is {code}")
    name, channels = _NIFTI_TYPES[code]
    if channels > 1 or not scale[0] or not all(map(math.isfinite, scale)):
        scale = (1.0, 0.0)
    size = tuple(max(1, extent) if axis > 1 else extent for axis, extent in enumerate(dim[1 : 1 + dim[0]]))
    # The fifth axis counts the values of a voxel (nifti1.h, "dim[5]").
    volumes, size = (size[4], size[:4]) if len(size) == 5 and channels == 1 else (1, size)
    return Layout(np.dtype(order + name), size, channels, int(start), 0 if packed else None, scale, volumes)


def _parse_metaimage(head: bytes, path: Path) -> Layout:
    text, found, _ = head.partition(b"ElementDataFile")
    line, _, _ = head[len(text) :].partition(b"\n")
    fields = _fields(text, "=:")
    if not found or re.split(rb"[=:]", line)[-1].strip().upper() != b"LOCAL":
        raise ImageError(_ELSEWHERE.format(".mha"), path)
    if fields.get("BinaryData", "").lower() != "true":
        raise ValueError("its pixels are text")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "")).lower() == "true"
    body = len(text) + len(line) + 1 + max(0, int(fields.get("HeaderSize", "0")))
    packed = fields.get("CompressedData", "").lower() == "true"
    return Layout(
        np.dtype((">" if big else "<") + _known(_META_TYPES, fields["ElementType"])),
        tuple(map(int, fields["DimSize"].split())),
        int(fields.get("ElementNumberOfChannels", "1")),
        *((0, body) if packed else (body, None)),
    )


def _parse_nrrd(head: bytes, path: Path) -> Layout:
    text = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    fields = {name.lower(): value for name, value in _fields(text, ":").items()}
    if "data file" in fields or "datafile" in fields:
        raise ImageError(_ELSEWHERE.format(".nrrd"), path)
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz") or any(int(fields.get(f"{unit} skip", "0")) for unit in ("byte", "line")):
        raise ValueError(f"the encoding of its pixels is {encoding}")
    size = tuple(map(int, fields["sizes"].split()))
    kind = fields.get("kinds", "").lower().split(" ")[0]
    # The channels of colours are the first axis.
    channels, size = (size[0], size[1:]) if re.search("color|vector", kind) else (1, size)
    body = len(text) + len(re.match(rb"(?:\r?\n){0,2}", head[len(text) :])[0])  # type: ignore[index]
    order = ">" if fields.get("endian", "").lower() == "big" else "<"
    dtype = np.dtype(order + _known(_NRRD_TYPES, fields["type"].lower()))
    return Layout(dtype, size, channels, *((body, None) if encoding == "raw" else (0, body)))


def _fields(text: bytes, separators: str) -> dict[str, str]:
    """Return the fields of a header of lines "name = value"."""
    lines = re.findall(rf"(?m)^[ \t]*([\w ]+?)[ \t]*[{separators}]=?(.*?)\r?$", text.decode("latin-1"))
    return {name: value.strip() for name, value in lines}


def _known(types: Mapping[str, str], name: str) -> str:
    if name not in types:
        raise ValueError(f"the type of its values is {name[:40]}")
    return types[name]


_PARSERS: Mapping[str, Callable[[bytes, Path], Layout]] = {
    "NIfTI": _parse_nifti,
    "MetaImage": _parse_metaimage,
    "NRRD": _parse_nrrd,
}
