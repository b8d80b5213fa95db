"""Load mixed-task batches, reading and augmenting samples in threads while the network computes."""

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
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

# Batches in flight; fixed, because the sampler draws this far ahead and the draws must not depend on the machine.
PREFETCH = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples in the form that the network and the losses expect.

    Attributes:
        images: (B, H, W, 3) uint8.
        rows: for each type the image of each row, (R,) int64.
        targets: for each task its slice of n rows among its type's, and their targets (n, ...). Only other
            processes have samples of a type in `rows` without a target.
    """

    images: Tensor
    rows: dict[TaskType, Tensor]
    targets: dict[Task, tuple[slice, Tensor]]


def collate(samples: Sequence[Sample], task_types: Iterable[TaskType] = ()) -> Batch:
    """Return one batch, with each task's rows next to each other; `task_types` get a row even without a sample."""
    by_task: dict[Task, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for index, sample in enumerate(samples):
        for task, target in sample.targets.items():
            by_task[task].append((index, target))
    rows: dict[TaskType, list[int]] = defaultdict(list)
    targets = {}
    for task, labelled in by_task.items():
        start = len(rows[task.type])
        rows[task.type] += (index for index, _ in labelled)
        # A slice, because the gradient of indexing with a list is several times slower on a CPU.
        targets[task] = slice(start, start + len(labelled)), _stack([target for _, target in labelled])
    for task_type in task_types:
        rows[task_type] = rows[task_type] or [0]
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Batch(images, {task_type: torch.tensor(index) for task_type, index in rows.items()}, targets)


def empty_batch(size: tuple[int, int], task_types: Iterable[TaskType]) -> Batch:
    """Return a batch without samples: a black image of `size` (height, width), with a row for each of `task_types`."""
    rows = {task_type: torch.tensor([0]) for task_type in task_types}
    return Batch(torch.zeros(1, *size, 3, dtype=torch.uint8), rows, {})


def _stack(targets: Sequence[np.ndarray]) -> Tensor:
    stacked = torch.from_numpy(np.stack(targets))
    return stacked.float() if stacked.is_floating_point() else stacked


#: The index of a case, and the seed of its augmentation.
SampleSpec = tuple[int, int]


def frame_of_batch(config: FitConfig, batch: int) -> tuple[int, int]:
    """Return the height and width of the images of batch 0, 1, ... of a run."""
    sizes = [*config.first_sizes, config.image_size]
    part = batch * len(sizes) // (config.steps * config.gradient_accumulation)
    return sizes[min(part, len(sizes) - 1)]  # the batches that are loaded ahead go beyond the last step


class BatchLoader:
    """An endless stream of batches drawn by a task sampler; deterministic for a given seed and given losses.

    An image that is drawn for one task also brings its labels for other tasks, because the encoder's work for it is
    the larger part. Every process of a group draws the whole batch and reads its share of it.

    Attributes:
        drawn: the number of batches drawn, `pending` ones included.
        skipped: the reason why each unusable case was skipped, by the case's index.
        wait_seconds: the time that the caller has waited for batches.
    """

    def __init__(self, cases: Sequence[Case], sampler: TaskSampler, config: FitConfig, group: ProcessGroup) -> None:
        self.cases, self.sampler, self.config, self.group = cases, sampler, config, group
        self.by_task: Mapping[str, list[int]] = defaultdict(list)
        self.by_image: Mapping[tuple[Path, str], list[int]] = defaultdict(list)
        for index, case in enumerate(cases):
            self.by_task[case.task.id].append(index)
            self.by_image[case.root, case.row.image_path].append(index)
        self.rng = np.random.default_rng(config.seed)
        self.drawn = 0
        self.pending: deque[list[SampleSpec]] = deque()
        self.skipped: dict[int, str] = {}
        self._reported: set[int] = set()
        self.wait_seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(self.config.num_workers, thread_name_prefix="loader") as pool:
            first = self.drawn - len(self.pending)
            futures = deque(self._submit(pool, specs, batch) for batch, specs in enumerate(self.pending, first))
            try:
                while True:
                    while len(futures) < PREFETCH:
                        self.pending.append(self._draw())
                        futures.append(self._submit(pool, self.pending[-1], self.drawn - 1))
                    start = time.monotonic()
                    samples = [sample for future in futures.popleft() if (sample := future.result()) is not None]
                    self.wait_seconds += time.monotonic() - start
                    batch = self._collate(samples, self.pending.popleft())
                    if batch:
                        yield batch
            finally:
                pool.shutdown(cancel_futures=True)

    def newly_skipped(self) -> list[str]:
        """Return why cases were skipped since the last call, in any process; all processes must call this."""
        skipped = self.group.union(dict(self.skipped))  # a copy, because the threads continue to write to it
        self.skipped |= skipped
        new = sorted(skipped.keys() - self._reported)
        self._reported.update(new)
        return [skipped[index] for index in new]

    def state(self) -> dict[str, Any]:
        """Return what determines the next batches, JSON-ready: the generator, and the batches drawn but not yielded."""
        return {
            "rng": self.rng.bit_generator.state,
            "batches": self.drawn,
            "drawn": list(self.pending),
            "left_out": dict(self.skipped),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; call this before taking the first batch."""
        self.rng.bit_generator.state = state["rng"]
        self.drawn = state.get("batches", 0)  # states without it have one size of batches
        self.pending = deque([(index, seed) for index, seed in specs] for specs in state["drawn"])
        self.skipped = {int(index): reason for index, reason in state.get("left_out", {}).items()}
        self._reported = set(self.skipped)

    def _draw(self) -> list[SampleSpec]:
        self.drawn += 1
        specs = []
        for name in self.sampler.draw(self.config.batch_size, self.rng):
            index = self.by_task[name][self.rng.integers(len(self.by_task[name]))]
            specs.append((index, int(self.rng.integers(2**63))))
        return specs

    def _submit(self, pool: ThreadPoolExecutor, specs: list[SampleSpec], batch: int) -> list[Future[Sample | None]]:
        frame = frame_of_batch(self.config, batch)
        own_specs = specs[self.group.rank :: self.group.world_size]
        return [pool.submit(self._load, index, seed, frame) for index, seed in own_specs]

    def _load(self, index: int, seed: int, frame: tuple[int, int]) -> Sample | None:
        # If a label of the image is bad, the case that was drawn is used alone.
        for indices in (self._cases_of_image(index), [index]):
            # Each sample has its own generator, so that the order of the threads can't change it.
            rng = np.random.default_rng(seed)
            try:
                return load_sample([self.cases[i] for i in indices], frame, rng, self.config.augment)
            except AuroraError as error:
                if self.config.on_bad_case == "error":
                    raise
                reason = str(error)
        self.skipped[index] = reason
        return None

    def _cases_of_image(self, index: int) -> list[int]:
        """Return `index`, and one case of each other task with the same image."""
        case = self.cases[index]
        by_task = {self.cases[i].task.id: i for i in self.by_image[case.root, case.row.image_path]}
        by_task.pop(case.task.id)
        return [index, *by_task.values()]

    def _collate(self, samples: list[Sample], specs: list[SampleSpec]) -> Batch | None:
        """Return this process's batch; None if it is the only process and no sample can be used."""
        if self.group.world_size > 1:
            # Every process must take part in every step, even without a usable sample.
            task_types = sorted({self.cases[i].task.type for index, _ in specs for i in self._cases_of_image(index)})
            return collate(samples, task_types) if samples else empty_batch(self.config.image_size, task_types)
        if not samples and len(self.skipped) == len(self.cases):
            raise InputError(
                f"expected images that can be read, found none in {len(self.cases)} rows; the last: "
                f"{next(reversed(self.skipped.values()))}"
            )
        return collate(samples) if samples else None
