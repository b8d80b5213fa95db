"""`inference run`: everything between the flags and the answers."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from aurora.rows import read_rows
from aurora.stopping import stop_signals
from inference.engine import EngineName, open_engine
from inference.output import OutputFolder
from inference.pipeline import Answered, answers
from inference.plan import plan
from inference.preview import Preview
from inference.progress import progress
from inference.report import as_text
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
    batch_size: int = 16
    limit: int | None = None
    strict: bool = False
    preview: Path | None = None


def run(settings: RunSettings) -> int:
    """Answer every row under `settings.input`; returns the exit code, 0, 10 or 143.

    Raises an `AuroraError` when the input, the weights, the device or the output can't be used.
    """
    start = time.monotonic()
    folder = OutputFolder(settings.output)
    found = read_rows(settings.input)
    engine = open_engine(settings.weights, settings.engine, settings.device)
    print(f"{len(found.rows)} rows, {engine.name}", flush=True)
    summary = Summary()
    summary.input_problems(found.problems)
    rows = found.rows[: settings.limit]
    preview = Preview(settings.preview, settings.input) if settings.preview else None
    with stop_signals() as stop, AnswerWriter(folder, summary.warn) as writer:
        jobs = plan(rows, engine.spec.tasks)
        stream = answers(engine, jobs, settings.input, settings.batch_size, stop=lambda: stop.wanted)
        for item in progress(stream, total=len(rows)):
            _take(item, writer, summary)
            if preview:
                preview.offer(item.row, item.answer)
    picture = preview.write() if preview else None
    print(as_text(summary, settings.output, picture, total=len(rows), seconds=time.monotonic() - start), flush=True)
    if stop.wanted and summary.rows + summary.unwritten.total() < len(rows):
        print(f"stopped by a signal; {summary.rows} of {len(rows)} rows are answered", file=sys.stderr)
        return EXIT_STOPPED
    return EXIT_FALLBACKS if settings.strict and (summary.fallbacks or summary.unwritten) else 0


def _take(item: Answered, writer: AnswerWriter, summary: Summary) -> None:
    for warning in item.warnings:
        summary.warn(warning, item.row.source)
    try:
        writer.write(item.row, item.answer)
    except ValueError as error:
        summary.not_written(item.row, str(error))
    else:
        summary.answered(item.row, item.fallback)
