"""Read files of several frames one frame at a time: cines, videos, animations, stacks of slices or pages."""

import mmap
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path

from aurora.errors import ImageError, UsageError
from aurora.images.contents import is_video
from aurora.images.dicom import Frame, is_mpeg
from aurora.images.dicom_cine import FrameLayout, read_frame_layout, read_frames, syntax_of, video_in_dicom
from aurora.images.headers import HEAD, load, medical_format, opened, read_header, require_decodable
from aurora.images.pages import count_pages, probe_animation, read_animation, read_pages
from aurora.images.reader import Image, Stored, as_image_error, read_stored, shown
from aurora.images.video import probe_video, read_video
from aurora.images.volume import Layout, read_layout, read_slices, require_moderate
from aurora.runtime.c_stderr import caught_stderr

_WHICH = re.compile(r"all|middle|every:[1-9][0-9]*|(?:-?[0-9]+)?:(?:-?[0-9]+)?", re.ASCII)
_ENDS = "can't be decoded, the file ends before this frame"
# A file that states other rates states nonsense.
_SLOWEST, _FASTEST = 0.01, 10_000.0


@dataclass(frozen=True, slots=True)
class Cine:
    """A file with one or more frames.

    Attributes:
        path: the file.
        count: the number of frames.
        middle: the number, from 0, of the frame in the middle.
        fps: frames per second; None if the file doesn't say it.
        video: whether the file is a video, of which `read_image` reads nothing.
    """

    path: Path
    count: int
    middle: int
    fps: float | None
    video: bool
    _read: Callable[[range], Iterator[Stored | ImageError]]

    def images(self, numbers: range) -> Iterator[Image | ImageError]:
        """Yield frames as `read_image` would show them, or the error that says why there is none.

        One frame is in memory at a time; a damaged frame doesn't end the others.

        Args:
            numbers: the numbers of the frames, from 0 and ascending.
        """
        frames = self._read(numbers)
        for _ in numbers:
            with caught_stderr() as printed:
                try:
                    found = next(frames, ImageError(_ENDS, self.path))
                except Exception as error:  # a library's own; the other files still need predictions
                    found = as_image_error(error, self.path)
                    frames = repeat(found)
            yield found if isinstance(found, ImageError) else shown(found, printed)


def open_cine(path: Path) -> Cine:
    """Find out how many frames a file has; a file of a single image has one.

    Kinds: DICOM, also with an MPEG video in it; AVI, MP4, QuickTime, Matroska, WebM and what else OpenCV decodes;
    animated GIF, WebP and PNG; TIFF with several pages; NIfTI, MetaImage and NRRD, whose slices along all further axes
    are counted through, the last axis slowest.

    Raises:
        ImageError: the file can't be opened, or holds no frame.

    Example:
        >>> cine = open_cine(Path("heart.dcm"))
        >>> cine.count, cine.fps
        (64, 50.0)
        >>> for image in cine.images(range(0, cine.count, 2)):
        ...     ...
    """
    real = Path(os.path.realpath(path))
    with opened(real, real.parent) as file:
        head = file.read(HEAD)
    with caught_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's about odd headers
        try:
            return _opened(head, real, path)
        except Exception as error:  # a library's own; the other files still need predictions
            raise as_image_error(error, path) from None


def frame_numbers(which: str, cine: Cine) -> range:
    """Return the numbers of the frames that `which` names: "all", "middle", "every:N", or "A:B" as in Python.

    Raises:
        UsageError: `which` is none of these.

    Example:
        >>> frame_numbers("every:10", cine)  # of 25 frames
        range(0, 25, 10)
    """
    require_frames(which)
    numbers = range(cine.count)
    if which == "middle":
        return numbers[cine.middle : cine.middle + 1]
    if which == "all":
        return numbers
    if which.startswith("every:"):
        return numbers[:: int(which.removeprefix("every:"))]
    first, end = (int(text) if text else None for text in which.split(":"))
    return numbers[first:end]


def require_frames(which: str) -> None:
    """Raise `UsageError` unless `which` names frames as `frame_numbers` takes them."""
    if not _WHICH.fullmatch(which):
        raise UsageError(f"expected frames as all, middle, every:N or A:B, such as every:5 or 10:20, found {which!r}")


def _opened(head: bytes, real: Path, path: Path) -> Cine:
    if is_video(head):
        count, fps = probe_video(str(real), path)
        return Cine(path, count, count // 2, _usable(fps), True, partial(read_video, str(real), path))
    medical = medical_format(head)
    if medical == "DICOM":
        return _dicom(real, path)
    return _volume(real, path) if medical else _picture(real, path)


def _dicom(real: Path, path: Path) -> Cine:
    if is_mpeg(syntax_of(real)):
        with video_in_dicom(real) as (name, stated):
            count, fps = probe_video(name, path)
        return Cine(path, count, count // 2, _usable(stated) or _usable(fps), True, partial(_video_frames, real, path))
    layout = read_frame_layout(real)
    if layout is None:
        return _still(real, path)
    return Cine(path, layout.count, layout.count // 2, _usable(layout.fps), False, partial(_frames, real, layout))


def _video_frames(real: Path, path: Path, numbers: range) -> Iterator[Stored | ImageError]:
    with video_in_dicom(real) as (name, _):
        yield from read_video(name, path, numbers)


def _frames(real: Path, layout: FrameLayout, numbers: range) -> Iterator[Stored | ImageError]:
    for frame in read_frames(real, layout, numbers):
        yield Stored(frame.pixels, (), frame.window, frame.inverted) if isinstance(frame, Frame) else frame


def _volume(real: Path, path: Path) -> Cine:
    with real.open("rb", buffering=0) as file:
        layout = read_layout(file, path)
    require_moderate(layout.axes, path)
    return Cine(path, layout.slices, layout.middle, None, False, partial(_slices, real, layout))


def _slices(real: Path, layout: Layout, numbers: range) -> Iterator[Stored | ImageError]:
    with real.open("rb", buffering=0) as file:
        for found in read_slices(file, layout, real, numbers):
            yield found if isinstance(found, ImageError) else Stored(found, layout.warnings)


def _picture(real: Path, path: Path) -> Cine:
    with real.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header = read_header(data, path)
        tiff = data[:2] in (b"II", b"MM")
    if header.frames < 2:
        return _still(real, path)
    require_decodable(header.size, path)
    if tiff:
        count, fps, read = count_pages(real), None, partial(read_pages, real, header)
    else:
        (count, fps), read = probe_animation(real), partial(read_animation, real)
    return Cine(path, count, count // 2, _usable(fps), False, read) if count > 1 else _still(real, path)


def _still(real: Path, path: Path) -> Cine:
    return Cine(path, 1, 0, None, False, partial(_only_image, real))


def _only_image(real: Path, numbers: range) -> Iterator[Stored | ImageError]:
    yield from (read_stored(load(real, real.parent), real) for _ in numbers)


def _usable(fps: float | None) -> float | None:
    return fps if fps is not None and _SLOWEST <= fps <= _FASTEST else None
