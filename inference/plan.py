"""Which image answers which rows: an image that several rows use is read and encoded once."""

from collections.abc import Iterable
from dataclasses import dataclass

from aurora.requests import Request, request_of
from aurora.rows import Row
from aurora.tasks import Registry


@dataclass(frozen=True, slots=True)
class Job:
    """The rows that want something of one image."""

    requests: list[Request]

    @property
    def answerable(self) -> bool:
        """Whether the model is needed at all."""
        return any(request.refusal is None for request in self.requests)


def plan(rows: Iterable[Row], tasks: Registry) -> list[Job]:
    """One job per image, in the order in which the images first occur."""
    jobs: dict[str, Job] = {}
    for row in rows:
        job = jobs.setdefault(row.image_path, Job([]))
        job.requests.append(request_of(row, tasks))
    return list(jobs.values())
