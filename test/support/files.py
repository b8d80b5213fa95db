"""Small image files, and bytes of them that are wrong on purpose."""

import io
import struct
import zlib

import numpy as np
import PIL.Image

RAMP = np.arange(24 * 40).reshape(24, 40)


def encoded(ending: str, mode: str = "RGB", **options: object) -> bytes:
    """A grey ramp of 40x24 pixels in one of Pillow's formats and modes."""
    buffer = io.BytesIO()
    PIL.Image.fromarray((RAMP // 4).astype(np.uint8)).convert("RGB").convert(mode).save(buffer, ending, **options)
    return buffer.getvalue()


def patched(data: bytes, at: int) -> bytes:
    """The same with all bits of one byte turned over."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """The beginning of a grey PNG file of this size."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def bomb(side: int) -> bytes:
    """A PNG of side x side pixels in a few kilobytes; its pixels end early."""
    return png_header(side, side) + chunk(b"IDAT", zlib.compress(bytes(side * 4000), 1)) + chunk(b"IEND", b"")


def tiff_of_bits(values: np.ndarray, bits: int, photometric: int) -> bytes:
    """A grey TIFF of `bits` per pixel, whose white is zero if `photometric` is 0; the width fills whole bytes."""
    planes = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(*values.shape, 2), axis=2)[..., 16 - bits :]
    data = np.packbits(planes.reshape(len(values), -1), axis=1).tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 122, 277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack(">2sHIH", b"MM", 42, 8, len(tags)) + entries + bytes(4) + data


PNG, JPEG = encoded("PNG"), encoded("JPEG")
