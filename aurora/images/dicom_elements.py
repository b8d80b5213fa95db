"""Walk the elements of a DICOM file before GDCM reads it, which allocates what they claim and follows every nesting."""

import mmap
import re
import struct
import zlib
from dataclasses import dataclass, field
from struct import unpack_from
from typing import BinaryIO

# The value representations whose length has 16 bits (PS3.5, table 7.1-2); GDCM reads 32 bits for all others.
_SHORT_VRS = set(re.findall(b"..", b"AEASATCSDADSDTFLFDISLOLTPNSHSLSSSTTMUIULUS"))
_ITEM, _ITEM_END, _SEQUENCE_END, _PIXEL_DATA = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
# What an element may claim beyond the end of the file, in bytes: so much memory does no harm.
_SLACK = 1 << 20
# GDCM calls itself for a sequence in a sequence, and has no stack left at some ten thousand.
_DEEPEST = 100
# GDCM takes about 100 bytes for the smallest element.
_MOST_ELEMENTS = 1 << 20
# A deflated file with a longer header isn't read, because it is in memory twice while it is examined.
_LONGEST_HEADER = 1 << 22
_CHUNK = 1 << 20
# The longest value that is kept, in bytes.
_LONGEST_VALUE = 64

_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS = 0x00280002, 0x00280004, 0x00280008, 0x00280010
_COLUMNS, _ALLOCATED = 0x00280011, 0x00280100
_WANTED = {_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED}
_CLAIM = "is cut short, or an element in it says that it is longer than the file"
_DEEP = f"has sequences in sequences, more than {_DEEPEST} deep"
_MANY = f"has more than {_MOST_ELEMENTS:,} elements"


@dataclass(slots=True)
class Elements:
    """What a walk through a file has found.

    Attributes:
        order: the byte order, `<` or `>`.
        values: the values of some elements that aren't nested, by tag.
        pixels: the offset of the element of the pixels; None if the walk didn't come to it.
        start: the offset of its value.
        length: the length of its value; None if that is undefined, because the pixels are compressed.
        packed: the length of the compressed pixels; 0 if they aren't compressed.
        problem: why the file is dangerous, as a sentence without subject; None if it isn't known to be.
    """

    order: str = "<"
    values: dict[int, bytes] = field(default_factory=dict)
    pixels: int | None = None
    start: int = 0
    length: int | None = None
    packed: int = 0
    problem: str | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of a frame; None if the header doesn't state it."""
        try:
            return self._number(_ROWS), self._number(_COLUMNS)
        except (KeyError, struct.error):
            return None

    @property
    def needed(self) -> int | None:
        """The bytes that all pixels need if they aren't compressed; None if the header doesn't state it."""
        try:
            rows, columns, bits = (self._number(tag) for tag in (_ROWS, _COLUMNS, _ALLOCATED))
            samples = self._number(_SAMPLES) if _SAMPLES in self.values else 1
            frames = int(self.values.get(_FRAMES, b"1").strip(b" \0") or 1)
        except (KeyError, ValueError, struct.error):
            return None
        # Two pixels share their colour (PS3.3 C.7.6.3.1.2).
        halved = self.values.get(_PHOTOMETRIC, b"").startswith((b"YBR_FULL_422", b"YBR_PARTIAL_4"))
        return rows * columns * samples * bits * frames // (12 if halved else 8)

    def _number(self, tag: int) -> int:
        return int(unpack_from(self.order + "H", self.values[tag])[0])


