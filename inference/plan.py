"""The plan of a run: its settings, its shard, and the rows of each image.

An image that several rows name is read and encoded once.
"""

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

#: The variables in which schedulers pass the index and number of processes, and the first index. The first entry whose
#: variables are set is used, so that arrays of torchrun jobs aren't supported.
ENVIRONMENTS = (
    ("RANK", "WORLD_SIZE", 0),  # torchrun
    (
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_COUNT",
        None,
    ),  # sbatch --array, from SLURM_ARRAY_TASK_MIN
    ("SLURM_PROCID", "SLURM_NTASKS", 0),  # srun
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", 0),  # a Kubernetes indexed job that sets JOB_COMPLETIONS
)


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard number `index`, from 1, of `count` shards."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard in a text like "2/7", or, for "auto", the one that the environment names.

        Raises:
            UsageError: the text is neither, or the environment names no shard.
        """
        if text == "auto":
            return cls._from_environment(os.environ)
        numbers = re.fullmatch(r"(\d+)/(\d+)", text)
        if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
            raise UsageError(f"expected --shard I/N with I from 1 to N, or auto, found {text!r}")
        return cls(int(numbers[1]), int(numbers[2]))

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
    """One job per image, in the order of the images' first rows; the rows are read again for each pass over the jobs.

    Args:
        rows: the cases.
        tasks: the tasks of the weights.
        limit: the number of rows to predict, from the first; all by default.
    """

    def __init__(self, rows: RowIndex, tasks: Registry, limit: int | None = None) -> None:
        self.rows, self.tasks = rows, tasks
        images = np.array(rows.images[:limit])
        self.row_count = len(images)
        _, first_row, image_of_row = np.unique(images, return_index=True, return_inverse=True)
        # An image's job is the rank of its first row among the first rows of all images.
        job_of_image = np.empty(len(first_row), int)
        job_of_image[np.argsort(first_row)] = np.arange(len(first_row))
        job_of_row = job_of_image[image_of_row]
        #: The rows' numbers, sorted by job and then by number; and where in that order each job ends.
        self.order = np.argsort(job_of_row, kind="stable")
        self.ends = np.cumsum(np.bincount(job_of_row))

    def __len__(self) -> int:
        return len(self.ends)

    def keep(self, shard: Shard, batch_size: int) -> None:
        """Keep only the jobs of one shard: whole batches, the same as those of the undivided run."""
        batches = -(-len(self) // batch_size)
        bounds = np.concatenate([[0], self.ends])
        first, last = (
            min(batches * index // shard.count * batch_size, len(self)) for index in (shard.index - 1, shard.index)
        )
        self.order = self.order[bounds[first] : bounds[last]]
        self.ends = self.ends[first:last] - bounds[first]
        self.row_count = len(self.order)

    def jobs(self, start: int = 0) -> Iterator[Job]:
        """Yield the jobs from number `start`; raise `InputError` if a CSV file has changed since it was read."""
        bounds = np.concatenate([[0], self.ends])[min(start, len(self)) :].tolist()
        rows = self.rows.read(map(int, self.order[bounds[0] :]))
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
    fast: bool = False
