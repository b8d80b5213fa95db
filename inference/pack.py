"""Pack a finished set of predictions as a zip for upload; reject a set that is incomplete or malformed."""

import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from aurora.errors import AuroraError, ImageError, InputError
from aurora.images import image_size
from aurora.kinds import KINDS, Entry, Key, prediction_files
from aurora.predict.predictions import fallback_size
from aurora.rows import Row, image_file, predicted_mask_path, read_rows
from aurora.rows.row import plain
from aurora.runtime.files import replacing
from aurora.scoring.cases import read_predictions
from inference.output.journal import JOURNAL
from inference.output.written import written_mask, written_record

SHOWN = 20
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
    for task_type, name in prediction_files().items():
        names.append(name)
        problems += _list_problems(name, [row for row in rows if row.type == task_type], predictions)
    for row in rows:
        if KINDS[row.type].RECORD is None:
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


def _list_problems(name: str, rows: list[Row], predictions: Path) -> Iterator[str]:
    """Return the problems of the JSON list of one type."""
    by_key = {(row.task_id, row.image_path): row for row in rows}
    problems: list[str] = []
    try:
        entries = read_predictions(predictions / name, set(by_key), problems)
    except InputError as error:
        return iter([str(error)])
    if entries is None:
        return iter([f"{name} is missing, with {len(rows)} rows to predict"] if rows else [])
    return chain(problems, _record_problems(by_key, entries))


def _record_problems(rows: dict[Key, Row], entries: dict[Key, Entry]) -> Iterator[str]:
    """Yield the problem of each row whose entry is missing or invalid."""
    for key, row in rows.items():
        if key not in entries:
            yield f"{row.source}: {plain(row.image_path)} has no prediction"
            continue
        try:
            written_record(entries[key], row)
        except ValueError as error:
            yield f"{row.source}: {error}"


def _checked_mask(row: Row, root: Path, predictions: Path) -> str:
    """Return the name of the row's mask; raise `ValueError` or `ImageError` if the mask is invalid for the row."""
    name, mask = predicted_mask_path(row), written_mask(predictions, row)
    if mask is None:
        raise ValueError(f"the mask {plain(name)} is missing")
    try:
        size = fallback_size(image_size(image_file(root, row), root))
    except ImageError:
        size = mask.shape  # if the image can't be read, a mask of any size is valid
    if mask.shape != size:
        raise ValueError(f"expected a mask of {size[1]}x{size[0]} pixels, found {mask.shape[1]}x{mask.shape[0]}")
    return name


def _write(predictions: Path, files: list[str], out: Path) -> None:
    with replacing(out) as tmp, zipfile.ZipFile(tmp, "w") as archive:
        for name in files:
            compression = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name, DATE), (predictions / name).read_bytes(), compression)
