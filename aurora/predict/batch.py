"""A batch of images through the engine, in as many portions as its memory wants."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from aurora.engine.base import Engine
from aurora.images.reader import ModelInput, load_model_input, read_size
from aurora.predict.request import Job, Request
from aurora.tasks import TaskType

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A job with its image."""

    job: Job
    image: ModelInput


def load(job: Job, root: Path, frame: tuple[int, int]) -> LoadedJob:
    """Read one job's image, or its size alone where the model can't answer; nothing is raised."""
    row = job.requests[0].row
    return LoadedJob(job, load_model_input(root, row, frame) if job.answerable else read_size(root, row))


# Neither ONNX Runtime nor PyTorch's CPU allocator has a class of its own for it.
_NO_MEMORY = re.compile(r"out of memory|allocate memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """Some images of a batch and the engine's outputs for them.

    `places` says where in `outputs` the part of each request lies, by its id; `reason` why there are no outputs.
    """

    items: Sequence[LoadedJob]
    outputs: dict[TaskType, np.ndarray]
    places: dict[int, tuple[TaskType, int]]
    reason: str | None = None

    def of(self, request: Request) -> np.ndarray | None:
        """All channels of the head that answers a request, (channels, ...); None if it wasn't asked."""
        if id(request) not in self.places:
            return None
        kind, place = self.places[id(request)]
        return self.outputs[kind][place]


class BatchSplitter:
    """Sends batches to an engine; one that is too large for the memory is halved, and so are those after it.

    A single image that is too large for a GPU's memory goes to the CPU.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.most: int | None = None
        self.cpu: Engine | None = None
        self._lock = Lock()

    def infer(self, batch: Sequence[LoadedJob]) -> Iterator[BatchOutput]:
        """The batch's images in order."""
        waiting = [batch]
        while waiting:
            part = waiting.pop(0)
            if self.most and len(part) > self.most:
                waiting[:0] = [part[: self.most], part[self.most :]]
                continue
            try:
                inferred = infer(self.engine, part)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if len(part) > 1:
                    self._halve(len(part))
                    waiting.insert(0, part)
                    continue
                inferred = self._alone(part)
            yield inferred

    def _halve(self, size: int) -> None:
        if self.most is None:
            logger.info("the memory doesn't hold %d images at once; continuing with fewer", size)
        # Another thread may have found out more since this batch was begun.
        self.most = min(size // 2, self.most or size)

    def _alone(self, part: Sequence[LoadedJob]) -> BatchOutput:
        """One image that the engine has no memory for."""
        with self._lock:
            if self.cpu is None:
                self.cpu = self.engine.cpu_fallback()
                if self.cpu:
                    logger.info("the GPU's memory doesn't even hold one image; such images are computed on the CPU")
        try:
            if self.cpu:
                return infer(self.cpu, part)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return BatchOutput(part, {}, {}, "there is not enough memory for this image")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an engine's error says that there was no memory, on whatever device."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def infer(engine: Engine, batch: Sequence[LoadedJob]) -> BatchOutput:
    """All images that could be read in one pass."""
    rows: dict[TaskType, list[int]] = {}
    places: dict[int, tuple[TaskType, int]] = {}
    frames: list[np.ndarray] = []
    for item in batch:
        if item.image.pixels is None:
            continue
        for request in item.job.requests:
            if request.rejection is None:
                of_kind = rows.setdefault(request.row.type, [])
                places[id(request)] = request.row.type, len(of_kind)
                of_kind.append(len(frames))
        frames.append(item.image.pixels)
    if not frames:
        return BatchOutput(batch, {}, {})
    outputs = engine.run(np.stack(frames), {kind: np.array(index) for kind, index in rows.items()})
    return BatchOutput(batch, outputs, places)
