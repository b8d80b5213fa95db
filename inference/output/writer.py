"""Answers to files: a PNG per mask, three JSON lists streamed to disk."""

import errno
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np

from aurora.errors import ImageError
from aurora.images import read_mask
from aurora.kinds import KINDS, Facts, Prediction, Record, prediction_files
from aurora.kinds.segmentation import encode
from aurora.predict.predictions import PredictedRow
from aurora.rows import Row, predicted_mask_path
from aurora.tasks import TaskType
from inference.output.folder import PART, OutputFolder
from inference.output.journal import Outcome

ODD_NAME = "the mask's name doesn't end in .png; its content is PNG all the same"


def read_back(root: Path, row: Row, outcome: Outcome) -> Prediction | None:
    """The answer that was written into the folder `root` with this outcome, None if none was or it is gone."""
    if outcome.record is not None:
        return parse_record(row.type, outcome.record)
    try:
        return None if outcome.mask is None else read_mask(root / outcome.mask)
    except ImageError:
        return None


class EncodedRow(NamedTuple):
    """A predicted row with the content of its mask's file, empty if it has none, and what a report counts of it."""

    predicted: PredictedRow
    content: bytes
    facts: Facts


def encode_row(predicted: PredictedRow) -> EncodedRow:
    """Encode the mask of a predicted row, if it has one."""
    mask = predicted.prediction
    return EncodedRow(predicted, encode(mask) if isinstance(mask, np.ndarray) else b"", predicted.facts())


def parse_record(task_type: TaskType, record: str) -> Record:
    """Parse an entry of the JSON file of a task type; raise `ValueError` if it isn't one."""
    model = KINDS[task_type].RECORD
    if model is None:
        raise ValueError(f"predictions of {task_type} are files, and no entries of a JSON file")
    return model.model_validate_json(record)


class PredictionWriter:
    """Writes one answer per row as they come; used as a context.

    The JSON files bear their names only once they are whole, at the end of the context, also when the run
    is stopped early. After an error inside the context they are not written.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self.folder, self.names = folder, prediction_files()
        # Hashes of their names, which many long paths would take far more memory than.
        self.masks: set[int] = set()
        self.lists: dict[TaskType, BinaryIO] = {}

    def __enter__(self) -> Self:
        try:
            for name in self.names.values():
                if (self.folder.root / name).is_dir():
                    raise IsADirectoryError(errno.EISDIR, f"{name} is a folder there")
            for kind, name in self.names.items():
                self.lists[kind] = (self.folder.root / f".{name}{PART}").open("wb")
                self.folder.own(self.folder.root / f".{name}{PART}")  # who may have to go on as the owner
                self.lists[kind].write(b"[")
        except OSError as error:
            raise self.folder.failure(error) from error
        return self

    def write(self, row: Row, answer: Prediction, content: bytes) -> Outcome:
        """Write the answer to one row; the outcome says why if there is no place that it may be written at.

        `content` is what `aurora.kinds.segmentation.encode` makes of a mask.

        Raises:
            OutputError: writing failed.
        """
        try:
            if isinstance(answer, np.ndarray):
                return self._write_mask(row, answer, content)
            outcome = Outcome(record=answer.model_dump_json())
        except ValueError as error:
            return Outcome(unwritten=str(error))
        self.take_over(row.type, outcome)
        return outcome

    def take_over(self, kind: TaskType, outcome: Outcome) -> None:
        """Enter the outcome of a row of this type into its list; its mask, if it has one, is in its place already.

        Raises:
            OutputError: writing failed.
        """
        if outcome.mask is not None:
            self.masks.add(hash(outcome.mask))
        if outcome.record is None:
            return
        file = self.lists[kind]
        try:
            file.write(b"\n" if file.tell() == 1 else b",\n")
            file.write(outcome.record.encode())
        except OSError as error:
            raise self.folder.failure(error) from error

    def _write_mask(self, row: Row, mask: np.ndarray, content: bytes) -> Outcome:
        name = predicted_mask_path(row)
        if name.partition("/")[0] in self.names.values() or name.endswith(PART):
            raise ValueError(f"mask_path names {name}, which is kept for other answers")
        if hash(name) in self.masks:
            return Outcome(warnings=("another row names the same mask; the first one's is kept",))
        odd = () if name.lower().endswith(".png") else (ODD_NAME,)
        if not content:
            raise ValueError(f"no PNG can hold a mask of {mask.shape[1]}x{mask.shape[0]} pixels")
        self.folder.write(name, content)
        self.masks.add(hash(name))
        return Outcome(mask=name, checksum=zlib.crc32(content), warnings=odd)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                # All are whole before the first gets its name: a disk that fills up here leaves none.
                for file in self.lists.values():
                    file.write(b"]\n" if file.tell() == 1 else b"\n]\n")
                    file.close()
                for name in self.names.values():
                    self.folder.finish(self.folder.root / f".{name}{PART}", self.folder.root / name)
        except OSError as failure:
            raise self.folder.failure(failure) from failure
        finally:
            for task_type, file in self.lists.items():
                with suppress(OSError):  # what it still holds is not wanted
                    file.close()
                (self.folder.root / f".{self.names[task_type]}{PART}").unlink(missing_ok=True)
