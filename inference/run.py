"""`inference run`: everything between the flags and the answers."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from aurora.engine.engine import Engine, EngineName, open_engine
from aurora.limits import fitting_batch
from aurora.rows import Row, read_rows
from aurora.stopping import Stop, stop_signals
from inference.journal import Journal, Outcome, fingerprint, shard_mark
from inference.output import OutputFolder
from inference.pipeline import answers
from inference.plan import Plan
from inference.preview import Preview
from inference.progress import progress
from inference.report import as_text
from inference.shard import Shard
from inference.stages import Stages
from inference.summary import Summary
from inference.writer import AnswerWriter

EXIT_FALLBACKS = 10
EXIT_STOPPED = 143


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The flags of `inference run`."""

    input: Path
    output: Path
    weights: Path | None = None
    engine: EngineName | None = None
    device: str = "auto"
    batch_size: int | None = None
    limit: int | None = None
    resume: bool = False
    strict: bool = False
    preview: Path | None = None
    shard: Shard | None = None


def run(settings: RunSettings) -> int:
    """Answer every row under `settings.input`; returns the exit code, 0, 10 or 143.

    Raises an `AuroraError` when the input, the weights, the device or the output can't be used.
    """
    start = time.monotonic()
    folder = OutputFolder(settings.output)
    found = read_rows(settings.input)
    engine = open_engine(settings.weights, settings.engine, settings.device)
    print(f"{len(found.rows)} rows, {engine.name}", flush=True)
    summary, stages = Summary(), Stages()
    summary.input_problems(found)
    plan = Plan(found.rows, engine.spec.tasks, settings.limit)
    preview = Preview(settings.preview, settings.input) if settings.preview else None
    batch_size = settings.batch_size or fitting_batch(engine.batch_size)
    facts = (found.digest, plan.row_count, settings.input.resolve(), engine.name, engine.checksum, batch_size)
    mark = fingerprint(*facts)
    if settings.shard:
        plan.keep(settings.shard, batch_size)
        mark = shard_mark(mark, settings.shard, plan.row_count)
        print(f"shard {settings.shard}: {plan.row_count} rows", flush=True)
    total = plan.row_count
    with stop_signals() as stop, Journal(folder, mark, settings.resume) as journal:
        with AnswerWriter(folder) as writer:
            before = _taken_over(plan, journal, writer, preview)
            now = _answered(engine, plan, settings.input, batch_size, journal, writer, preview, stages, stop)
            for row, outcome in progress(chain(before, now), total=total):
                summary.take(row, outcome)
        # A run that is killed before this line makes its lists again from the journal; a shard's stays for `merge`.
        if journal.rows == total and not settings.shard:
            journal.finish()
    picture = preview.write() if preview else None
    print(stages)
    print(as_text(summary, settings.output, picture, total=total, seconds=time.monotonic() - start), flush=True)
    if journal.rows < total:
        print(f"stopped by a signal; {summary.rows} of {total} rows are answered; go on with --resume", file=sys.stderr)
        return EXIT_STOPPED
    return EXIT_FALLBACKS if settings.strict and not summary.flawless else 0


def _taken_over(
    plan: Plan, journal: Journal, writer: AnswerWriter, preview: Preview | None
) -> Iterator[tuple[Row, Outcome]]:
    """What an interrupted run has answered already."""
    requests = chain.from_iterable(job.requests for job in plan.jobs())
    for outcome in chain.from_iterable(journal.replay()):
        row = next(requests).row
        writer.take_over(row, outcome)
        if preview and row.task_id not in preview.first:
            answer = writer.read_back(row, outcome)
            if answer is not None:
                preview.offer(row, answer)
        yield row, outcome
    if journal.rows:
        print(f"{journal.rows} rows are taken over from the run that was interrupted", flush=True)


def _answered(
    engine: Engine,
    plan: Plan,
    root: Path,
    batch_size: int,
    journal: Journal,
    writer: AnswerWriter,
    preview: Preview | None,
    stages: Stages,
    stop: Stop,
) -> Iterator[tuple[Row, Outcome]]:
    """The rows of every batch that the journal doesn't hold yet, answered and written."""
    left = plan.jobs(journal.batches * batch_size)
    items = answers(engine, left, root, batch_size, stages, stop=lambda: stop.wanted)
    write = stages.timed("writing", writer.write)
    for item in items:
        outcome = write(item.row, item.answer, item.content)
        outcome = outcome._replace(fallback=item.fallback, warnings=(*item.warnings, *outcome.warnings))
        journal.add(outcome, item.last)
        if preview:
            preview.offer(item.row, item.answer)
        yield item.row, outcome
