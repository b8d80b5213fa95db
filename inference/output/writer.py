"""Write predictions: a file per mask, and three JSON lists streamed to disk."""

import errno
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np

from aurora.errors import ImageError
from aurora.images import ImageSlice, encode_mask, mask_name_problem, read_mask, states_place
from aurora.kinds import KINDS, Facts, Prediction, Record, prediction_files
from aurora.predict.predictions import PredictedRow
from aurora.rows import Row, image_file, predicted_mask_path
from aurora.runtime.files import sync
from aurora.runtime.seen_hashes import SeenHashes
from aurora.tasks import TaskType
from inference.output.folder import PART, OutputFolder
from inference.output.journal import RowOutcome


def read_back(root: Path, row: Row, outcome: RowOutcome) -> Prediction | None:
    """Return the prediction that was written into the folder `root` for a row, or None if there is none."""
    if outcome.record is not None:
        return parse_record(row.type, outcome.record)
    try:
        return None if outcome.mask is None else read_mask(root / outcome.mask)
    except ImageError:
        return None


class EncodedRow(NamedTuple):
    """A predicted row with the content of its mask's file, empty if it has none, and the facts that a report counts."""

    predicted: PredictedRow
    content: bytes
    facts: Facts


def encode_row(root: Path, predicted: PredictedRow) -> EncodedRow:
    """Encode the mask of a row of the input folder `root`, if it has one, in the place of its image."""
    mask, row = predicted.prediction, predicted.row
    name = row.mask_path or ""
    image = _image(root, row) if states_place(name) else None
    content = encode_mask(mask, name, image) if isinstance(mask, np.ndarray) else b""
    return EncodedRow(predicted, content, predicted.facts())


def _image(root: Path, row: Row) -> ImageSlice | None:
    """Return the image of a row, None if the row names none; its mask is then that of a fallback."""
    try:
        return ImageSlice(image_file(root, row), root)
    except ImageError:
        return None


def parse_record(task_type: TaskType, record: str) -> Record:
    """Parse an entry of the JSON file of a task type; raise `ValueError` if it isn't one."""
    model = KINDS[task_type].RECORD
    if model is None:
        raise ValueError(f"predictions of {task_type} are files, not entries of a JSON file")
    return model.model_validate_json(record)


class PredictionWriter:
    """Write one prediction per row; a context manager.

    When the context ends, the JSON lists are completed, synced to disk and given their names, also if a signal stopped
    the run. After an error inside the context they aren't written.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self.folder, self.names = folder, prediction_files()
        self.masks = SeenHashes()
        self.lists: dict[TaskType, BinaryIO] = {}

    def __enter__(self) -> Self:
        try:
            for name in self.names.values():
                if (self.folder.root / name).is_dir():
                    raise IsADirectoryError(errno.EISDIR, f"{name} is a folder there")
            for task_type in self.names:
                tmp = self._tmp(task_type)
                self.lists[task_type] = tmp.open("wb")
                self.folder.give_to_owner(tmp)  # at once, because the run may be resumed as the owner
                self.lists[task_type].write(b"[")
        except OSError as error:
            self._discard()
            raise self.folder.failure(error) from error
        return self

    def write(self, row: Row, prediction: Prediction, content: bytes) -> RowOutcome:
        """Write the prediction of one row; if that isn't allowed, the outcome says why.

        `content` is what `encode_row` returns for the prediction.

        Raises:
            OutputError: writing failed.
        """
        try:
            if isinstance(prediction, np.ndarray):
                return self._write_mask(row, prediction, content)
            outcome = RowOutcome(record=prediction.model_dump_json())
        except ValueError as error:
            return RowOutcome(unwritten=str(error))
        self.take_over(row.type, outcome)
        return outcome

    def take_over(self, task_type: TaskType, outcome: RowOutcome) -> None:
        """Add the outcome of a row of this type to its list; its mask, if any, must already be written.

        Raises:
            OutputError: writing failed.
        """
        if outcome.mask is not None:
            self.masks.add(outcome.mask)
        if outcome.record is None:
            return
        file = self.lists[task_type]
        try:
            file.write(b"\n" if file.tell() == 1 else b",\n")
            file.write(outcome.record.encode())
        except OSError as error:
            raise self.folder.failure(error) from error

    def _write_mask(self, row: Row, mask: np.ndarray, content: bytes) -> RowOutcome:
        name = predicted_mask_path(row)
        if name.partition("/")[0] in self.names.values() or name.endswith(PART):
            raise ValueError(f"mask_path names {name}, which is reserved for other predictions")
        if name in self.masks:
            return RowOutcome(warnings=("another row names the same mask; the first one's is kept",))
        if not content:
            raise ValueError(f"no {Path(name).suffix} file can hold a mask of {mask.shape[1]}x{mask.shape[0]} pixels")
        problem = mask_name_problem(name)
        self.folder.write(name, content)
        self.masks.add(name)
        return RowOutcome(mask=name, checksum=zlib.crc32(content), warnings=(problem,) if problem else ())

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error_type is None:
                self._finish()
        except OSError as failure:
            raise self.folder.failure(failure) from failure
        finally:
            self._discard()

    def _finish(self) -> None:
        """Complete all lists before naming any, so that a full disk leaves none of them under its name."""
        for file in self.lists.values():
            file.write(b"]\n" if file.tell() == 1 else b"\n]\n")
            file.close()
        for task_type, name in self.names.items():
            self.folder.finish(self._tmp(task_type), self.folder.root / name)
        sync(self.folder.root / name for name in self.names.values())

    def _discard(self) -> None:
        """Close the lists and remove those without a name."""
        for task_type, file in self.lists.items():
            with suppress(OSError):  # the rest of its buffer isn't needed
                file.close()
            self._tmp(task_type).unlink(missing_ok=True)

    def _tmp(self, task_type: TaskType) -> Path:
        return self.folder.root / f".{self.names[task_type]}{PART}"
