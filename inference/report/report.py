"""A run's record, and the file that `--report` names: a page, or with the ending .json the record itself."""

import json
import platform
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from aurora import __version__
from aurora.engine.base import Engine
from aurora.errors import UsageError
from aurora.predict.pipeline import Stages
from aurora.rows import Row
from aurora.runtime.hardware import library_versions, processors
from inference.output.folder import OutputFolder
from inference.output.journal import RowOutcome
from inference.plan import RunSettings
from inference.render.html import picture, render
from inference.report.console import Summary
from inference.report.gallery import Gallery
from inference.report.record import Noted, RunRecord, WeightsRecord, WorkRecord
from inference.report.tally import Tally

ENDINGS = (".html", ".htm", ".json")
#: The longer side of a picture on the page, and how many each task has of a sample; the doubtful ones come on top.
SIDE, SAMPLED = 200, 2


class Report:
    """Counts while a run goes on and writes its report; the place is tried at once, not when everything is done.

    Args:
        path: the file.
        settings: the run's.

    Raises:
        UsageError: the file's name has another ending than `ENDINGS`.
        OutputError: it can't be written there.
    """

    def __init__(self, path: Path, settings: RunSettings) -> None:
        if path.suffix.lower() not in ENDINGS:
            raise UsageError(f"--report must end in {', '.join(ENDINGS)}, found {path.name!r}; name such a file")
        self.folder, self.name = OutputFolder(path.parent, "--report"), path.name
        self.settings, self.tally = settings, Tally()
        self.started = datetime.now(UTC)

    def take(self, row: Row, outcome: RowOutcome) -> None:
        """Count a row."""
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
        """Write the report of a run that was to answer `total` rows; returns the file. Raises `OutputError`."""
        record = self._record(engine, batch_size, summary, stages, total, seconds)
        data = self.name.lower().endswith(".json")
        content = _data(record) if data else _page(record, gallery)
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
            answered=summary.rows,
            complete=summary.complete,
            stopped=summary.rows + summary.unwritten.total() < total,
            fallbacks=list(_noted(summary.fallbacks, summary)),
            unwritten=list(_noted(summary.unwritten, summary)),
            warnings=list(_noted(summary.warnings, summary)),
            tasks=self.tally.records(),
        )


def _noted(counted: Counter[str], summary: Summary) -> Iterator[Noted]:
    for text, rows in counted.most_common():
        yield Noted(text=text, rows=rows, examples=summary.examples[text])


def _trained(record: RunRecord) -> dict[str, float]:
    """The composite that each task had where the weights were chosen, as far as they say so."""
    scores = record.weights.provenance.get("validation")
    tasks = scores.items() if isinstance(scores, dict) else ()
    found = ((name, metrics.get("composite")) for name, metrics in tasks if isinstance(metrics, dict))
    return {name: float(value) for name, value in found if isinstance(value, int | float)}


def _data(record: RunRecord) -> bytes:
    """The record as JSON: NaN, which that doesn't have, is null, and what is no text in a path is escaped."""
    plain = json.loads(json.dumps(record.model_dump(mode="json")), parse_constant=lambda _: None)
    return json.dumps(plain, ensure_ascii=False, indent=1).encode(errors="backslashreplace") + b"\n"


def _page(record: RunRecord, gallery: Gallery) -> bytes:
    pictures = {}
    for key, chosen in gallery.tasks.items():
        doubtful = chosen.most_doubtful()
        sampled = [kept for kept in chosen.sample if kept not in doubtful and kept.outcome.fallback is None]
        shown = [*sampled[:SAMPLED], *doubtful]
        pictures[key] = [(kept, kept in doubtful, picture(pixels)) for kept, pixels in gallery.pictures(shown, SIDE)]
    return render("run.html", run=record, trained=_trained(record), pictures=pictures)
