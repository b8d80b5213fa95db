"""Which image answers which rows: an image that several rows use is read and encoded once."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from aurora.requests import Request, request_of
from aurora.rows import RowList
from aurora.tasks import Registry
from inference.shard import Shard


@dataclass(frozen=True, slots=True)
class Job:
    """The rows that want something of one image."""

    requests: list[Request]

    @property
    def answerable(self) -> bool:
        """Whether the model is needed at all."""
        return any(request.refusal is None for request in self.requests)


class Plan:
    """One job per image, in the order in which the images first occur; rows are read again as the jobs are.

    Args:
        rows: the cases.
        tasks: what the weights can answer.
        limit: how many of the rows are wanted, from the first; all unless given.
    """

    def __init__(self, rows: RowList, tasks: Registry, limit: int | None = None) -> None:
        self.rows, self.tasks = rows, tasks
        images = np.array(rows.images[:limit])
        self.row_count = len(images)
        _, first, place = np.unique(images, return_index=True, return_inverse=True)
        # The images sorted by their first row, and the rows sorted by their image.
        job = np.argsort(np.argsort(first))[place]
        self.order = np.argsort(job, kind="stable")
        self.ends = np.cumsum(np.bincount(job))

    def __len__(self) -> int:
        return len(self.ends)

    def keep(self, shard: Shard, batch_size: int) -> None:
        """Leave only the jobs of one shard: whole batches, as the undivided run would make them."""
        batches = -(-len(self) // batch_size)
        bounds = np.concatenate([[0], self.ends])
        first, last = (
            min(batches * part // shard.count * batch_size, len(self)) for part in (shard.index - 1, shard.index)
        )
        self.order = self.order[bounds[first] : bounds[last]]
        self.ends = self.ends[first:last] - bounds[first]
        self.row_count = len(self.order)

    def jobs(self, start: int = 0) -> Iterator[Job]:
        """The jobs from number `start` on; raises `InputError` if a CSV file was changed meanwhile."""
        bounds = np.concatenate([[0], self.ends])[min(start, len(self)) :].tolist()
        rows = self.rows.take(map(int, self.order[bounds[0] :]))
        for begin, end in pairwise(bounds):
            yield Job([request_of(row, self.tasks) for row in islice(rows, end - begin)])
