"""DICOM files of 64x64 grey pixels, byte by byte, so that they can claim what isn't true."""

import zlib
from struct import pack

#: Rows and columns of every file.
SIDE = 64
JPEG, JPEG_LS, JPEG_2000, RLE = (f"1.2.840.10008.1.2{end}" for end in (".4.50", ".4.80", ".4.91", ".5"))
EXPLICIT, DEFLATED, BIG_ENDIAN = (f"1.2.840.10008.1.2{end}" for end in (".1", ".1.99", ".2"))
PRIVATE, PIXELS, ITEM, END = 0x00091001, 0x7FE00010, 0xFFFEE000, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF


def element(tag: int, vr: str, value: bytes, order: str = "<", length: int | None = None) -> bytes:
    """Return an element, of which `length` is claimed."""
    value += bytes(len(value) % 2)
    claimed = len(value) if length is None else length
    head = pack(order + "HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    return head + (pack(order + "HI", 0, claimed) if vr in ("OB", "SQ") else pack(order + "H", claimed)) + value


def meta(syntax: str) -> bytes:
    return bytes(128) + b"DICM" + element(0x00020010, "UI", syntax.encode())


def header(order: str = "<", private: bytes = b"", frames: int = 1) -> bytes:
    numbers = {0x00280002: 1, 0x00280010: SIDE, 0x00280011: SIDE, 0x00280100: 8, 0x00280101: 8, 0x00280102: 7}
    shorts = {tag: element(tag, "US", pack(order + "H", number), order) for tag, number in numbers.items()}
    shorts[0x00280004] = element(0x00280004, "CS", b"MONOCHROME2 ", order)
    shorts[0x00280008] = element(0x00280008, "IS", str(frames).encode().ljust(8), order)
    return element(0x00080060, "CS", b"US", order) + private + b"".join(shorts[tag] for tag in sorted(shorts))


def item(value: bytes) -> bytes:
    return pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, len(value)) + value


def compressed(syntax: str, *fragments: bytes) -> bytes:
    parts = b"".join(map(item, (b"", *fragments)))
    end = pack("<HHI", END >> 16, END & 0xFFFF, 0)
    return meta(syntax) + header() + element(PIXELS, "OB", b"", length=UNDEFINED) + parts + end


def plain(private: bytes = b"", frames: int = 1, stored: int = SIDE * SIDE) -> bytes:
    return meta(EXPLICIT) + header(private=private, frames=frames) + element(PIXELS, "OB", bytes(stored))


def deflated(content: bytes, zeros: int = 0, rest: bytes = b"") -> bytes:
    """Deflate a data set with many zeros between two parts of it."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    parts = [packer.compress(content)]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(zeros >> 20)]
    return meta(DEFLATED) + b"".join([*parts, packer.compress(rest), packer.flush()])


def jpeg_ls(side: int) -> bytes:
    frame = b"\xff\xf7" + pack(">HBHHB", 11, 8, side, side, 1) + b"\x01\x11\0"
    return b"\xff\xd8" + frame + b"\xff\xda\0\x08\x01\x01" + bytes(4000) + b"\xff\xd9"


def jpeg_2000(side: int, tile: int) -> bytes:
    size = pack(">HHIIIIIIII", 41, 0, side, side, 0, 0, tile, tile, 0, 0) + b"\0\x01\x07\x01\x01"
    style = b"\xff\x52\0\x0c\0\0\0\x01\0\x05\4\4\0\x01" + b"\xff\x5c\0\x13\x40" + b"\x40" * 16
    return b"\xff\x4f\xff\x51" + size + style + b"\xff\x90\0\x0a\0\0\0\0\0\0\0\x01\xff\x93" + bytes(400) + b"\xff\xd9"


#: Two of these, around an element, are a sequence in a sequence; their ends are missing.
NESTED = element(PRIVATE, "SQ", b"", length=UNDEFINED) + pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)
#: A sequence of an unknown kind and of no stated length.
UNKNOWN = (
    pack("<HH2sHI", PRIVATE >> 16, PRIVATE & 0xFFFF, b"UN", 0, UNDEFINED)
    + item(b"")
    + pack("<HHI", END >> 16, END & 0xFFFF, 0)
)
