"""Images read in threads ahead of the model, in order, with a bounded number on their way."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aurora.ahead import ahead
from aurora.frames import Framed, read_frame, read_size
from inference.plan import Job

THREADS = 2


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job with its image."""

    job: Job
    image: Framed


def prefetch(jobs: Iterable[Job], root: Path, frame: tuple[int, int], limit: int) -> Iterator[Loaded]:
    """The jobs in order with their images; at most `limit` are held beyond the one that is given."""
    return ahead(partial(load, root=root, frame=frame), jobs, limit, THREADS)


def load(job: Job, root: Path, frame: tuple[int, int]) -> Loaded:
    """Read one job's image, or its size alone where the model can't answer; nothing is raised."""
    row = job.requests[0].row
    return Loaded(job, read_frame(root, row, frame) if job.answerable else read_size(root, row))
