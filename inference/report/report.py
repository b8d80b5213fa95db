"""The file that `--report` names: an HTML page, or the record of the run as JSON."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from aurora import __version__
from aurora.engine.base import Engine
from aurora.errors import UsageError
from aurora.predict.pipeline import Stages
from aurora.rows import Row
from aurora.runtime.hardware import library_versions, processors
from aurora.runtime.notes import Notes
from aurora.runtime.text import dump_json
from inference.output.folder import OutputFolder
from inference.output.journal import RowOutcome
from inference.plan import RunSettings
from inference.render.html import picture, render
from inference.report.console import Summary
from inference.report.gallery import Gallery
from inference.report.record import Note, RunRecord, WeightsRecord, WorkRecord
from inference.report.tally import Tally

ENDINGS = (".html", ".htm", ".json")
#: The longer side of a picture on the page, and the number of sampled pictures per task; doubtful ones are added.
SIDE, SAMPLED = 200, 2


class Report:
    """The report of a run: counts the rows, then writes the file.

    Args:
        path: the report's file.
        settings: the run's settings.

    Raises:
        UsageError: the file's name has another ending than `ENDINGS`.
        OutputError: the file's folder can't be written; this is checked now instead of after the run.
    """

    def __init__(self, path: Path, settings: RunSettings) -> None:
        if path.suffix.lower() not in ENDINGS:
            raise UsageError(f"--report must end in {', '.join(ENDINGS)}, found {path.name!r}; name such a file")
        self.folder, self.name = OutputFolder(path.parent, "--report"), path.name
        self.settings, self.tally = settings, Tally()
        self.started = datetime.now(UTC)

    def take(self, row: Row, outcome: RowOutcome) -> None:
        """Count a row with its outcome."""
        self.tally.take(row, outcome)

    def write(
        self,
        engine: Engine,
        batch_size: int,
        summary: Summary,
        stages: Stages,
        gallery: Gallery,
        *,
        total: int,
        seconds: float,
    ) -> Path:
        """Write the report of a run over `total` rows and return its path.

        Raises:
            OutputError: writing failed.
        """
        record = self._record(engine, batch_size, summary, stages, total, seconds)
        as_json = self.name.lower().endswith(".json")
        content = _json(record) if as_json else _page(record, gallery)
        self.folder.write(self.name, content)
        return self.folder.root / self.name

    def _record(
        self, engine: Engine, batch_size: int, summary: Summary, stages: Stages, total: int, seconds: float
    ) -> RunRecord:
        spec, settings = engine.spec, self.settings
        return RunRecord(
            aurora=__version__,
            python=platform.python_version(),
            machine=f"{processors()} processors, {platform.platform()}",
            libraries=library_versions(),
            started=self.started,
            seconds=seconds,
            at_work=WorkRecord(seconds=stages.at_work, stages=stages.seconds, threads=stages.threads),
            input=str(settings.input),
            output=str(settings.output),
            weights=WeightsRecord(
                file=str(engine.path),
                sha256=engine.checksum,
                tasks=len(spec.tasks),
                image_size=spec.config.image_size,
                provenance=dict(spec.provenance),
            ),
            engine=engine.name,
            batch_size=batch_size,
            limit=settings.limit,
            shard=str(settings.shard) if settings.shard else None,
            rows=total,
            predicted=summary.rows,
            complete=summary.complete,
            stopped=summary.rows + summary.unwritten.total() < total,
            fallbacks=list(_notes(summary.fallbacks)),
            unwritten=list(_notes(summary.unwritten)),
            warnings=list(_notes(summary.warnings)),
            tasks=self.tally.records(),
        )


def _notes(notes: Notes) -> Iterator[Note]:
    yield from (Note(**record) for record in notes.records())


def _validation_scores(record: RunRecord) -> dict[str, float]:
    """Return the composite of each task in the validation that chose the weights, if their metadata hold it."""
    scores = record.weights.provenance.get("validation")
    tasks = scores.items() if isinstance(scores, dict) else ()
    composites = ((name, metrics.get("composite")) for name, metrics in tasks if isinstance(metrics, dict))
    return {name: float(value) for name, value in composites if isinstance(value, int | float)}


def _json(record: RunRecord) -> bytes:
    """Return the record as strict JSON; the bytes of a path that aren't UTF-8 are escaped."""
    return dump_json(record.model_dump(mode="json"), indent=1).encode(errors="backslashreplace") + b"\n"


def _page(record: RunRecord, gallery: Gallery) -> bytes:
    pictures = {}
    for key, selection in gallery.tasks.items():
        doubtful = selection.most_doubtful()
        sampled = [item for item in selection.sample if item not in doubtful and item.outcome.fallback is None]
        items = [*sampled[:SAMPLED], *doubtful]
        pictures[key] = [(item, item in doubtful, picture(pixels)) for item, pixels in gallery.pictures(items, SIDE)]
    return render("run.html", run=record, validation=_validation_scores(record), pictures=pictures)