def examine(data: bytes | mmap.mmap, *, implicit: bool, order: str = "<") -> Elements:
    """Walk from element to element up to the pixels, or as far as no doubt arises, laid out as in PS3.5, 7.1.

    Args:
        data: a file, or its beginning.
        implicit: whether its transfer syntax has no value representations.
        order: the byte order of its transfer syntax.
    """
    found = Elements(order)
    limit, offset = len(data) + _SLACK, 132 if data[128:132] == b"DICM" else 0
    implicit |= not offset and not data[4:6].isalpha()
    count, fragments = 0, False  # fragments: the pixels are compressed
    unknown = 0  # the depth inside an element of unknown kind
    ends: list[int | None] = []  # of the sequences and items around an element, None if their length is undefined
    while offset + 12 <= len(data) and any(data[offset : offset + 4]):
        while ends and ends[-1] is not None and offset >= ends[-1]:
            ends.pop()
        count += 1
        if count > _MOST_ELEMENTS or len(ends) > _DEEPEST:
            found.problem = _MANY if count > _MOST_ELEMENTS else _DEEP
            break
        meta = data[offset : offset + 2] == b"\2\0"
        end = "<" if meta else order
        group, number, length = unpack_from(end + "HHI", data, offset)
        tag, vr, start = group << 16 | number, data[offset + 4 : offset + 6], offset + 8
        named, explicit = vr.isalpha() and vr.isupper(), meta or not (implicit or unknown)
        if meta and not named:
            found.problem = _CLAIM  # GDCM takes what follows for a length of 32 bits
            break
        if group == _ITEM >> 16:
            unknown -= unknown > 0 and tag == _SEQUENCE_END
            if tag in (_ITEM_END, _SEQUENCE_END) and ends and ends[-1] is None:
                ends.pop()
        elif explicit and vr in _SHORT_VRS:
            (length,) = unpack_from(end + "H", data, offset + 6)
        elif explicit and named:
            start, (length,) = offset + 12, unpack_from(end + "I", data, start)
        elif named and length > limit:
            break  # it is explicit, against what the file states
        if tag == _PIXEL_DATA and not ends:
            found.pixels, found.start = offset, start
            found.length = None if length == _UNDEFINED else length
        elif tag in _WANTED and not ends and length <= _LONGEST_VALUE:
            found.values[tag] = data[start : start + length]
        if length == _UNDEFINED:
            fragments |= tag == _PIXEL_DATA
            unknown += unknown > 0 or (explicit and vr == b"UN")
        elif length > limit:
            found.problem = _CLAIM
            break
        elif (tag == _PIXEL_DATA and not ends) or (fragments and tag == _SEQUENCE_END):
            break
        begins = data[start : start + 4] == struct.pack(end + "HH", _ITEM >> 16, _ITEM & 0xFFFF)
        nested = (tag == _ITEM and not fragments) or (vr == b"SQ" if explicit else begins)
        if nested or length == _UNDEFINED:
            ends.append(None if length == _UNDEFINED else start + length)
        offset = start + (0 if nested or length == _UNDEFINED else length)
        found.packed = min(offset, len(data)) - found.start if fragments else 0
    return found


def inflate(data: mmap.mmap, syntax: bytes, plain: bytes, file: BinaryIO) -> str | None:
    """Write a deflated DICOM file as a plain one, no more of it than its pixels need.

    Args:
        data: the file.
        syntax: the unique identifier of its transfer syntax.
        plain: that of explicit little endian.
        file: where to write it.

    Returns:
        Why that isn't possible, as a sentence without subject; None if it is.
    """
    begin = 132 if data[128:132] == b"DICM" else 0
    while data[begin : begin + 2] == b"\2\0":
        short = data[begin + 4 : begin + 6] in _SHORT_VRS
        (length,) = unpack_from("<H" if short else "<I", data, begin + (6 if short else 8))
        begin += (8 if short else 12) + length
    meta = data[:begin].replace(syntax, plain.ljust(len(syntax), b"\0"), 1)
    unpacker, packed = zlib.decompressobj(-15), memoryview(data)[begin:]
    try:
        head = meta + unpacker.decompress(packed, _LONGEST_HEADER)
        found = examine(head, implicit=False)
        if found.pixels is None or found.needed is None:
            return found.problem or "has no pixels in the first 4 MiB of what it unpacks to"
        file.write(head)
        rest = found.start + found.needed + _SLACK - len(head)
        while rest > 0 and (piece := unpacker.decompress(unpacker.unconsumed_tail, min(rest, _CHUNK))):
            file.write(piece)
            rest -= len(piece)
    except zlib.error:
        return "can't be decoded, the file is damaged"
    finally:
        packed.release()
    return None


_SIZ = re.compile(rb"\xff\x4f\xff\x51.{4}(.{16}).{16}(..)", re.DOTALL)  # ISO/IEC 15444-1, A.5.1
_SOF_55 = re.compile(rb"\xff\xf7...(..)(..)", re.DOTALL)  # ISO/IEC 14495-1, C.2.2


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) that JPEG 2000 or JPEG-LS data state, by their beginning; None if it is neither."""
    if siz := _SIZ.search(data):
        right, lower, left, upper = struct.unpack(">4I", siz[1])
        # The decoder allocates every component.
        return (lower - upper) * -(-int.from_bytes(siz[2]) // 4), right - left
    sof = _SOF_55.search(data)
    return (int.from_bytes(sof[1]), int.from_bytes(sof[2])) if sof else None
