"""Which image answers which rows: an image that several rows use is read and encoded once."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Self

import numpy as np

from aurora.engine.base import EngineName
from aurora.errors import UsageError
from aurora.predict.request import Job, request_of
from aurora.rows import RowIndex
from aurora.tasks import Registry

#: Where schedulers say which of how many a process is: the variables of index and count, and the first index. The first
#: that is set counts: an array of torchrun jobs is not foreseen.
ENVIRONMENTS = (
    ("RANK", "WORLD_SIZE", 0),  # torchrun
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", None),  # sbatch --array, which may begin anywhere
    ("SLURM_PROCID", "SLURM_NTASKS", 0),  # srun
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", 0),  # a Kubernetes indexed job that hands on its `completions`
)


@dataclass(frozen=True, slots=True)
class Shard:
    """Number `index`, from 1, of `count` shards."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard in a text like 2/7, or, for "auto", the one that the environment names.

        Raises:
            UsageError: it is neither.
        """
        if text == "auto":
            return cls._from_environment(os.environ)
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"expected --shard I/N with I from 1 to N, or auto, found {text!r}")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def _from_environment(cls, variables: Mapping[str, str]) -> Self:
        for index, count, first in ENVIRONMENTS:
            if index in variables and count in variables:
                start = int(variables.get("SLURM_ARRAY_TASK_MIN", 0)) if first is None else first
                return cls.parse(f"{int(variables[index]) - start + 1}/{variables[count]}")
        names = "; ".join(f"{index} and {count}" for index, count, _ in ENVIRONMENTS)
        raise UsageError(f"--shard auto expects a scheduler's variables, found none of: {names}; name the shard as I/N")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class Plan:
    """One job per image, in the order in which the images first occur; rows are read again as the jobs are.

    Args:
        rows: the cases.
        tasks: what the weights can answer.
        limit: how many of the rows are wanted, from the first; all unless given.
    """

    def __init__(self, rows: RowIndex, tasks: Registry, limit: int | None = None) -> None:
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


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The settings of a run, one per flag of `inference run`, whose help explains them."""

    input: Path
    output: Path
    weights: Path | None = None
    engine: EngineName | None = None
    device: str = "auto"
    batch_size: int | None = None
    limit: int | None = None
    resume: bool = False
    strict: bool = False
    report: Path | None = None
    preview: Path | None = None
    shard: Shard | None = None
