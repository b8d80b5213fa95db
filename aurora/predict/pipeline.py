"""Predict jobs: read images, run mixed batches through the engine, and decode the outputs.

Reading, the model and decoding run in separate threads, so that they overlap. The queues between them are bounded, and
the order is preserved.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

import numpy as np

from aurora.engine.base import Engine
from aurora.kinds import KINDS, check_refinements
from aurora.predict.batch import BatchOutput, BatchSplitter, LoadedJob, RequestOutput, load
from aurora.predict.predictions import PredictedRow, RawRow, predict_row
from aurora.predict.request import Job
from aurora.runtime.hardware import processors
from aurora.runtime.prefetch import prefetch
from aurora.tasks import TYPES, Task, channel_slices

Args = ParamSpec("Args")
Result = TypeVar("Result")

#: The most threads of a stage. More made no run faster in our measurements, and each thread holds an image.
MAX_THREADS = 16


class Stages:
    """Measure the seconds of work of each stage of a pipeline, summed over its threads.

    `threads` is the number of threads that each stage except the model may use.
    """

    def __init__(self) -> None:
        self.threads = min(processors(), MAX_THREADS)
        self.seconds: dict[str, float] = {}
        self._lock = Lock()
        self._begun = self._ended = 0.0

    def timed(self, name: str, function: Callable[Args, Result]) -> Callable[Args, Result]:
        """Wrap a function so that its time counts for the stage `name`."""
        self.seconds[name] = 0.0

        def counted(*args: Args.args, **kwargs: Args.kwargs) -> Result:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                ended = time.perf_counter()
                with self._lock:
                    self.seconds[name] += ended - begun
                    self._begun = min(self._begun or begun, begun)
                    self._ended = max(self._ended, ended)

        return counted

    @property
    def at_work(self) -> float:
        """The seconds from the beginning of the first stage to the end of the last."""
        return self._ended - self._begun

    def __str__(self) -> str:
        spent = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
        return f"at work for {self.at_work:.2f} s: {spent}; reading and predictions in {self.threads} threads each"


def predictions(
    engine: Engine,
    jobs: Iterable[Job],
    read: Callable[[Job], LoadedJob],
    batch_size: int,
    use: Callable[[PredictedRow], Result],
    *,
    stages: Stages | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """Predict every request of every job, in order.

    Args:
        engine: the model.
        jobs: one per image.
        read: reads the image of a job, in the threads that read; see `read_from`.
        batch_size: the number of images per batch.
        use: called with each prediction, in the threads that decode; its results are yielded.
        stages: measures the time of each stage.
        stop: once it returns true, no further batch is predicted.

    Raises:
        WeightsError: a task of the weights names an unknown refinement.

    Example:
        >>> rows = read_rows(root).rows
        >>> jobs = [Job([request_of(row, engine.spec.tasks)]) for row in rows]
        >>> read = read_from(root, engine)
        >>> for predicted in predictions(engine, jobs, read, 8, use=lambda predicted: predicted):
        ...     print(predicted.row.image_path, predicted.confidence)
    """
    check_refinements(engine.spec.tasks)
    stages = stages or Stages()
    read = stages.timed("reading", read)
    model = stages.timed("model", partial(_run, BatchSplitter(engine, batch_size)))
    decode = stages.timed("predictions", lambda item: use(predict_row(item)))
    # Readers run at low priority so that they do not stall the model's threads, which wait for each other.
    loaded = prefetch(read, jobs, 2 * batch_size, stages.threads, low_priority=True)
    outputs = prefetch(model, _batches(loaded, batch_size), engine.num_workers, engine.num_workers)
    # Only a few predictions may wait, because the mask of a large image is large.
    return prefetch(decode, raw_rows(engine, outputs, stop), 2 * stages.threads, stages.threads, low_priority=True)


def read_from(root: Path, engine: Engine) -> Callable[[Job], LoadedJob]:
    """Return the function that reads the images of jobs whose rows are those of an input root."""
    return partial(load, root=root, size=engine.spec.config.image_size)


def _batches(items: Iterable[LoadedJob], size: int) -> Iterator[list[LoadedJob]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _run(splitter: BatchSplitter, batch: list[LoadedJob]) -> list[BatchOutput]:
    return list(splitter.run(batch))


def raw_rows(
    engine: Engine, batches: Iterable[list[BatchOutput]], stop: Callable[[], bool] = lambda: False
) -> Iterator[RawRow]:
    """Yield every request of the batches with its part of the outputs; after `stop()`, none of a further batch."""
    slices = {task_type: channel_slices(engine.spec.tasks, task_type) for task_type in TYPES}
    for batch in batches:
        last = batch[-1].requests[-1].request
        for output in batch:
            for item in output.requests:
                request = item.request
                raw, source = (
                    _task_output(item, task, slices[task.type][task.id]) if task and item.raw else None
                    for task in (request.task, request.source)
                )
                yield RawRow(request, item.image, raw, source, output.reason, last=request is last)
        if stop():
            return


def _task_output(item: RequestOutput, task: Task, channels: slice) -> np.ndarray:
    """Return the output of a task, (channels, ...), the mean over its views of the image."""
    raw = item.raw[task.type][channels]
    if not task.mirrored:
        return raw
    return (raw + KINDS[task.type].mirror(item.mirrored[task.type][channels])) / 2
