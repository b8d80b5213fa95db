"""Write predictions in the challenge's format."""

from collections.abc import Iterable
from pathlib import Path

from aurora.errors import InputError
from aurora.images import encode_mask
from aurora.kinds import Prediction, Record, prediction_files
from aurora.rows import Row, predicted_mask_path
from aurora.runtime.files import replacing
from aurora.runtime.text import dump_json
from aurora.runtime.write_errors import write_error
from aurora.tasks import TaskType


def write_predictions(predictions: Iterable[tuple[Row, Prediction]], out: Path) -> None:
    """Write each row's prediction under `out`: masks as files, the others as entries of their type's JSON file.

    Raises:
        InputError: a row has no path for its mask.
        OutputError: `out` can't be written.
    """
    names = prediction_files()
    entries: dict[TaskType, list[Record]] = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for row, prediction in predictions:
            if isinstance(prediction, Record):
                entries.setdefault(row.type, []).append(prediction)
            else:
                path = _mask_path(row)
                _write_file(out / path, encode_mask(prediction, path))
        for task_type, records in entries.items():
            _write_file(out / names[task_type], dump_json([record.model_dump() for record in records]).encode())
    except OSError as error:
        raise write_error(out, error, "name another folder with --out", folder=out) from error


def _mask_path(row: Row) -> str:
    try:
        return predicted_mask_path(row)
    except ValueError as error:
        raise InputError(f"{row.source}: {error}; correct the row") from None


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
