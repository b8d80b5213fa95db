"""Mixed-task batches, read and augmented in threads ahead of the network."""

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aurora.errors import AuroraError, InputError
from aurora.tasks import Task, TaskType
from training.config import FitConfig
from training.data.cases import Case, Sample, load_sample
from training.fit.distributed import ProcessGroup
from training.fit.sampler import TaskSampler

# Batches on their way while one is computed; fixed, because the sampler draws that far ahead.
PREFETCH = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as the network and the losses want them.

    `images` (B, H, W, 3) uint8; `rows` the image of every row by type, (R,) int64; `targets` by task: which
    of its type's rows are the task's, a slice of n, and their targets, (n, ...). A type in `rows` of which there is no
    target is one that other processes have samples of.
    """

    images: Tensor
    rows: dict[TaskType, Tensor]
    targets: dict[Task, tuple[slice, Tensor]]


def collate(samples: Sequence[Sample], kinds: Iterable[TaskType] = ()) -> Batch:
    """One batch of samples of any tasks; a task's samples are brought together. `kinds` are in `rows` at any rate."""
    by_task: dict[Task, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_task[sample.task].append(sample)
    images: list[np.ndarray] = []
    rows: dict[TaskType, list[int]] = defaultdict(list)
    targets = {}
    for task, own in by_task.items():
        start = len(rows[task.type])
        rows[task.type] += range(len(images), len(images) + len(own))
        images += (sample.image for sample in own)
        # A slice, because the gradient of indexing with a list is several times slower on a CPU.
        targets[task] = slice(start, start + len(own)), _stack([sample.target for sample in own])
    for kind in kinds:
        rows[kind] = rows[kind] or [0]
    return Batch(torch.from_numpy(np.stack(images)), {k: torch.tensor(v) for k, v in rows.items()}, targets)


def empty_batch(size: tuple[int, int], kinds: Iterable[TaskType]) -> Batch:
    """A batch without a sample, of one black image of `size` (height, width), for which the heads of `kinds` run."""
    return Batch(torch.zeros(1, *size, 3, dtype=torch.uint8), {kind: torch.tensor([0]) for kind in kinds}, {})


def _stack(targets: Sequence[np.ndarray]) -> Tensor:
    stacked = torch.from_numpy(np.stack(targets))
    return stacked.float() if stacked.is_floating_point() else stacked


#: A case, by its index, and the seed of its augmentation.
SampleSpec = tuple[int, int]


class BatchLoader:
    """An endless stream of batches drawn by a task sampler; the same for the same seed and losses.

    Every process of a group draws the whole batch and reads its own part of it.

    `waited` counts the seconds that the caller spent waiting for a batch; `skipped` tells of each case left out,
    by its index, why. `state` and `restore` make a stream go on where another one was.
    """

    def __init__(self, cases: Sequence[Case], sampler: TaskSampler, config: FitConfig, group: ProcessGroup) -> None:
        self.cases, self.sampler, self.config, self.group = cases, sampler, config, group
        self.by_task: Mapping[str, list[int]] = defaultdict(list)
        for index, case in enumerate(cases):
            self.by_task[case.task.id].append(index)
        self.rng = np.random.default_rng(config.seed)
        self.drawn: deque[list[SampleSpec]] = deque()
        self.skipped: dict[int, str] = {}
        self._told: set[int] = set()
        self.waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(self.config.loader_threads, thread_name_prefix="feed") as pool:
            waiting = deque(self._submit(pool, draws) for draws in self.drawn)
            try:
                while True:
                    while len(waiting) < PREFETCH:
                        self.drawn.append(self._draw())
                        waiting.append(self._submit(pool, self.drawn[-1]))
                    start = time.monotonic()
                    samples = [sample for future in waiting.popleft() if (sample := future.result()) is not None]
                    self.waited += time.monotonic() - start
                    draws = self.drawn.popleft()
                    if self.group.count > 1:
                        # However few samples are left of its part, a process must take part in every step.
                        kinds = sorted({self.cases[index].task.type for index, _ in draws})
                        yield collate(samples, kinds) if samples else empty_batch(self.config.image_size, kinds)
                    elif samples:
                        yield collate(samples)
                    elif len(self.skipped) == len(self.cases):
                        raise InputError(
                            f"expected images that can be read, found none in {len(self.cases)} rows; the last: "
                            f"{next(reversed(self.skipped.values()))}"
                        )
            finally:
                pool.shutdown(cancel_futures=True)

    def newly_skipped(self) -> list[str]:
        """Why cases were left out since the last call, in any process; each must call this."""
        found = self.group.union(dict(self.skipped))  # a copy, since the threads go on
        self.skipped |= found
        new = sorted(found.keys() - self._told)
        self._told.update(new)
        return [found[index] for index in new]

    def state(self) -> dict[str, Any]:
        """What decides the batches to come, JSON-ready: the generator, and what it drew that wasn't given out."""
        return {"rng": self.rng.bit_generator.state, "drawn": list(self.drawn), "left_out": dict(self.skipped)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as the feed that gave `state` would have; to be called before the first batch is taken."""
        self.rng.bit_generator.state = state["rng"]
        self.drawn = deque([(index, seed) for index, seed in draws] for draws in state["drawn"])
        self.skipped = {int(index): why for index, why in state.get("left_out", {}).items()}
        self._told = set(self.skipped)

    def _submit(self, pool: ThreadPoolExecutor, draws: list[SampleSpec]) -> list[Future[Sample | None]]:
        return [pool.submit(self._load, index, seed) for index, seed in draws[self.group.rank :: self.group.count]]

    def _draw(self) -> list[SampleSpec]:
        draws = []
        for name in self.sampler.draw(self.config.batch_size, self.rng):
            index = self.by_task[name][self.rng.integers(len(self.by_task[name]))]
            draws.append((index, int(self.rng.integers(2**63))))
        return draws

    def _load(self, index: int, seed: int) -> Sample | None:
        # Each sample has its own generator, so that threads can't change what it becomes.
        rng = np.random.default_rng(seed)
        case = self.cases[index]
        try:
            return load_sample(case, self.config.image_size, rng, self.config.augment)
        except AuroraError as error:
            if self.config.bad_cases == "error":
                raise
            self.skipped[index] = str(error)
            return None
