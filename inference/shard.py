"""A run divided among processes or machines, each of which answers one shard."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from aurora.errors import UsageError

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
