"""Run batches of images through the engine; split them if memory runs out."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np

from aurora.engine.base import Engine
from aurora.images.reader import ModelInput, load_model_input, read_size
from aurora.predict.request import Job, Request
from aurora.tasks import NOVELTY, TaskType

logger = logging.getLogger(__name__)

#: The warning about an image whose novelty is above 1.
UNLIKE_TRAINING = "the image is unlike the training images"

# Neither ONNX Runtime nor PyTorch's CPU allocator has an exception class for a lack of memory.
_NO_MEMORY = re.compile(r"out of memory|allocate memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A job with its image."""

    job: Job
    image: ModelInput

    @property
    def views(self) -> int:
        """The number of images that the model computes: 2 if a task looks at the mirrored image too."""
        return 2 if self.job.mirrored_types else 1


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """A request with its image and the whole outputs of the heads, (channels, ...), for it; empty if none ran.

    `mirrored` are the outputs for the mirrored image, of the tasks that look at it too.
    """

    request: Request
    image: ModelInput
    raw: Mapping[TaskType, np.ndarray]
    mirrored: Mapping[TaskType, np.ndarray]


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """The outputs of some images of a batch, request by request; `reason` is set if the model computed none."""

    requests: list[RequestOutput]
    reason: str | None = None


def load(job: Job, root: Path, size: tuple[int, int]) -> LoadedJob:
    """Read one job's image at the model's input `size` (height, width).

    If the model isn't needed, only the size of the image is read. Errors are returned, not raised.
    """
    row = job.requests[0].row
    return LoadedJob(job, load_model_input(root, row, size) if job.needs_model else read_size(root, row))


class BatchSplitter:
    """Send batches to an engine; halve a batch that is too large for the memory, and all later ones.

    A single image that is too large for a GPU's memory goes to the CPU.

    Args:
        engine: the model.
        max_views: the most images at once, mirrored views included, so that these take no more memory.
    """

    def __init__(self, engine: Engine, max_views: int) -> None:
        self.engine, self.max_views = engine, max_views
        self.max_images: int | None = None
        self.cpu: Engine | None = None
        self._lock = Lock()

    def run(self, batch: Sequence[LoadedJob]) -> Iterator[BatchOutput]:
        """Yield the outputs of the batch's images in order."""
        waiting = list(_parts(batch, self.max_views))
        while waiting:
            images = waiting.pop(0)
            if self.max_images and len(images) > self.max_images:
                waiting[:0] = [images[: self.max_images], images[self.max_images :]]
                continue
            try:
                output = run_batch(self.engine, images)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if len(images) > 1:
                    self._halve(len(images))
                    waiting.insert(0, images)
                    continue
                output = self._single(images)
            yield output

    def _halve(self, size: int) -> None:
        if self.max_images is None:
            logger.info("the memory doesn't hold %d images at once; continuing with fewer", size)
        # Another thread may have lowered the limit since this batch began.
        self.max_images = min(size // 2, self.max_images or size)

    def _single(self, images: Sequence[LoadedJob]) -> BatchOutput:
        """Run one image that is too large for the engine's memory."""
        with self._lock:
            if self.cpu is None:
                self.cpu = self.engine.cpu_fallback()
                if self.cpu:
                    logger.info("the GPU's memory doesn't hold even one image; such images are computed on the CPU")
        try:
            if self.cpu:
                return run_batch(self.cpu, images)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return BatchOutput(_outputs(images, {}), "there is not enough memory for this image")


def _parts(batch: Sequence[LoadedJob], max_views: int) -> Iterator[Sequence[LoadedJob]]:
    """Divide a batch into parts of at most so many views; the views of an image stay together."""
    begin = views = 0
    for place, item in enumerate(batch):
        if place > begin and views + item.views > max_views:
            yield batch[begin:place]
            begin, views = place, 0
        views += item.views
    yield batch[begin:]


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an engine's error reports a lack of memory, on any device."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def run_batch(engine: Engine, batch: Sequence[LoadedJob]) -> BatchOutput:
    """Compute, in one pass, the outputs of all images that could be read, and of their mirrored views."""
    rows: dict[TaskType, list[int]] = {}
    pixels: list[np.ndarray] = []
    for item in batch:
        for view, task_types in _views(item):
            for task_type in task_types:
                rows.setdefault(task_type, []).append(len(pixels))
            pixels.append(view)
    if not pixels:
        return BatchOutput(_outputs(batch, {}))
    outputs = engine.run(np.stack(pixels), {task_type: np.array(index) for task_type, index in rows.items()})
    return BatchOutput(_outputs(batch, outputs))


def _views(item: LoadedJob) -> list[tuple[np.ndarray, list[TaskType]]]:
    """Return the image and, if needed, its mirrored view, (H, W, 3), each with the types of the heads to compute."""
    pixels, job = item.image.pixels, item.job
    if pixels is None:
        return []
    mirrored = job.mirrored_types
    return [(pixels, job.task_types), *([(pixels[:, ::-1], mirrored)] if mirrored else [])]


def _outputs(batch: Sequence[LoadedJob], outputs: Mapping[TaskType, np.ndarray]) -> list[RequestOutput]:
    """Pair each request with its parts of `outputs`, in which the rows of a type come in the order of the views."""
    following = {task_type: iter(raw) for task_type, raw in outputs.items()}
    paired = []
    for item in batch:
        image = item.image
        views = [
            {name: next(following[name]) for name in (*task_types, NOVELTY) if name in following}
            for _, task_types in (_views(item) if outputs else ())
        ]
        raw, mirrored = (*views, {}, {})[:2]
        if raw.get(NOVELTY, 0) > 1:
            image = replace(image, warnings=(*image.warnings, UNLIKE_TRAINING))
        paired += [RequestOutput(request, image, raw, mirrored) for request in item.job.requests]
    return paired
