"""Read the frames of a DICOM file one by one, so that memory doesn't grow with their number.

Each frame is decoded as a file of its own, made of the header and the frame's bytes, by the reader of still images. So
every transfer syntax that it reads is read here, with the same pixels.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, BinaryIO

from aurora.errors import ImageError
from aurora.images.dicom import (
    UNREADABLE,
    Frame,
    decode_frame,
    memory_file,
    require_readable,
    require_safe,
    transfer_syntax,
)

if TYPE_CHECKING:
    from pydicom import Dataset

_LAYOUT = ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation", "NumberOfFrames"]
_RATES = ["FrameTime", "CineRate", "RecommendedDisplayFrameRate"]
_DEFLATED = "1.2.840.10008.1.2.1.99"
_CUT = "can't be decoded, the file is truncated"
_HEAD = 1024
_MAX_FRAME = 1 << 30
_UNDEFINED = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """Where a DICOM file keeps its frames.

    Attributes:
        header: the bytes before the element of the pixels; they state one frame.
        element: the tag and, if it is stored, the type of that element.
        start: the offset of its value in the file.
        count: the number of frames.
        length: the bytes of a frame; None if they are compressed.
        order: the byte order, `<` or `>`.
        fps: frames per second, None if the file doesn't say it.
    """

    header: bytes
    element: bytes
    start: int
    count: int
    length: int | None
    order: str
    fps: float | None


def read_frame_layout(path: Path) -> FrameLayout | None:
    """Read where a DICOM file keeps its frames; None if it has one, or if they can't be read one by one.

    Raises:
        ImageError: the file is dangerous or holds no pixels; see `require_safe`.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        require_safe(data, path)
        if transfer_syntax(data[:_HEAD]) == _DEFLATED:  # pydicom would inflate all of it
            return None
    with path.open("rb") as file:
        try:
            return _layout(file, path)
        except Exception:  # the reader of images reads some headers that pydicom doesn't
            return None


def _layout(file: BinaryIO, path: Path) -> FrameLayout | None:
    from pydicom.dataelem import RawDataElement

    dataset = _header(file)
    stated: object = dataset.get_item("NumberOfFrames")  # with its place in the file
    count = int(dataset.get("NumberOfFrames") or 1)
    if not isinstance(stated, RawDataElement) or count < 2:
        return None
    end = file.tell()
    file.seek(0)
    header = bytearray(file.read(end))
    header[stated.value_tell : stated.value_tell + stated.length] = b"1".ljust(stated.length)
    tag = file.read(4)
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    if tag != pack(order + "HH", 0x7FE0, 0x0010):
        return None
    element = tag if implicit else tag + file.read(4)
    length = None if file.read(4) == _UNDEFINED else _frame_length(dataset)
    require_readable(bytes(header), element + bytes(4), path)  # with no pixels
    return FrameLayout(bytes(header), element, file.tell(), count, length, order, _fps(dataset))


def read_frames(path: Path, layout: FrameLayout, numbers: range) -> Iterator[Frame | ImageError]:
    """Yield frames, ascending numbers from 0, or why there is none; one frame is in memory at a time."""
    with path.open("rb") as file:
        file.seek(layout.start)
        pieces = _compressed(file, layout, numbers, path) if layout.length is None else _plain(file, layout, numbers)
        for number, pixels in zip(numbers, pieces, strict=False):
            try:
                if pixels is None:
                    raise ImageError(_CUT, path)
                yield decode_frame(layout.header, layout.element + pixels, number, path)
            except ImageError as error:
                yield error


@contextmanager
def video_in_dicom(path: Path) -> Iterator[tuple[str, float | None]]:
    """Yield the name of a temporary file with the MPEG video in a DICOM file, and its frames per second, if stated.

    Raises:
        ImageError: the file holds no video.
    """
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    with path.open("rb") as file, memory_file() as (video, name):
        try:
            dataset = _header(file)
            file.seek(12, 1)  # the tag of the pixels, their type and their undefined length
            parse_basic_offsets(file)
            for fragment in generate_fragments(file):
                video.write(fragment)
        except Exception:  # pydicom's errors have no common class
            raise ImageError(UNREADABLE, path) from None
        yield name, _fps(dataset)


def syntax_of(path: Path) -> str:
    """Return the unique identifier of a file's transfer syntax; empty if it states none."""
    with path.open("rb") as file:
        return transfer_syntax(file.read(_HEAD))


def _header(file: BinaryIO) -> "Dataset":
    """Read what says how frames are stored; the file is then at the element of the pixels."""
    import pydicom

    return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_LAYOUT + _RATES)


def _frame_length(dataset: "Dataset") -> int:
    """Return the bytes of a frame that isn't compressed; raise `ValueError` if that is no usable number."""
    bits = int(dataset.Rows * dataset.Columns * dataset.get("SamplesPerPixel", 1) * dataset.BitsAllocated)
    # Two pixels share their colour (PS3.3 C.7.6.3.1.2).
    length, rest = divmod(bits, 12 if dataset.get("PhotometricInterpretation") == "YBR_FULL_422" else 8)
    if rest or dataset.BitsAllocated < 8 or not 0 < length < _MAX_FRAME:
        raise ValueError(f"{bits} bits")
    return length


def _plain(file: BinaryIO, layout: FrameLayout, numbers: range) -> Iterator[bytes | None]:
    assert layout.length is not None
    even = layout.length + layout.length % 2
    for number in numbers:
        file.seek(layout.start + number * layout.length)
        pixels = file.read(layout.length)
        complete = len(pixels) == layout.length
        yield pack(layout.order + "I", even) + pixels.ljust(even, b"\0") if complete else None


def _compressed(file: BinaryIO, layout: FrameLayout, numbers: range, path: Path) -> Iterator[bytes]:
    from pydicom.encaps import generate_fragmented_frames, itemize_fragment

    frames = generate_fragmented_frames(file, number_of_frames=layout.count)
    empty, end = pack("<HHI", 0xFFFE, 0xE000, 0), pack("<HHI", 0xFFFE, 0xE0DD, 0)
    try:
        for fragments in islice(frames, numbers.start, numbers.stop, numbers.step):
            yield _UNDEFINED + empty + b"".join(map(itemize_fragment, fragments)) + end
    except Exception:  # pydicom's errors have no common class
        raise ImageError(UNREADABLE, path) from None


def _fps(dataset: "Dataset") -> float | None:
    """Return the frames per second that the file states, from the time between frames first."""
    try:
        time, *rates = (float(dataset.get(name) or 0) for name in _RATES)
    except (TypeError, ValueError):  # a damaged number
        return None
    return next((rate for rate in (1000 / time if time else 0, *rates) if rate), None)
