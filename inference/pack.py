"""Pack a finished set of predictions as a zip for upload; reject a set that is incomplete or malformed."""

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from aurora.errors import AuroraError, ImageError, InputError, OutputError
from aurora.images import image_size, read_mask
from aurora.predict.answers import (
    JSON_FILES,
    RECORDS,
    ClassificationPrediction,
    DetectionPrediction,
    LandmarksPrediction,
    fallback_size,
)
from aurora.rows import Row, image_file, predicted_mask_path, read_rows
from aurora.rows.row import plain
from aurora.scoring.cases import Entry, Key, is_there, read_predictions
from aurora.tasks import TaskType
from inference.output.journal import JOURNAL

SHOWN = 20
SUM_TOLERANCE = 1e-3
# The earliest date that a zip can hold: with a fixed date, equal predictions give equal archives.
DATE = (1980, 1, 1, 0, 0, 0)


def pack(root: Path, predictions: Path, out: Path) -> int:
    """Check the predictions of all rows of the input root and write them as a zip; return its number of files.

    Raises:
        InputError: predictions are missing, malformed or of other rows; the message names the first of them.
        OutputError: `out` can't be written.
    """
    rows = list(read_rows(root).rows)
    names, problems = [], []
    if (predictions / JOURNAL).exists():
        problems.append("the run hasn't finished: continue with 'inference run --resume'")
    for task_type, name in JSON_FILES.items():
        names.append(name)
        problems += _list_problems(task_type, [row for row in rows if row.type is task_type], predictions)
    for row in rows:
        if row.type is TaskType.SEGMENTATION:
            try:
                names.append(_checked_mask(row, root, predictions))
            except (AuroraError, ValueError) as error:
                problems.append(f"{row.source}: {error}")
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        listed = "; ".join([*problems[:SHOWN], *more])
        raise InputError(
            f"expected a valid prediction of each of {len(rows)} rows in {predictions}, found {len(problems)} problems "
            f"({listed}); run 'inference run' on this input again"
        )
    files = sorted({name for name in names if (predictions / name).exists()})
    _write(predictions, files, out)
    return len(files)


def _list_problems(task_type: TaskType, rows: list[Row], predictions: Path) -> Iterator[str]:
    """Return the problems of the JSON list of one type."""
    by_key = {(row.task_id, row.image_path): row for row in rows}
    problems: list[str] = []
    try:
        entries = read_predictions(predictions / JSON_FILES[task_type], set(by_key), problems)
    except InputError as error:
        return iter([str(error)])
    if entries is None:
        return iter([f"{JSON_FILES[task_type]} is missing, with {len(rows)} rows to predict"] if rows else [])
    return chain(problems, _record_problems(task_type, by_key, entries))


def _record_problems(task_type: TaskType, rows: dict[Key, Row], entries: dict[Key, Entry]) -> Iterator[str]:
    """Yield the problem of each row whose entry is missing or invalid."""
    for key, row in rows.items():
        if key not in entries:
            yield f"{row.source}: {plain(row.image_path)} has no prediction"
            continue
        try:
            _check(RECORDS[task_type].model_validate(entries[key], strict=True), row)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            yield f"{row.source}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        except ValueError as error:
            yield f"{row.source}: {error}"


def _check(record: Any, row: Row) -> None:
    """Raise `ValueError` for what the record's own schema can't see."""
    if isinstance(record, ClassificationPrediction):
        probabilities, count = record.predicted_probs, row.num_classes
        if count not in (None, len(probabilities)):
            raise ValueError(f"expected {count} probabilities, found {len(probabilities)}")
        if abs(sum(probabilities) - 1) > SUM_TOLERANCE:
            raise ValueError(f"expected probabilities that sum to 1, found {sum(probabilities):.3f}")
        if record.predicted_class >= len(probabilities):
            raise ValueError(f"expected a class below {len(probabilities)}, found {record.predicted_class}")
    elif isinstance(record, DetectionPrediction):
        corners = np.array([record.bbox_normalized, record.bbox_pixels])
        if (corners[:, :2] > corners[:, 2:]).any():
            raise ValueError("expected x1 <= x2 and y1 <= y2")
    elif isinstance(record, LandmarksPrediction):
        counts = len(record.predicted_points_normalized), len(record.predicted_points_pixels)
        wanted = 2 * row.num_classes if row.num_classes else counts[0]
        if counts != (wanted, wanted):
            found = f"found {counts[0]} and {counts[1]}"
            raise ValueError(f"expected {wanted} numbers for the points in each frame, {found}")


def _checked_mask(row: Row, root: Path, predictions: Path) -> str:
    """Return the name of the row's mask; raise `ValueError` or `ImageError` if the mask is invalid for the row."""
    name = predicted_mask_path(row)
    if not is_there(predictions / name):
        raise ValueError(f"the mask {plain(name)} is missing")
    mask = read_mask(predictions / name)
    try:
        size = fallback_size(image_size(image_file(root, row), root))
    except ImageError:
        size = mask.shape  # if the image can't be read, a mask of any size is valid
    if mask.shape != size:
        raise ValueError(f"expected a mask of {size[1]}x{size[0]} pixels, found {mask.shape[1]}x{mask.shape[0]}")
    if row.num_classes and mask.max(initial=0) >= row.num_classes:
        raise ValueError(f"expected classes below {row.num_classes} in the mask, found {mask.max()}")
    return name


def _write(predictions: Path, files: list[str], out: Path) -> None:
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(part, "w") as archive:
            for name in files:
                compression = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
                archive.writestr(zipfile.ZipInfo(name, DATE), (predictions / name).read_bytes(), compression)
        part.replace(out)
    except OSError as error:
        raise OutputError(f"can't write {out} ({error.strerror}); name another file with --out") from error
    finally:
        with suppress(OSError):  # the error that kept it from being written is raised already
            part.unlink(missing_ok=True)
