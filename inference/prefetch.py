"""Images read in threads ahead of the model, in order, with a bounded number on their way."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import ImageError
from aurora.images import image_size, read_image
from aurora.rows import image_file
from aurora.transform import to_frame
from inference.plan import Job

THREADS = 2


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job with its image in the model's frame.

    `frame` is (H, W, 3) 8-bit RGB, None if the image can't be read or isn't needed; `size` is the
    original's height and width, None if unknown; `reason` says why there is no image.
    """

    job: Job
    frame: np.ndarray | None
    size: tuple[int, int] | None
    warnings: tuple[str, ...] = ()
    reason: str | None = None


def prefetch(jobs: Sequence[Job], root: Path, size: tuple[int, int], ahead: int) -> Iterator[Loaded]:
    """The jobs in order with their images; at most `ahead` are held beyond the one that is given.

    `size` is the (height, width) of the model's frame.
    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="decode") as pool:
        waiting: deque[Future[Loaded]] = deque()
        upcoming = iter(jobs)
        try:
            for job in upcoming:
                waiting.append(pool.submit(load, job, root, size))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def load(job: Job, root: Path, size: tuple[int, int]) -> Loaded:
    """Read one job's image for a frame of `size` (height, width); what is wrong with it stands in the result."""
    row = job.requests[0].row
    try:
        path = image_file(root, row)
        if not job.answerable:
            return Loaded(job, None, image_size(path, root))
        image = read_image(path, root)
        return Loaded(job, to_frame(image.pixels, size), image.pixels.shape[:2], image.warnings)
    except ImageError as error:
        return Loaded(job, None, _size_from_header(job, root), reason=str(error))
    except Exception as error:  # whatever one image does to a decoder, the others are still to be answered
        return Loaded(job, None, None, reason=f"the image broke its decoder ({type(error).__name__}: {error})")


def _size_from_header(job: Job, root: Path) -> tuple[int, int] | None:
    try:
        return image_size(image_file(root, job.requests[0].row), root)
    except ImageError:
        return None
