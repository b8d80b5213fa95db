"""Pairs the labels of a task's rows with their answers in a folder of predictions."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aurora.errors import AuroraError, ImageError, InputError
from aurora.images import image_size, read_mask
from aurora.rows import Row, box_label, class_label, image_file, mask_file, points_label, predicted_mask_path
from aurora.tasks import OFFICIAL, TaskType

Key = tuple[str, str]
Entry = Mapping[str, Any]


def read_predictions(path: Path, keys: set[Key], problems: list[str]) -> dict[Key, Entry] | None:
    """The entries of one answer file by (task_id, image_path); None if there is no such file.

    What doesn't fit the rows' `keys` is named in `problems`. Raises `InputError` if the file isn't a JSON list.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"Expected JSON in {path}, but it can't be read ({error}): write it again.") from error
    if not isinstance(entries, list):
        raise InputError(f"Expected one JSON list in {path}, found {type(entries).__name__}: write it again.")
    answers: dict[Key, Entry] = {}
    for number, entry in enumerate(entries, start=1):
        where = f"{path.name}, entry {number}"
        found = entry if isinstance(entry, dict) else {}
        task_id, image_path = found.get("task_id"), found.get("image_path")
        if not isinstance(task_id, str) or not isinstance(image_path, str):
            problems.append(f"{where}: expected an object with task_id and image_path")
            continue
        key = task_id, image_path
        if key in answers:
            problems.append(f"{where}: {image_path} of {task_id} is answered again; the last one counts")
        answers[key] = found
    foreign = len(answers.keys() - keys)
    if foreign:
        problems.append(f"{path.name}: {foreign} of {len(answers)} answers belong to no row of the labelled data")
    return answers


@dataclass(slots=True)
class Cases:
    """The rows of one task; iterating yields (row, label, answer) of each row that has both, and counts the rest.

    Label and answer are, by type: masks (H, W); class, and (class, probabilities); boxes x1, y1, x2, y2; points (K, 2)
    with the image's diagonal, and points (K, 2). All lengths are in pixels of the original image. What can't be used
    is named in `problems`.
    """

    rows: list[Row]
    truth: Path
    predictions: Path
    answers: Mapping[Key, Entry]
    problems: list[str]
    labelled: int = 0
    answered: int = 0
    missing: int = 0
    #: As `classes_of` has it.
    num_classes: int = field(init=False)

    def __post_init__(self) -> None:
        self.num_classes = classes_of(self.rows)

    def __iter__(self) -> Iterator[tuple[Row, Any, Any]]:
        for row in self.rows:
            try:
                label = label_of(row, self.truth, self.num_classes)
            except AuroraError as error:
                self.problems.append(f"{row.source}: the label can't be used: {error}")
                continue
            if label is None:
                self.problems.append(f"{row.source}: the row has no label")
                continue
            if row.type is TaskType.SEGMENTATION:
                self._check_classes(row, mask_file(self.truth, row), label)
            self.labelled += 1
            try:
                answer = self.answer(row, label)
            except (AuroraError, ValueError) as error:
                self.problems.append(f"{row.source}: the answer can't be used: {error}")
                continue
            if answer is None:
                self.missing += 1
                continue
            self.answered += 1
            yield row, label, answer

    def answer(self, row: Row, label: Any) -> Any:
        """The answer to a row with this label; None if there is none.

        Raises:
            ImageError: its mask can't be read.
            ValueError: it makes no sense for the label.
        """
        if row.type is TaskType.SEGMENTATION:
            return self._answered_mask(row, label.shape)
        entry = self.answers.get((row.task_id, row.image_path))
        if entry is None:
            return None
        if row.type is TaskType.CLASSIFICATION:
            predicted = entry.get("predicted_class")
            if type(predicted) is not int or not 0 <= predicted < self.num_classes:
                raise ValueError(f"expected predicted_class in 0..{self.num_classes - 1}, found {predicted!r}")
            return predicted, _numbers(entry, "predicted_probs", self.num_classes)
        if row.type is TaskType.DETECTION:
            return _numbers(entry, "bbox_pixels", 4)
        return _numbers(entry, "predicted_points_pixels", label[0].size).reshape(-1, 2)

    def _answered_mask(self, row: Row, shape: tuple[int, int]) -> np.ndarray | None:
        path = self.predictions / predicted_mask_path(row)
        if not is_there(path):
            return None
        mask = read_mask(path)
        self._check_classes(row, path, mask)
        if mask.shape != shape:
            raise ValueError(f"expected a mask {shape[1]} wide and {shape[0]} high, found {mask.shape[::-1]}")
        return mask

    def _check_classes(self, row: Row, path: Path, mask: np.ndarray) -> None:
        if mask.max(initial=0) >= self.num_classes:
            self.problems.append(f"{row.source}: {path} holds the class {mask.max()}, expected < {self.num_classes}")


def classes_of(rows: Sequence[Row]) -> int:
    """The largest number of classes that the rows of one task name; if none does the official one, 0 without any."""
    named = max(row.num_classes or 0 for row in rows)
    task = OFFICIAL.get(rows[0].task_id.strip())
    return named or (task.num_classes if task and task.type is rows[0].type else 0)


def is_there(path: Path) -> bool:
    """Whether there is something at `path`; raises `ImageError` where that can't be found out."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror}", path) from None
    return True


def label_of(row: Row, root: Path, num_classes: int) -> Any:
    """A row's label in the image's own frame, as `Cases` has it; None if it has none.

    Raises:
        ImageError: the mask, or the image whose diagonal measures the points' errors, can't be read.
        InputError: the label makes no sense, or the number of classes isn't known.
    """
    if not num_classes:
        raise InputError("expected a whole number in num_classes, found none in any row of its task")
    if row.type is TaskType.SEGMENTATION:
        return read_mask(mask_file(root, row)) if row.mask_path else None
    if row.type is TaskType.CLASSIFICATION:
        label = class_label(row)
        if label is not None and not 0 <= label < num_classes:
            raise InputError(f"expected a class below num_classes = {num_classes}, found {label}")
        return label
    if row.type is TaskType.DETECTION:
        return box_label(row)
    points = points_label(row)
    return (
        None
        if points is None
        else (np.array(points, dtype=float), math.hypot(*image_size(image_file(root, row), root)))
    )


def _numbers(entry: Entry, key: str, count: int) -> np.ndarray:
    """The list of `count` finite numbers at `key`, as float64."""
    values = entry.get(key)
    if not isinstance(values, list) or not all(type(v) in (int, float) and math.isfinite(v) for v in values):
        raise ValueError(f"expected a list of finite numbers as {key}")
    if len(values) != count:
        raise ValueError(f"expected {count} numbers as {key}, found {len(values)}")
    return np.array(values, dtype=float)
