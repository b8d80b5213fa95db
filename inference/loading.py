"""A job with its image, read for the model."""

from dataclasses import dataclass
from pathlib import Path

from aurora.frames import Framed, read_frame, read_size
from inference.plan import Job


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job with its image."""

    job: Job
    image: Framed


def load(job: Job, root: Path, frame: tuple[int, int]) -> Loaded:
    """Read one job's image, or its size alone where the model can't answer; nothing is raised."""
    row = job.requests[0].row
    return Loaded(job, read_frame(root, row, frame) if job.answerable else read_size(root, row))
