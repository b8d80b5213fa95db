"""Mixed-task batches, read and augmented in threads ahead of the network."""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aurora.tasks import Task, TaskType
from training.config import FitConfig
from training.data import Case, Sample, load_sample
from training.sampler import TaskSampler

# Batches on their way while one is computed; fixed, because the sampler draws that far ahead.
AHEAD = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as the network and the losses want them.

    `images` (B, H, W, 3) uint8; `rows` the image of every row by type, (R,) int64; `targets` by task: which
    of its type's rows are the task's, a slice of n, and their targets, (n, ...).
    """

    images: Tensor
    rows: dict[TaskType, Tensor]
    targets: dict[Task, tuple[slice, Tensor]]


def collate(samples: Sequence[Sample]) -> Batch:
    """One batch of samples of any tasks; a task's samples are brought together."""
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
    return Batch(torch.from_numpy(np.stack(images)), {k: torch.tensor(v) for k, v in rows.items()}, targets)


def _stack(targets: Sequence[np.ndarray]) -> Tensor:
    stacked = torch.from_numpy(np.stack(targets))
    return stacked.float() if stacked.is_floating_point() else stacked


class Feed:
    """An endless stream of batches drawn by a task sampler; the same for the same seed and losses."""

    def __init__(self, cases: Sequence[Case], sampler: TaskSampler, config: FitConfig) -> None:
        self.by_task: Mapping[str, list[Case]] = defaultdict(list)
        for case in cases:
            self.by_task[case.task.id].append(case)
        self.sampler, self.config = sampler, config
        self.rng = np.random.default_rng(config.seed)

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(self.config.loader_threads) as pool:
            waiting: deque[list[Future[Sample]]] = deque()
            try:
                while True:
                    while len(waiting) < AHEAD:
                        waiting.append([pool.submit(load_sample, *draw) for draw in self._draw()])
                    yield collate([future.result() for future in waiting.popleft()])
            finally:
                pool.shutdown(cancel_futures=True)

    def _draw(self) -> list[tuple[Case, tuple[int, int], np.random.Generator | None]]:
        drawn = []
        for name in self.sampler.draw(self.config.batch_size, self.rng):
            case = self.by_task[name][self.rng.integers(len(self.by_task[name]))]
            # Each sample has its own generator, so that threads can't change what it becomes.
            own = np.random.default_rng(self.rng.integers(2**63)) if self.config.augment else None
            drawn.append((case, self.config.image_size, own))
        return drawn
