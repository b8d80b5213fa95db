"""The run's main line: images in, mixed batches through the engine, one answer per row out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    engine: Engine, jobs: Sequence[Job], root: Path, batch_size: int, stop: Callable[[], bool]
) -> Iterator[Answered]:
    """The answer to every request of every job, in order; no new batch is begun once `stop` is true."""
    loaded = prefetch(jobs, root, engine.spec.config.image_size, limit=2 * batch_size)
    slices = {kind: channel_slices(engine.spec.tasks, kind) for kind in TaskType}
    for batch in _batches(loaded, batch_size):
        outputs, places = _infer(engine, batch)
        requests = [(request, item.image) for item in batch for request in item.job.requests]
        for number, (request, image) in enumerate(requests, start=1):
            raw = None
            if id(request) in places:
                kind, place = places[id(request)]
                raw = outputs[kind][place, slices[kind][request.row.task_id.strip()]]
            yield _answered(request, image, raw, last=number == len(requests))
        if stop():
            return


def _answered(request: Request, image: Framed, raw: np.ndarray | None, last: bool) -> Answered:
    row, reason = request.row, request.refusal or image.reason
    warnings = image.warnings if request.warning is None else (*image.warnings, request.warning)
    if raw is not None and image.size is not None:
        try:
            return Answered(row, answer(row, row.type, request.count, raw, image.size), None, warnings, last)
        except ValueError as error:
            reason = str(error)
    return Answered(row, fallback(row, row.type, request.count, image.size), reason, warnings, last)


def _infer(
    engine: Engine, batch: Sequence[Loaded]
) -> tuple[dict[TaskType, np.ndarray], dict[int, tuple[TaskType, int]]]:
    """The engine's output for a batch, and where in it each request's part lies."""
    rows: dict[TaskType, list[int]] = {}
    places: dict[int, tuple[TaskType, int]] = {}
    frames: list[np.ndarray] = []
    for item in batch:
        if item.image.pixels is None:
            continue
        for request in item.job.requests:
            if request.refusal is None:
                of_kind = rows.setdefault(request.row.type, [])
                places[id(request)] = request.row.type, len(of_kind)
                of_kind.append(len(frames))
        frames.append(item.image.pixels)
    if not frames:
        return {}, {}
    return engine.run(np.stack(frames), {kind: np.array(index) for kind, index in rows.items()}), places


def _batches(items: Iterable[Loaded], size: int) -> Iterator[list[Loaded]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
