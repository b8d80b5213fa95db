"""`inference run`: everything between the flags and the answers."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from aurora.engine.base import Engine
from aurora.engine.select import open_engine
from aurora.errors import UsageError
from aurora.predict.pipeline import Stages, predictions
from aurora.rows import Row, read_rows
from aurora.runtime.cli import ShutdownRequest, graceful_shutdown
from aurora.runtime.hardware import fitting_batch
from inference.output.folder import OutputFolder
from inference.output.journal import Journal, Outcome, fingerprint, shard_mark
from inference.output.writer import PredictionWriter, encode_row
from inference.plan import Plan, RunSettings
from inference.report.console import Summary, as_text, progress
from inference.report.contact_sheet import write_sheets
from inference.report.gallery import Gallery

if TYPE_CHECKING:
    from inference.report.report import Report

EXIT_FALLBACKS = 10
EXIT_STOPPED = 143


def run(settings: RunSettings) -> int:
    """Answer every row under `settings.input`; returns the exit code, 0, 10 or 143.

    Raises an `AuroraError` when the input, the weights, the device or the output can't be used.
    """
    with ExitStack() as stack:
        if settings.quiet:
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        ended = _run(settings)
    print(ended.text.splitlines()[-1] if settings.quiet else ended.text, flush=True)
    if ended.stopped:
        print(f"stopped by a signal; {ended.stopped}; go on with --resume", file=sys.stderr)
        return EXIT_STOPPED
    return EXIT_FALLBACKS if settings.strict and not ended.flawless else 0


@dataclass(frozen=True, slots=True)
class _Ended:
    """What is to be said, how far a run came that a signal stopped, and whether every row has an answer of its own."""

    text: str
    stopped: str | None
    flawless: bool


def _run(settings: RunSettings) -> _Ended:
    start = time.monotonic()
    _check_apart(settings.input, settings.output)
    folder = OutputFolder(settings.output)
    sheets = OutputFolder(settings.preview, "--preview") if settings.preview else None
    report = _report(settings)
    found = read_rows(settings.input)
    engine = open_engine(settings.weights, settings.engine, settings.device)
    print(f"{len(found.rows)} rows, {engine.name}", flush=True)
    summary, gallery, stages = Summary(), Gallery(settings.input, folder.root), Stages()
    summary.input_problems(found)
    plan = Plan(found.rows, engine.spec.tasks, settings.limit)
    batch_size = settings.batch_size or fitting_batch(engine.batch_size)
    facts = (found.digest, plan.row_count, settings.input.resolve(), engine.name, engine.checksum, batch_size)
    mark = fingerprint(*facts)
    if settings.shard:
        plan.keep(settings.shard, batch_size)
        mark = shard_mark(mark, settings.shard, plan.row_count)
        print(f"shard {settings.shard}: {plan.row_count} rows", flush=True)
    total = plan.row_count
    with graceful_shutdown() as stop, Journal(folder, mark, settings.resume) as journal:
        with PredictionWriter(folder) as writer:
            before = _taken_over(plan, journal, writer)
            now = _answered(engine, plan, settings.input, batch_size, journal, writer, stages, stop)
            for row, outcome in progress(chain(before, now), total=total):
                summary.take(row, outcome)
                gallery.offer(row, outcome)
                if report:
                    report.take(row, outcome)
        # A run that is killed before this line makes its lists again from the journal; a shard's stays for `merge`.
        if journal.rows == total and not settings.shard:
            journal.finish()
    print(stages)
    seconds = time.monotonic() - start
    made = {"preview": write_sheets(gallery, sheets)} if sheets else {}
    if report:
        made["report"] = report.write(engine, batch_size, summary, stages, gallery, total=total, seconds=seconds)
    text = as_text(summary, settings.output, made, total=total, seconds=seconds)
    stopped = f"{summary.rows} of {total} rows are answered" if journal.rows < total else None
    return _Ended(text, stopped, summary.flawless)


def _check_apart(root: Path, output: Path) -> None:
    """Raise `UsageError` if answers would be written over the labels: a mask's place is that of its true mask."""
    with suppress(OSError):  # one of them isn't there yet
        if os.path.samefile(root, output):
            raise UsageError(
                f"expected an output folder that isn't the input, found {output} for both, where answers would replace "
                "the labels; name another one with --output"
            )


def _report(settings: RunSettings) -> "Report | None":
    if settings.report is None:
        return None
    from inference.report.report import Report  # what it imports would make every first answer later

    return Report(settings.report, settings)


def _taken_over(plan: Plan, journal: Journal, writer: PredictionWriter) -> Iterator[tuple[Row, Outcome]]:
    """What an interrupted run has answered already."""
    requests = chain.from_iterable(job.requests for job in plan.jobs())
    for outcome in chain.from_iterable(journal.replay()):
        row = next(requests).row
        writer.take_over(row.type, outcome)
        yield row, outcome
    if journal.rows:
        print(f"{journal.rows} rows are taken over from the run that was interrupted", flush=True)


def _answered(
    engine: Engine,
    plan: Plan,
    root: Path,
    batch_size: int,
    journal: Journal,
    writer: PredictionWriter,
    stages: Stages,
    stop: ShutdownRequest,
) -> Iterator[tuple[Row, Outcome]]:
    """The rows of every batch that the journal doesn't hold yet, answered and written."""
    left = plan.jobs(journal.batches * batch_size)
    items = predictions(engine, left, root, batch_size, encode_row, stages=stages, stop=lambda: stop.requested)
    write = stages.timed("writing", writer.write)
    for item in items:
        predicted = item.predicted
        outcome = write(predicted.row, predicted.prediction, item.content)._replace(
            fallback=predicted.fallback, confidence=predicted.confidence, facts=item.facts
        )
        outcome = outcome._replace(warnings=(*predicted.warnings, *outcome.warnings))
        journal.add(outcome, predicted.last)
        yield predicted.row, outcome
