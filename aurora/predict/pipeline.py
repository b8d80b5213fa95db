"""The run's main line: images in, mixed batches through the engine, one answer per row out.

Reading, the model and the making of answers each have threads of their own, so that they overlap; what is on its way
between them is bounded, and everything comes out in order.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

import cv2
import numpy as np

from aurora.engine.base import Engine
from aurora.images.reader import ModelInput
from aurora.model.decode import confidence
from aurora.predict.answers import Prediction, answer, encode_mask, fallback
from aurora.predict.batch import BatchOutput, BatchSplitter, LoadedJob, load
from aurora.predict.request import Job, Request
from aurora.rows import Row
from aurora.runtime.hardware import processors
from aurora.runtime.prefetch import prefetch
from aurora.tasks import TaskType, channel_slices

Args = ParamSpec("Args")
Result = TypeVar("Result")

#: More than this many threads per stage have never been seen to help, and each holds an image.
MOST_THREADS = 16


class Stages:
    """Counts while a run goes on.

    `threads` is how many the stages around the model may use each.
    """

    def __init__(self) -> None:
        self.threads = min(processors(), MOST_THREADS)
        self.seconds: dict[str, float] = {}
        self._lock = Lock()
        self._begun = self._ended = 0.0

    def timed(self, name: str, function: Callable[Args, Result]) -> Callable[Args, Result]:
        """The function, counting the time it takes for the stage `name`."""
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
        """The seconds from the start of the first call to the end of the last one; the stages overlap."""
        return self._ended - self._begun

    def __str__(self) -> str:
        spent = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
        return f"at work for {self.at_work:.2f} s: {spent}; reading and predictions in {self.threads} threads each"


@dataclass(frozen=True, slots=True)
class PredictedRow:
    """A row's answer; `fallback` says why it is only a neutral one, `warnings` what else is odd.

    `content` is the file that a mask becomes, empty if there is none, and `shares` the share of each of its classes of
    the image. `confidence` is None for a fallback. `last` tells that the row is the
    last one of its batch.
    """

    row: Row
    answer: Prediction
    content: bytes
    fallback: str | None
    warnings: tuple[str, ...]
    last: bool
    confidence: float | None
    shares: tuple[float, ...]


def answers(
    engine: Engine, jobs: Iterable[Job], root: Path, batch_size: int, stages: Stages, stop: Callable[[], bool]
) -> Iterator[PredictedRow]:
    """The answer to every request of every job, in order; once `stop` is true no other batch is answered."""
    read = stages.timed("reading", partial(load, root=root, frame=engine.spec.config.image_size))
    model = stages.timed("model", partial(_inferred, BatchSplitter(engine)))
    make = stages.timed("predictions", _answered)
    # The threads of the model wait for each other, so that one held up by a reader would hold up all.
    loaded = prefetch(read, jobs, 2 * batch_size, stages.threads, low_priority=True)
    inferred = prefetch(model, _batches(loaded, batch_size), engine.num_workers, engine.num_workers)
    # Few, because a mask of a large image is large.
    return prefetch(make, _asked(engine, inferred, stop), 2 * stages.threads, stages.threads, low_priority=True)


def _batches(items: Iterable[LoadedJob], size: int) -> Iterator[list[LoadedJob]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _inferred(portions: BatchSplitter, batch: list[LoadedJob]) -> list[BatchOutput]:
    return list(portions.infer(batch))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with all that its answer is made of; `raw` is the model's output for it, None if there is none."""

    request: Request
    image: ModelInput
    raw: np.ndarray | None
    reason: str | None
    last: bool


def _asked(engine: Engine, batches: Iterable[list[BatchOutput]], stop: Callable[[], bool]) -> Iterator[_Asked]:
    slices = {kind: channel_slices(engine.spec.tasks, kind) for kind in TaskType}
    for batch in batches:
        last = batch[-1].items[-1].job.requests[-1]
        for inferred in batch:
            for item in inferred.items:
                for request in item.job.requests:
                    raw = inferred.of(request)
                    if raw is not None:
                        raw = raw[slices[request.row.type][request.row.task_id.strip()]]
                    yield _Asked(request, item.image, raw, inferred.reason, last=request is last)
        if stop():
            return


def _answered(asked: _Asked) -> PredictedRow:
    request, image = asked.request, asked.image
    found, reason = _answer(asked)
    warnings = image.warnings if request.warning is None else (*image.warnings, request.warning)
    sure = None if reason or asked.raw is None else confidence(request.row.type, asked.raw[: request.count])
    shares = _shares(found) if isinstance(found, np.ndarray) else ()
    return PredictedRow(request.row, found, encode_mask(found), reason, warnings, asked.last, sure, shares)


def _shares(mask: np.ndarray) -> tuple[float, ...]:
    """The share of each class up to the last that occurs in a mask (H, W), to six digits."""
    pixels = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel() / mask.size
    return tuple(round(share, 6) for share in np.trim_zeros(pixels, "b").tolist())


def _answer(asked: _Asked) -> tuple[Prediction, str | None]:
    """The answer, and why it is only a neutral one, if so."""
    request, image, row = asked.request, asked.image, asked.request.row
    reason = request.rejection or image.reason or asked.reason
    if asked.raw is not None and image.size is not None:
        try:
            return answer(row, row.type, request.count, asked.raw, image.size), None
        except ValueError as error:
            reason = str(error)
    return fallback(row, row.type, request.count, image.size), reason
