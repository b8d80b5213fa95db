"""Predict the images that a user names, and write what was found: records, masks, pictures and tables."""

import csv
import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby, takewhile
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import cv2

from aurora.api.model import Model, load
from aurora.api.results import MaskResult, Result
from aurora.engine.base import EngineName
from aurora.errors import ImageError, InputError, Stopped, UsageError
from aurora.images import ImageSlice, encode_mask
from aurora.runtime.cli import graceful_shutdown
from aurora.runtime.text import dump_json, text_table
from inference.output.folder import OutputFolder
from inference.predict.cine import save_cine
from inference.predict.page import predict_page
from inference.predict.selection import Selection, select
from inference.predict.series import COLUMNS, by_task, change_table, in_words
from inference.predict.sources import ImageSource
from inference.report.console import progress
from inference.run import EXIT_FALLBACKS, EXIT_STOPPED

if TYPE_CHECKING:
    from inference.predict.dicom.writer import DicomWriter

logger = logging.getLogger("aurora.inference")

#: What can be written for each image.
PARTS = ("masks", "overlays", "records", "curves", "nifti", "dicom")
RECORDS, TABLE, CHANGES, PAGE = "results.jsonl", "results.csv", "cines.csv", "results.html"
#: The lines of the table on the terminal; the files hold all.
LINES = 20
# The columns of the table before the measurements.
_COLUMNS = ("source", "frame", "task", "type", "answer", "confidence", "expected", "fallback", "warnings")


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """The settings of `inference predict`, one per flag, whose help explains them."""

    tasks: Sequence[str]
    output: Path
    weights: Path | None = None
    revision: str | None = None
    engine: EngineName | None = None
    device: str = "auto"
    batch_size: int | None = None
    frames: str | None = None
    save: Sequence[str] = ("masks", "overlays", "records", "curves")
    pixel_size: float | None = None
    strict: bool = False
    overwrite: bool = False


def predict(sources: Sequence[ImageSource], settings: PredictSettings) -> int:
    """Predict images and write the results; return the exit code, 0, 10 or 143.

    Images whose record is in the output folder are passed over, unless `overwrite` is set.

    Raises:
        InputError: nothing could be predicted; the results, which say why, are written.
        AuroraError: the weights, the device or the output can't be used, or a library is missing.
    """
    folder = OutputFolder(settings.output)
    dicom = _dicom_writer(folder) if "dicom" in settings.save else None
    model = load(settings.weights, revision=settings.revision, engine=settings.engine, device=settings.device)
    selections = select(sources, settings.frames)
    records = {} if settings.overwrite else _earlier(folder, selections, settings.tasks)
    missing = [selection for selection in selections if selection.source.name not in records]
    _announce(selections, len(records))
    with graceful_shutdown() as stop, suppress(Stopped):
        found = _predicted(model, missing, settings, lambda: stop.requested)
        total = sum(len(selection.frames) for selection in missing)
        for selection, pairs in groupby(progress(found, total=total), key=itemgetter(0)):
            name, kept = selection.source.name, list[list[Result]]()
            groups = _keeping((results for _, results in pairs), kept if dicom else None)
            if selection.several:
                records[name] = save_cine(folder, selection, groups, settings.tasks, settings.save)
            else:
                records[name] = [_save(folder, selection.source, result, settings) for result in next(groups)]
            if dicom:
                dicom.write(selection.source, kept, records[name])
            if "records" in settings.save:
                folder.write(_record_name(name), (dump_json(records[name], indent=2) + "\n").encode())
    if dicom:
        dicom.log_remarks()
    done = [(selection, records.get(selection.source.name, [])) for selection in selections]
    fallbacks = _write_tables(folder, done, {name: task.trained_on for name, task in model.tasks.items()})
    logger.info("%s", "\n".join(_terminal_lines(done)))
    frames = sum(len(selection.frames) for selection, found in done if found)
    click.echo(
        f"predicted {len(records)} of {len(sources)} images"
        + (f" with {frames} frames" if frames > len(records) else "")
        + (f", {fallbacks} results are fallbacks" if fallbacks else "")
        + f"; results: {settings.output}"
    )
    if len(records) < len(sources):
        click.echo("stopped by a signal; the same command predicts the rest", err=True)
        return EXIT_STOPPED
    _require_an_answer([record for _, found in done for record in found])
    return EXIT_FALLBACKS if settings.strict and fallbacks else 0


def _require_an_answer(rows: Sequence[dict[str, Any]]) -> None:
    """Raise `InputError` with the first reason if every result is a fallback."""
    if rows and all(row["fallback"] is not None for row in rows):
        raise InputError(
            f"expected an image, found none that can be predicted: {rows[0]['source']} {rows[0]['fallback']}"
        )


def _dicom_writer(folder: OutputFolder) -> "DicomWriter":
    if find_spec("highdicom") is None:
        raise UsageError("--save dicom needs highdicom, which isn't installed: pip install highdicom")
    from inference.predict.dicom.writer import DicomWriter

    return DicomWriter(folder)


