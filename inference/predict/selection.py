"""Choose the images that are predicted of each file that a user names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aurora.api.cine import Frame, frames_of
from aurora.api.images import ImageLike
from aurora.api.scale import Scale
from aurora.errors import ImageError
from aurora.images.cine import Cine, frame_numbers, open_cine
from inference.predict.sources import ImageSource


@dataclass(frozen=True, slots=True)
class Selection:
    """The images that are predicted of a source.

    Attributes:
        source: the file.
        cine: its frames; None if it is read as a single image.
        numbers: the numbers of the chosen frames, from 0.
        problem: why the file has no frame to predict.
        others: whether the file has frames that nobody was asked about.
    """

    source: ImageSource
    cine: Cine | None = None
    numbers: range = range(0)
    problem: ImageError | None = None
    others: bool = False

    @property
    def frames(self) -> list[int | None]:
        """The numbers of the images in their file; None for an image that isn't a numbered frame."""
        return [*self.numbers] or [None]

    @property
    def several(self) -> bool:
        """Whether several frames are predicted, which share one video, one curve and one record."""
        return len(self.numbers) > 1

    @property
    def fps(self) -> float | None:
        """Chosen frames per second; None if the file doesn't say how fast its frames follow each other."""
        return self.cine.fps / self.numbers.step if self.cine and self.cine.fps else None

    def images(self) -> Iterator[ImageLike]:
        """Yield the images, one for each of `frames`."""
        if self.problem:
            yield Frame(self.source.path, None, self.problem, Scale())
        elif self.cine:
            yield from frames_of(self.cine, self.numbers)
        else:
            yield self.source.path


def select(sources: Iterable[ImageSource], which: str | None) -> list[Selection]:
    """Open every source and choose its images.

    Args:
        sources: the files.
        which: the frames; see `frame_numbers`. None means one image of each file: that of `read_image`, or the middle
            frame of a video.
    """
    return [_selection(source, which) for source in sources]


def _selection(source: ImageSource, which: str | None) -> Selection:
    try:
        cine = open_cine(source.path)
    except ImageError as error:
        return Selection(source, problem=error)
    if not cine.video and (which is None or cine.count == 1):
        return Selection(source, others=cine.count > 1)
    numbers = frame_numbers(which or "middle", cine)
    if not numbers:
        problem = ImageError(f"expected the frames {which}, found {cine.count} frames; choose others", source.path)
        return Selection(source, problem=problem)
    return Selection(source, cine, numbers, others=which is None and cine.count > 1)
