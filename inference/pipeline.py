"""The run's main line: images in, mixed batches through the engine, one answer per row out.

Reading, the model and the making of answers each have threads of their own, so that they overlap; what is on its way
between them is bounded, and everything comes out in order.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from aurora.ahead import ahead
from aurora.answers import Answer, answer, encode_mask, fallback
from aurora.confidence import confidence
from aurora.engine.engine import Engine
from aurora.frames import Framed
from aurora.requests import Request
from aurora.rows import Row
from aurora.tasks import TaskType, channel_slices
from inference.infer import Inferred, Portions
from inference.loading import Loaded, load
from inference.plan import Job
from inference.stages import Stages


@dataclass(frozen=True, slots=True)
class Answered:
    """A row's answer; `fallback` says why it is only a neutral one, `warnings` what else is odd.

    `content` is the file that a mask becomes, empty if there is none, and `shares` the share of each of its classes of
    the image. `confidence` is that of `aurora.confidence`, None for a neutral answer. `last` tells that the row is the
    last one of its batch.
    """

    row: Row
    answer: Answer
    content: bytes
    fallback: str | None
    warnings: tuple[str, ...]
    last: bool
    confidence: float | None
    shares: tuple[float, ...]


def answers(
    engine: Engine, jobs: Iterable[Job], root: Path, batch_size: int, stages: Stages, stop: Callable[[], bool]
) -> Iterator[Answered]:
    """The answer to every request of every job, in order; once `stop` is true no other batch is answered."""
    read = stages.timed("reading", partial(load, root=root, frame=engine.spec.config.image_size))
    model = stages.timed("model", partial(_inferred, Portions(engine)))
    make = stages.timed("answers", _answered)
    # The threads of the model wait for each other, so that one held up by a reader would hold up all.
    loaded = ahead(read, jobs, 2 * batch_size, stages.threads, gives_way=True)
    inferred = ahead(model, _batches(loaded, batch_size), engine.lanes, engine.lanes)
    # Few, because a mask of a large image is large.
    return ahead(make, _asked(engine, inferred, stop), 2 * stages.threads, stages.threads, gives_way=True)


def _batches(items: Iterable[Loaded], size: int) -> Iterator[list[Loaded]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _inferred(portions: Portions, batch: list[Loaded]) -> list[Inferred]:
    return list(portions.infer(batch))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with all that its answer is made of; `raw` is the model's output for it, None if there is none."""

    request: Request
    image: Framed
    raw: np.ndarray | None
    reason: str | None
    last: bool


def _asked(engine: Engine, batches: Iterable[list[Inferred]], stop: Callable[[], bool]) -> Iterator[_Asked]:
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


def _answered(asked: _Asked) -> Answered:
    request, image = asked.request, asked.image
    found, reason = _answer(asked)
    warnings = image.warnings if request.warning is None else (*image.warnings, request.warning)
    sure = None if reason or asked.raw is None else confidence(request.row.type, asked.raw[: request.count])
    shares = _shares(found) if isinstance(found, np.ndarray) else ()
    return Answered(request.row, found, encode_mask(found), reason, warnings, asked.last, sure, shares)


def _shares(mask: np.ndarray) -> tuple[float, ...]:
    """The share of each class up to the last that occurs in a mask (H, W), to six digits."""
    pixels = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel() / mask.size
    return tuple(round(share, 6) for share in np.trim_zeros(pixels, "b").tolist())


def _answer(asked: _Asked) -> tuple[Answer, str | None]:
    """The answer, and why it is only a neutral one, if so."""
    request, image, row = asked.request, asked.image, asked.request.row
    reason = request.refusal or image.reason or asked.reason
    if asked.raw is not None and image.size is not None:
        try:
            return answer(row, row.type, request.count, asked.raw, image.size), None
        except ValueError as error:
            reason = str(error)
    return fallback(row, row.type, request.count, image.size), reason
