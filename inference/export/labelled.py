"""What every format is written from: a task, and its images with their predictions as labels."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from aurora.images.labels import classes_in
from aurora.kinds.base import Size
from aurora.runtime.folders import link_or_copy
from aurora.tasks import TaskType

#: The endings of image files that browsers and the tools of all formats read; other files are converted.
VIEWABLE = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
#: The most bytes of an image's name without its ending: a file system allows 255, and formats append to the name.
LONGEST_STEM = 200

Box = tuple[float, float, float, float]


class ExportTask(NamedTuple):
    """A task of a run; `names` are those of the classes (of a mask with the background), the object or the points."""

    id: str
    type: TaskType
    names: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names that annotations have: the background has none."""
        return self.names[1:] if self.type == TaskType.SEGMENTATION else self.names


class LabelledImage(NamedTuple):
    """An image, and its prediction as the one label that isn't None.

    Attributes:
        path: the file.
        stem: its name in the export, without an ending; unique in its task.
        size: height and width in pixels.
        pixels: (H, W, 3) uint8 RGB if the file can't be used as it is and has to be converted to PNG.
        mask: class ids, (H, W) uint8.
        number: the class.
        box: x1, y1, x2, y2 in pixels; whole numbers are the edges of pixels.
        points: x, y in pixels; whole numbers are the centres of pixels.
        score: the confidence in [0, 1], None if the run has written none.
    """

    path: Path
    stem: str
    size: Size
    pixels: np.ndarray | None = None
    mask: np.ndarray | None = None
    number: int | None = None
    box: Box | None = None
    points: Sequence[tuple[float, float]] | None = None
    score: float | None = None

    @property
    def name(self) -> str:
        """The name of the file in the export."""
        return self.stem + (".png" if self.pixels is not None else self.path.suffix.lower())

    def regions(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each class of the mask but the background with its pixels, (H, W) uint8 of 0 and 1."""
        if self.mask is not None:
            for number in sorted(classes_in(self.mask) - {0}):
                yield number, (self.mask == number).view(np.uint8)


#: Puts an image at a path, as a link, a copy or a new PNG file.
Place = Callable[[LabelledImage, Path], None]


def place(image: LabelledImage, path: Path, *, copy: bool) -> None:
    """Link or copy the file of an image to `path`, or write its pixels there as PNG; raise `OSError`."""
    if image.pixels is None:
        link_or_copy(image.path, path, copy=copy)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image.pixels))


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode pixels, (H, W, 3) uint8 RGB, as PNG: grey if all of them are."""
    stored = pixels[..., 0] if is_grey(pixels) else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", stored)[1].tobytes()


def is_grey(pixels: np.ndarray) -> bool:
    """Return whether the three channels of pixels (H, W, 3) are equal."""
    # The pixels of a grey file are one channel, repeated.
    return pixels.strides[2] == 0 or bool((pixels == pixels[..., :1]).all())


def file_stem(path: PurePosixPath) -> str:
    """Return a name without an ending for the image at a path, relative to the input folder.

    Example:
        >>> file_stem(PurePosixPath("images/p1/left side.nii.gz"))
        'p1_left_side'
    """
    folders = path.parts[:-1]
    if folders[:1] == ("images",):  # where `import-data` puts them
        folders = folders[1:]
    name = PurePosixPath(path.name.removesuffix(".gz")).stem
    # A name that begins with a dot is hidden. The end of a long one tells most.
    text = file_name("_".join([*folders, name])).lstrip("._-")
    return text.encode()[-LONGEST_STEM:].decode(errors="ignore") or "image"


def file_name(text: str) -> str:
    """Return a text with _ for everything but letters, digits, _, - and dots."""
    return re.sub(r"[^\w.-]+", "_", text)


def unique(name: str, taken: set[str]) -> str:
    """Return `name`, with a number if it is in `taken` in any letter case, and add it there."""
    candidate, number = name, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate.casefold())
    return candidate
