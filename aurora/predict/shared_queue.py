"""Predict single jobs that come from many threads: they share batches, without waiting for each other."""

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Thread
from typing import Any, Generic, TypeVar

from aurora.engine.base import Engine
from aurora.kinds import check_refinements
from aurora.predict.batch import BatchSplitter, LoadedJob
from aurora.predict.pipeline import Stages, raw_rows
from aurora.predict.predictions import PredictedRow, RawRow, predict_row
from aurora.predict.request import Job
from aurora.runtime.prefetch import lower_priority

Result = TypeVar("Result")


class _Ticket(Generic[Result]):
    """A job on its way: what to do with its predictions, and the future of the result."""

    def __init__(self, use: Callable[[Iterator[PredictedRow]], Result]) -> None:
        self.use = use
        self.future: Future[Result] = Future()
        self.future.set_running_or_notify_cancel()  # from now on, nobody can cancel it


class SharedQueue:
    """A queue in front of an engine. A batch takes all images that have been read while the last one was computed.

    Nothing waits for a batch to fill, and the answers don't depend on what else is in the batch, up to the engine's
    rounding. Every method may be called from any thread.

    Args:
        engine: the model.
        batch_size: the most images per batch.

    Attributes:
        stages: the seconds of work of each stage, summed over its threads.
    """

    def __init__(self, engine: Engine, batch_size: int) -> None:
        check_refinements(engine.spec.tasks)
        self.engine, self.batch_size, self.stages = engine, batch_size, Stages()
        self._loaded: queue.SimpleQueue[tuple[LoadedJob, _Ticket[Any]]] = queue.SimpleQueue()
        # They give way to the model's threads, which wait for each other.
        self._workers = ThreadPoolExecutor(self.stages.threads, "images", initializer=lower_priority)
        self._load = self.stages.timed("reading", self._read)
        self._compute = self.stages.timed("model", self._run)
        self._finish = self.stages.timed("predictions", self._decode)
        self._splitter = BatchSplitter(engine, batch_size)
        Thread(target=self._serve, name="model", daemon=True).start()

    def submit(
        self, job: Job, read: Callable[[Job], LoadedJob], use: Callable[[Iterator[PredictedRow]], Result]
    ) -> Future[Result]:
        """Predict a job; return at once.

        Args:
            job: the requests for an image.
            read: reads the image; called in a thread of the queue, as `use` is.
            use: called with the predictions of the requests, in order; each is decoded when its turn comes.

        Returns:
            The future of what `use` returns, or of the exception that `read`, the engine or `use` raises.
        """
        ticket = _Ticket(use)
        self._workers.submit(self._load, job, read, ticket)
        return ticket.future

    def _read(self, job: Job, read: Callable[[Job], LoadedJob], ticket: _Ticket[Any]) -> None:
        try:
            self._loaded.put((read(job), ticket))
        except Exception as error:
            ticket.future.set_exception(error)

    def _serve(self) -> None:
        while True:
            batch = [self._loaded.get()]
            while len(batch) < self.batch_size:
                try:
                    batch.append(self._loaded.get_nowait())
                except queue.Empty:
                    break
            self._compute(batch)

    def _run(self, batch: Sequence[tuple[LoadedJob, _Ticket[Any]]]) -> None:
        try:
            outputs = list(self._splitter.run([loaded for loaded, _ in batch]))
            rows = raw_rows(self.engine, [outputs])
            parts = [list(islice(rows, len(loaded.job.requests))) for loaded, _ in batch]
        except Exception as error:  # the batch is lost, the queue isn't
            for _, ticket in batch:
                ticket.future.set_exception(error)
            return
        for part, (_, ticket) in zip(parts, batch, strict=True):
            self._workers.submit(self._finish, part, ticket)

    def _decode(self, rows: Sequence[RawRow], ticket: _Ticket[Any]) -> None:
        try:
            ticket.future.set_result(ticket.use(map(predict_row, rows)))
        except Exception as error:
            ticket.future.set_exception(error)
