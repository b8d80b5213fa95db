"""Read the frames of a video with OpenCV, one after another."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from aurora.errors import ImageError
from aurora.images.headers import require_decodable
from aurora.images.reader import Stored

# FFmpeg's threads print what `caught_stderr` doesn't catch; -8 is its level "quiet".
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_NO_FRAMES = "is a video without a frame that can be decoded; save it again as MP4 or AVI"
_DAMAGED = "can't be decoded, the video is damaged here"
# So many damaged frames in a row are the end.
_PATIENCE = 25


def probe_video(name: str, path: Path) -> tuple[int, float | None]:
    """Return the number of frames of a video, and its frames per second if the file states them.

    The frames are counted one by one, because the number that a file states is often an estimate.

    Args:
        name: the name of the file to open.
        path: its name for messages.

    Raises:
        ImageError: no frame can be decoded, or the frames are too large.
    """
    with _capture(name, path) as capture:
        count = sum(1 for _ in _grabbed(capture))
        if not count:
            raise ImageError(_NO_FRAMES, path)
        return count, capture.get(cv2.CAP_PROP_FPS)


def read_video(name: str, path: Path, numbers: range) -> Iterator[Stored | ImageError]:
    """Yield frames, ascending numbers from 0, or why there is none; see `probe_video`."""
    with _capture(name, path) as capture:
        # Going to a frame by its number is wrong by some frames in many files.
        for number, grabbed in enumerate(_grabbed(capture)):
            if number in numbers:
                decoded, pixels = capture.retrieve() if grabbed else (False, None)
                yield Stored(pixels[..., ::-1]) if decoded and pixels is not None else ImageError(_DAMAGED, path)
            if number >= numbers[-1]:
                return


def _grabbed(capture: cv2.VideoCapture) -> Iterator[bool]:
    """Go from frame to frame up to the last one that can be decoded; yield whether this one can be."""
    failed = 0
    while failed < _PATIENCE:
        if capture.grab():
            # Nothing but a frame that follows tells a damaged frame from the end.
            yield from [False] * failed
            yield True
            failed = 0
        else:
            failed += 1


@contextmanager
def _capture(name: str, path: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise ImageError(_NO_FRAMES, path)
        height, width = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        require_decodable((height, width), path)
        yield capture
    finally:
        capture.release()
