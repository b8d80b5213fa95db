"""Answers to files: a PNG per mask, three JSON lists streamed to disk."""

import errno
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Self

import cv2
import numpy as np

from aurora.answers import JSON_FILES, Answer
from aurora.rows import Row, answer_mask_path
from aurora.tasks import TaskType
from inference.output import PART, OutputFolder

Warn = Callable[[str, str], None]


class AnswerWriter:
    """Writes one answer per row as they come; used as a context.

    The JSON files bear their names only once they are whole, at the end of the context, also when the run
    is stopped early. After an error inside the context they are not written.

    Args:
        folder: where to write.
        warn: told of every oddity as a text and the row's source.
    """

    def __init__(self, folder: OutputFolder, warn: Warn) -> None:
        self.folder, self.warn = folder, warn
        self.masks: set[str] = set()
        self.lists: dict[TaskType, BinaryIO] = {}

    def __enter__(self) -> Self:
        try:
            for name in JSON_FILES.values():
                if (self.folder.root / name).is_dir():
                    raise IsADirectoryError(errno.EISDIR, f"{name} is a folder there")
            for kind, name in JSON_FILES.items():
                self.lists[kind] = (self.folder.root / f".{name}{PART}").open("wb")
                self.lists[kind].write(b"[")
        except OSError as error:
            raise self.folder.failure(error) from error
        return self

    def write(self, row: Row, answer: Answer) -> None:
        """Write the answer to one row.

        Raises:
            ValueError: the row names no place that its mask may be written at.
            OutputError: writing failed.
        """
        if isinstance(answer, np.ndarray):
            self._write_mask(row, answer)
            return
        file = self.lists[row.type]
        try:
            file.write(b"\n" if file.tell() == 1 else b",\n")
            file.write(answer.model_dump_json().encode())
        except OSError as error:
            raise self.folder.failure(error) from error

    def _write_mask(self, row: Row, mask: np.ndarray) -> None:
        name = answer_mask_path(row)
        if name.partition("/")[0] in JSON_FILES.values() or name.endswith(PART):
            raise ValueError(f"mask_path names {name}, which is kept for other answers")
        if name in self.masks:
            self.warn("another row names the same mask; the first one's is kept", row.source)
            return
        if not name.lower().endswith(".png"):
            self.warn("the mask's name doesn't end in .png; its content is PNG all the same", row.source)
        encoded, content = cv2.imencode(".png", mask)
        if not encoded:
            raise ValueError(f"no PNG can hold a mask of {mask.shape[1]}x{mask.shape[0]} pixels")
        self.folder.write(name, content.tobytes())
        self.masks.add(name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for task_type, file in self.lists.items():
                if kind is None:
                    file.write(b"]\n" if file.tell() == 1 else b"\n]\n")
                    file.close()
                    target = self.folder.root / JSON_FILES[task_type]
                    self.folder.finish(target.with_name(f".{target.name}{PART}"), target)
        except OSError as failure:
            raise self.folder.failure(failure) from failure
        finally:
            for task_type, file in self.lists.items():
                with suppress(OSError):  # what it still holds is not wanted
                    file.close()
                (self.folder.root / f".{JSON_FILES[task_type]}{PART}").unlink(missing_ok=True)
