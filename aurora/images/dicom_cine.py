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
from aurora.images.dicom import UNREADABLE, Frame, decode_frame, require_safe, temporary_file, transfer_syntax

if TYPE_CHECKING:
    from pydicom import Dataset

_LAYOUT = ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation", "NumberOfFrames"]
_RATES = ["FrameTime", "CineRate", "RecommendedDisplayFrameRate"]
_DEFLATED = "1.2.840.10008.1.2.1.99"
_AT_ONCE = "stores its frames so that they can't be read one by one; name the frame you need as a file of its own"
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
    """Read where a DICOM file keeps its frames; None if it states no more than one.

    Raises:
        ImageError: the header is damaged or dangerous, holds no pixels, or the frames can't be read one by one.
    """
    from pydicom.dataelem import RawDataElement

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        require_safe(data, path)
    with path.open("rb") as file:
        dataset = _header(file, path)
        stated: object = dataset.get_item("NumberOfFrames")  # with its place in the file
        count = _count(dataset)
        if not isinstance(stated, RawDataElement) or count < 2:
            return None
        end = file.tell()
        file.seek(0)
        header = bytearray(file.read(end))
        header[stated.value_tell : stated.value_tell + stated.length] = b"1".ljust(stated.length)
        tag = file.read(4)
        implicit, little = dataset.original_encoding
        order = "<" if little else ">"
        if tag != pack(order + "HH", 0x7FE0, 0x0010) or transfer_syntax(bytes(header[:_HEAD])) == _DEFLATED:
            raise ImageError(_AT_ONCE, path)
        element = tag if implicit else tag + file.read(4)
        length = None if file.read(4) == _UNDEFINED else _frame_length(dataset, path)
        return FrameLayout(bytes(header), element, file.tell(), count, length, order, _fps(dataset))


def read_frames(path: Path, layout: FrameLayout, numbers: range) -> Iterator[Frame | ImageError]:
    """Yield frames, ascending numbers from 0, or why there is none; one frame is in memory at a time."""
    with path.open("rb") as file:
        file.seek(layout.start)
        pieces = _compressed(file, layout, numbers) if layout.length is None else _plain(file, layout, numbers)
        for pixels in pieces:
            try:
                if pixels is None:
                    raise ImageError(_CUT, path)
                yield decode_frame(layout.header, layout.element + pixels, path)
            except ImageError as error:
                yield error


@contextmanager
def video_in_dicom(path: Path) -> Iterator[tuple[str, float | None]]:
    """Yield the name of a temporary file with the MPEG video in a DICOM file, and its frames per second, if stated.

    Raises:
        ImageError: the file holds no video.
    """
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    with path.open("rb") as file, temporary_file() as (video, name):
        dataset = _header(file, path)
        file.seek(12, 1)  # the tag of the pixels, their type and their undefined length
        try:
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


def _header(file: BinaryIO, path: Path) -> "Dataset":
    """Read what says how frames are stored; the file is then at the element of the pixels."""
    import pydicom

    try:
        return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_LAYOUT + _RATES)
    except Exception:  # pydicom's errors have no common class
        raise ImageError(UNREADABLE, path) from None


def _count(dataset: "Dataset") -> int:
    try:
        return int(dataset.get("NumberOfFrames", 1))
    except (TypeError, ValueError):  # a damaged number
        return 1


def _frame_length(dataset: "Dataset", path: Path) -> int:
    """Return the bytes of a frame that isn't compressed."""
    try:
        pixels = dataset.Rows * dataset.Columns
        bits = pixels * dataset.get("SamplesPerPixel", 1) * dataset.BitsAllocated
    except (AttributeError, TypeError):
        raise ImageError(UNREADABLE, path) from None
    if bits % 8 or not 0 < bits < 8 * _MAX_FRAME:
        raise ImageError(_AT_ONCE, path)
    # Two pixels share their colour (PS3.3 C.7.6.3.1.2).
    return bits // 12 if dataset.get("PhotometricInterpretation") == "YBR_FULL_422" else bits // 8


def _plain(file: BinaryIO, layout: FrameLayout, numbers: range) -> Iterator[bytes | None]:
    assert layout.length is not None
    even = layout.length + layout.length % 2
    for number in numbers:
        file.seek(layout.start + number * layout.length)
        pixels = file.read(layout.length)
        complete = len(pixels) == layout.length
        yield pack(layout.order + "I", even) + pixels.ljust(even, b"\0") if complete else None


def _compressed(file: BinaryIO, layout: FrameLayout, numbers: range) -> Iterator[bytes]:
    from pydicom.encaps import generate_fragmented_frames, itemize_fragment

    frames = generate_fragmented_frames(file, number_of_frames=layout.count)
    empty, end = pack("<HHI", 0xFFFE, 0xE000, 0), pack("<HHI", 0xFFFE, 0xE0DD, 0)
    for fragments in islice(frames, numbers.start, numbers.stop, numbers.step):
        yield _UNDEFINED + empty + b"".join(map(itemize_fragment, fragments)) + end


def _fps(dataset: "Dataset") -> float | None:
    """Return the frames per second that the file states, from the time between frames first."""
    time, *rates = (dataset.get(name) for name in _RATES)
    try:
        return next((float(rate) for rate in (1000 / float(time) if time else None, *rates) if rate), None)
    except (TypeError, ValueError):
        return None
