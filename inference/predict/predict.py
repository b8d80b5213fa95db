"""Predict the images that a user names, and write what was found: records, masks, pictures and tables."""

import csv
import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2

from aurora.api.model import Model, load
from aurora.api.results import MaskResult, Result
from aurora.engine.base import EngineName
from aurora.errors import ImageError, UsageError
from aurora.images import encode_mask
from aurora.runtime.cli import graceful_shutdown
from aurora.runtime.text import dump_json, text_table
from inference.output.folder import OutputFolder
from inference.predict.page import predict_page
from inference.predict.sources import ImageSource
from inference.report.console import progress
from inference.run import EXIT_FALLBACKS, EXIT_STOPPED

if TYPE_CHECKING:
    from inference.predict.dicom.writer import DicomWriter

logger = logging.getLogger("aurora.inference")

#: What can be written for each image.
PARTS = ("masks", "overlays", "records", "dicom")
RECORDS, TABLE, PAGE = "results.jsonl", "results.csv", "results.html"
#: The lines of the table on the terminal; the files hold all.
LINES = 20
# The columns of the table before the measurements.
_COLUMNS = ("source", "task", "type", "answer", "confidence", "expected", "fallback", "warnings")


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """The settings of `inference predict`, one per flag, whose help explains them."""

    tasks: Sequence[str]
    output: Path
    weights: Path | None = None
    engine: EngineName | None = None
    device: str = "auto"
    batch_size: int | None = None
    save: Sequence[str] = ("masks", "overlays", "records")
    pixel_size: float | None = None
    strict: bool = False
    overwrite: bool = False


def predict(sources: Sequence[ImageSource], settings: PredictSettings) -> int:
    """Predict images and write the results; return the exit code, 0, 10 or 143.

    Images whose record is in the output folder are passed over, unless `overwrite` is set.

    Raises:
        AuroraError: the weights, the device or the output can't be used, or a library is missing.
    """
    folder = OutputFolder(settings.output)
    dicom = _dicom_writer(folder) if "dicom" in settings.save else None
    model = load(settings.weights, engine=settings.engine, device=settings.device)
    records = {} if settings.overwrite else _earlier(folder, sources, settings.tasks)
    missing = [source for source in sources if source.name not in records]
    if records:
        logger.info("%d images have results already; predict them again with --overwrite", len(records))
    with graceful_shutdown() as stop:
        found = _predicted(model, missing, settings, lambda: stop.requested)
        for source, results in progress(found, total=len(missing)):
            records[source.name] = [_save(folder, source, result, settings) for result in results]
            if dicom:
                dicom.write(source, results, records[source.name])
            if "records" in settings.save:
                folder.write(_record_name(source.name), (dump_json(records[source.name], indent=2) + "\n").encode())
    if dicom:
        dicom.log_remarks()
    rows = [record for source in sources for record in records.get(source.name, ())]
    folder.write(RECORDS, "".join(dump_json(row) + "\n" for row in rows).encode())
    folder.write(TABLE, _as_csv(rows).encode())
    origins = {name: task.trained_on for name, task in model.tasks.items()}
    folder.write(PAGE, predict_page(rows, settings.output, origins))
    fallbacks = sum(row["fallback"] is not None for row in rows)
    logger.info("%s", "\n".join(_terminal_lines(rows)))
    click.echo(
        f"predicted {len(records)} of {len(sources)} images"
        + (f", {fallbacks} results are fallbacks" if fallbacks else "")
        + f"; results: {settings.output}"
    )
    if len(records) < len(sources):
        click.echo("stopped by a signal; the same command predicts the rest", err=True)
        return EXIT_STOPPED
    return EXIT_FALLBACKS if settings.strict and fallbacks else 0


def _dicom_writer(folder: OutputFolder) -> "DicomWriter":
    if find_spec("highdicom") is None:
        raise UsageError("--save dicom needs highdicom, which isn't installed: pip install highdicom")
    from inference.predict.dicom.writer import DicomWriter

    return DicomWriter(folder)


def _predicted(
    model: Model, sources: Sequence[ImageSource], settings: PredictSettings, stopped: Callable[[], bool]
) -> Iterator[tuple[ImageSource, list[Result]]]:
    """Yield every source with its results; once `stopped()` is true, no further image is read."""

    def paths() -> Iterator[Path]:
        for source in sources:
            if stopped():
                return
            yield source.path

    results = model.predict_many(
        paths(), settings.tasks, pixel_size=settings.pixel_size, batch_size=settings.batch_size
    )
    yield from zip(sources, results, strict=False)


def _save(folder: OutputFolder, source: ImageSource, result: Result, settings: PredictSettings) -> dict[str, Any]:
    """Write the mask and the picture of a result, and return its record, which names them."""
    record = result.to_record() | {"answer": result.answer}
    stem = source.stem(result.task.id)
    if "masks" in settings.save and isinstance(result, MaskResult):
        record["mask"] = f"masks/{stem}.png"
        folder.write(record["mask"], encode_mask(result.mask, record["mask"]))
    if "overlays" in settings.save and result.fallback is None:
        try:
            picture = result.overlay()
        except ImageError as error:  # the file has changed since it was read
            logger.warning("no picture: %s", error)
        else:
            record["overlay"] = f"overlays/{stem}.png"
            folder.write(record["overlay"], cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    return record


def _record_name(name: str) -> str:
    return f"records/{name}.json"


def _earlier(folder: OutputFolder, sources: Sequence[ImageSource], tasks: Sequence[str]) -> dict[str, list[dict]]:
    """Return the records of an earlier command for the same images and tasks, by the sources' names."""
    records = {}
    for source in sources:
        path = folder.root / _record_name(source.name)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if [(r["source"], r["task"]) for r in found] == [(str(source.path), task) for task in tasks]:
                records[source.name] = found
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return records


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of all results; every measurement has a column, named with its class and unit."""
    lines = []
    for row in rows:
        values = {name: row[name] for name in _COLUMNS} | {"warnings": "; ".join(row["warnings"])}
        lines.append(values | {_column(item): item["value"] for item in row["measurements"]})
    names = dict.fromkeys((*_COLUMNS, *(name for line in lines for name in line)))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _column(measurement: dict[str, Any]) -> str:
    structure = measurement["structure_name"] or measurement["structure"]
    return f"{measurement['name']}{'' if structure is None else f' {structure}'} [{measurement['unit']}]"


def _terminal_lines(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    shown = [("image", "task", "answer", "expected score")]
    for row in rows[:LINES]:
        expected = "" if row["expected"] is None else f"{row['expected']:.2f}"
        shown.append((Path(row["source"]).name, row["task"], row["answer"], expected))
    lines = text_table(shown)
    return lines if len(rows) <= LINES else [*lines, f"... and {len(rows) - LINES} more in {TABLE}"]
