"""The frames of a file as images that a model predicts."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aurora.api.scale import Scale, read_scale
from aurora.errors import ImageError
from aurora.images.cine import Cine, frame_numbers, open_cine
from aurora.images.reader import Image


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a file; models take it as an image.

    Attributes:
        path: the file.
        number: the frame's number, from 0; None where the file has no frame to number.
        content: the pixels, (H, W, 3) uint8 RGB, and warnings, or the error that says why there are none.
        scale: what the file says about the size of its pixels.
    """

    path: Path
    number: int | None
    content: Image | ImageError
    scale: Scale


def frames(path: str | os.PathLike[str], which: str = "all") -> Iterator[Frame]:
    """Yield frames of a file, one at a time, as `Model.predict_many` takes them.

    A frame that can't be read is yielded too; its results are fallbacks.

    Args:
        path: a file of any kind that `aurora.images.cine.open_cine` reads; a file of a single image has one frame.
        which: "all", "middle", "every:N" for each Nth, or "A:B" as in Python, counted from 0.

    Raises:
        ImageError: the file can't be opened, or holds no frame.
        UsageError: `which` is none of these.

    Example:
        >>> for (head,) in model.predict_many(frames("sweep.dcm", "every:5"), "fetal_head"):
        ...     print(head.frame, head.answer)
    """
    cine = open_cine(Path(path))
    yield from frames_of(cine, frame_numbers(which, cine))


def frames_of(cine: Cine, numbers: range) -> Iterator[Frame]:
    """Yield frames of an open file by their ascending numbers, from 0; see `frames`."""
    scale = read_scale(cine.path)
    for number, content in zip(numbers, cine.images(numbers), strict=True):
        yield Frame(cine.path, number, content, scale)