def _keeping(groups: Iterable[list[Result]], kept: list[list[Result]] | None) -> Iterator[list[Result]]:
    """Yield results, and keep them in `kept`, if there is such a list, without their images."""
    for results in groups:
        if kept is not None:
            kept.append([replace(result, _read=_not_kept) for result in results])
        yield results


def _not_kept() -> NoReturn:
    raise AssertionError("the image of this result wasn't kept")


def _announce(selections: Sequence[Selection], done: int) -> None:
    """Say which results are there already, and which files have frames that aren't predicted."""
    if done:
        logger.info("%d images have results already; predict them again with --overwrite", done)
    if others := sum(selection.others for selection in selections):
        logger.info("files with several frames, of which one is taken: %d; --frames all predicts them all", others)


def _predicted(
    model: Model, selections: Sequence[Selection], settings: PredictSettings, stopped: Callable[[], bool]
) -> Iterator[tuple[Selection, list[Result]]]:
    """Yield every selection with the results of each of its images; after `stopped()` no further image is read."""
    images = (image for selection in selections for image in selection.images())
    results = model.predict_many(
        takewhile(lambda _: not stopped(), images),
        settings.tasks,
        pixel_size=settings.pixel_size,
        batch_size=settings.batch_size,
    )
    owners = (selection for selection in selections for _ in selection.frames)
    yield from zip(owners, results, strict=False)


def _save(folder: OutputFolder, source: ImageSource, result: Result, settings: PredictSettings) -> dict[str, Any]:
    """Write the mask and the picture of a result, and return its record, which names them."""
    record = result.to_record() | {"answer": result.answer}
    stem = source.stem(result.task.id)
    if "masks" in settings.save and isinstance(result, MaskResult):
        record["mask"] = f"masks/{stem}.png"
        folder.write(record["mask"], encode_mask(result.mask, record["mask"]))
    if "nifti" in settings.save and isinstance(result, MaskResult):
        record["nifti"] = f"nifti/{stem}.nii.gz"
        image = ImageSlice(source.path, source.path.parent, result.frame)
        folder.write(record["nifti"], encode_mask(result.mask, record["nifti"], image))
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


def _earlier(
    folder: OutputFolder, selections: Sequence[Selection], tasks: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the records of an earlier command for the same images and tasks, by the sources' names."""
    records = {}
    for selection in selections:
        name, source = selection.source.name, str(selection.source.path)
        wanted = [(source, frame, task) for frame in selection.frames for task in tasks]
        try:
            found = json.loads((folder.root / _record_name(name)).read_text(encoding="utf-8"))
            if [(record["source"], record["frame"], record["task"]) for record in found] == wanted:
                records[name] = found
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return records


def _write_tables(
    folder: OutputFolder, done: Sequence[tuple[Selection, list[dict[str, Any]]]], origins: Mapping[str, str]
) -> int:
    """Write the tables and the page of all results, and return the number of fallbacks."""
    rows = [record for _, records in done for record in records]
    folder.write(RECORDS, "".join(dump_json(row) + "\n" for row in rows).encode())
    folder.write(TABLE, _as_csv(rows).encode())
    changes = [line for selection, records in done if selection.several for line in change_table(records)]
    if changes:
        folder.write(CHANGES, _csv_text(COLUMNS, changes).encode())
    folder.write(PAGE, predict_page(rows, folder.root, origins))
    return sum(row["fallback"] is not None for row in rows)


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of all results; every measurement has a column, named with its class and unit."""
    lines = []
    for row in rows:
        values = {name: row[name] for name in _COLUMNS} | {"warnings": "; ".join(row["warnings"])}
        lines.append(values | {_column(item): item["value"] for item in row["measurements"]})
    names = dict.fromkeys((*_COLUMNS, *(name for line in lines for name in line)))
    return _csv_text(list(names), lines)


def _csv_text(names: Sequence[str], lines: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _column(measurement: dict[str, Any]) -> str:
    structure = measurement["structure_name"] or measurement["structure"]
    return f"{measurement['name']}{'' if structure is None else f' {structure}'} [{measurement['unit']}]"


def _terminal_lines(done: Sequence[tuple[Selection, list[dict[str, Any]]]]) -> Iterable[str]:
    """Return a table of the first results, with one line for all frames of a cine and task."""
    groups = [frames for _, records in done for frames in by_task(records).values()]
    shown = [("image", "task", "answer", "expected score")]
    for frames in groups[:LINES]:
        answer = in_words(frames) if len(frames) > 1 else frames[0]["answer"]
        expected = [frame["expected"] for frame in frames if frame["expected"] is not None]
        mean = f"{sum(expected) / len(expected):.2f}" if expected else ""
        shown.append((Path(frames[0]["source"]).name, frames[0]["task"], answer, mean))
    lines = text_table(shown)
    return lines if len(groups) <= LINES else [*lines, f"... and {len(groups) - LINES} more in {TABLE}"]
