"""The run's main line: images in, mixed batches through the engine, one answer per row out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from aurora.answers import Answer, answer, fallback
from aurora.frames import Framed
from aurora.requests import Request
from aurora.rows import Row
from aurora.tasks import TaskType, channel_slices
from inference.engine import Engine
from inference.infer import Portions
from inference.plan import Job
from inference.prefetch import Loaded, prefetch


@dataclass(frozen=True, slots=True)
class Answered:
    """A row's answer; `fallback` says why it is only a neutral one, `warnings` what else is odd.

    `last` tells that it is the last one of its batch.
    """

    row: Row
    answer: Answer
    fallback: str | None
    warnings: tuple[str, ...]
    last: bool


def answers(
    engine: Engine, jobs: Iterable[Job], root: Path, batch_size: int, stop: Callable[[], bool]
) -> Iterator[Answered]:
    """The answer to every request of every job, in order; no new batch is begun once `stop` is true."""
    loaded = prefetch(jobs, root, engine.spec.config.image_size, limit=2 * batch_size)
    slices = {kind: channel_slices(engine.spec.tasks, kind) for kind in TaskType}
    portions = Portions(engine)
    for batch in _batches(loaded, batch_size):
        last = batch[-1].job.requests[-1]
        for inferred in portions.infer(batch):
            for item in inferred.items:
                for request in item.job.requests:
                    raw = inferred.of(request)
                    if raw is not None:
                        raw = raw[slices[request.row.type][request.row.task_id.strip()]]
                    yield _answered(request, item.image, raw, inferred.reason, last=request is last)
        if stop():
            return


def _answered(request: Request, image: Framed, raw: np.ndarray | None, reason: str | None, last: bool) -> Answered:
    row, reason = request.row, request.refusal or image.reason or reason
    warnings = image.warnings if request.warning is None else (*image.warnings, request.warning)
    if raw is not None and image.size is not None:
        try:
            return Answered(row, answer(row, row.type, request.count, raw, image.size), None, warnings, last)
        except ValueError as error:
            reason = str(error)
    return Answered(row, fallback(row, row.type, request.count, image.size), reason, warnings, last)


def _batches(items: Iterable[Loaded], size: int) -> Iterator[list[Loaded]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
