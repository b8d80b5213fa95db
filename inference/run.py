"""`inference run`: read the rows, predict them in batches, write the predictions and report."""

import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aurora.engine.base import Engine
from aurora.engine.select import open_engine
from aurora.predict.pipeline import Stages, predictions, read_from
from aurora.rows import Row, Rows, read_rows
from aurora.runtime.cli import ShutdownRequest, graceful_shutdown
from aurora.runtime.files import require_different_folders
from aurora.runtime.hardware import fitting_batch
from aurora.tasks import without_refinements
from inference.output.folder import OutputFolder
from inference.output.journal import Journal, RowOutcome, RunHeader, fingerprint
from inference.output.writer import PredictionWriter, encode_row
from inference.plan import Plan, RunSettings
from inference.report.console import Summary, as_text, progress
from inference.report.contact_sheet import write_sheets
from inference.report.gallery import Gallery

if TYPE_CHECKING:
    from inference.report.report import Report

EXIT_FALLBACKS = 10
EXIT_STOPPED = 143

logger = logging.getLogger("aurora.inference")


def run(settings: RunSettings) -> int:
    """Predict every row under `settings.input` and print a summary; return the exit code, 0, 10 or 143.

    The last line of the output is always printed; everything else is logged at the level INFO.

    Raises:
        AuroraError: the input, the weights, the device or the output can't be used.
    """
    result = predict(settings)
    *summary, last = result.summary.splitlines()
    logger.info("%s", "\n".join(summary))
    click.echo(last)
    if result.stopped:
        click.echo(f"stopped by a signal; {result.stopped}; continue with --resume", err=True)
        return EXIT_STOPPED
    return EXIT_FALLBACKS if settings.strict and not result.flawless else 0


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run.

    `title` names the number of rows and the engine. `summary` is the text of `inference.report.console.as_text`.
    `stopped` says how far the run came if a signal stopped it. `flawless` is true if every row has a prediction and
    none is a fallback.
    """

    title: str
    summary: str
    stopped: str | None
    flawless: bool


def predict(settings: RunSettings, engine: Engine | None = None, shutdown: ShutdownRequest | None = None) -> RunResult:
    """Predict every row under `settings.input` and write the predictions, the report and the pictures.

    Args:
        settings: what to predict, and how.
        engine: the model, if it is loaded already; by default the one that the settings name.
        shutdown: stops the run once it is requested; by default, the first SIGTERM or SIGINT does.

    Raises:
        AuroraError: the input, the weights, the device or the output can't be used.
    """
    start = time.monotonic()
    require_different_folders(settings.input, settings.output, "--output")
    folder = OutputFolder(settings.output)
    sheets = OutputFolder(settings.preview, "--preview") if settings.preview else None
    report = _report(settings)
    rows = read_rows(settings.input)
    engine = engine or open_engine(settings.weights, settings.engine, settings.device)
    title = f"{len(rows.rows)} rows, {engine.name}"
    logger.info("%s", title)
    summary, gallery, stages = Summary(), Gallery(settings.input, folder.root), Stages()
    summary.input_problems(rows)
    batch_size = settings.batch_size or fitting_batch(engine.batch_size)
    plan, header = _plan(settings, rows, engine, batch_size)
    total = plan.row_count
    stopping = nullcontext(shutdown) if shutdown else graceful_shutdown()
    with stopping as stop, Journal(folder, header, settings.resume) as journal:
        with PredictionWriter(folder) as writer:
            current = Run(engine, plan, settings.input, batch_size, journal, writer, stages)
            for row, outcome in progress(current.outcomes(stop), total=total):
                summary.take(row, outcome)
                gallery.offer(row, outcome)
                if report:
                    report.take(row, outcome)
        # A run that is killed before this line rebuilds its lists from the journal. A shard keeps its journal for
        # `merge`.
        if journal.rows == total and not settings.shard:
            journal.finish()
    logger.info("%s", stages)
    seconds = time.monotonic() - start
    files = {"preview": write_sheets(gallery, sheets)} if sheets else {}
    if report:
        files["report"] = report.write(engine, batch_size, summary, stages, gallery, total=total, seconds=seconds)
    text = as_text(summary, settings.output, files, total=total, seconds=seconds)
    stopped = f"{summary.rows} of {total} rows are predicted" if journal.rows < total else None
    return RunResult(title, text, stopped, summary.flawless)


def _report(settings: RunSettings) -> "Report | None":
    if settings.report is None:
        return None
    from inference.report.report import Report  # its imports would delay the start of every run

    return Report(settings.report, settings)


def _plan(settings: RunSettings, rows: Rows, engine: Engine, batch_size: int) -> tuple[Plan, RunHeader]:
    """Return the images to predict, and the header that identifies the run in its journal."""
    tasks = without_refinements(engine.spec.tasks) if settings.fast else engine.spec.tasks
    plan = Plan(rows.rows, tasks, settings.limit)
    facts = (
        rows.digest,
        plan.row_count,
        settings.input.resolve(),
        engine.name,
        engine.checksum,
        batch_size,
        settings.fast,
    )
    if settings.shard:
        plan.keep(settings.shard, batch_size)
        logger.info("shard %s: %d rows", settings.shard, plan.row_count)
    return plan, RunHeader(fingerprint(*facts), settings.shard, plan.row_count)


@dataclass(frozen=True, slots=True)
class Run:
    """A run in progress: what to predict, with which engine, and where to write.

    `root` is the input folder and `batch_size` the number of images per batch.
    """

    engine: Engine
    plan: Plan
    root: Path
    batch_size: int
    journal: Journal
    writer: PredictionWriter
    stages: Stages

    def outcomes(self, stop: ShutdownRequest) -> Iterator[tuple[Row, RowOutcome]]:
        """Yield every row with its outcome, first those in the journal; no new batch begins after a `stop`."""
        yield from self._resume()
        yield from self._predict(stop)

    def _resume(self) -> Iterator[tuple[Row, RowOutcome]]:
        """Take over the rows that an interrupted run has predicted."""
        requests = chain.from_iterable(job.requests for job in self.plan.jobs())
        for outcome in chain.from_iterable(self.journal.replay()):
            row = next(requests).row
            self.writer.take_over(row.type, outcome)
            yield row, outcome
        if self.journal.rows:
            logger.info("%d rows are taken over from the run that was interrupted", self.journal.rows)

    def _predict(self, stop: ShutdownRequest) -> Iterator[tuple[Row, RowOutcome]]:
        """Predict and write the batches that the journal doesn't hold."""
        jobs = self.plan.jobs(self.journal.batches * self.batch_size)
        items = predictions(
            self.engine,
            jobs,
            read_from(self.root, self.engine),
            self.batch_size,
            partial(encode_row, self.root),
            stages=self.stages,
            stop=lambda: stop.requested,
        )
        write = self.stages.timed("writing", self.writer.write)
        for item in items:
            predicted = item.predicted
            outcome = write(predicted.row, predicted.prediction, item.content)
            outcome = outcome._replace(
                fallback=predicted.fallback,
                confidence=predicted.confidence,
                facts=item.facts,
                warnings=(*predicted.warnings, *outcome.warnings),
            )
            self.journal.add(outcome, predicted.last)
            yield predicted.row, outcome
