"""Pair the labels of a task's rows with the predictions in a folder."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from aurora.errors import AuroraError, InputError
from aurora.kinds import KINDS, Entry, Key, Predictions
from aurora.kinds.base import Note
from aurora.rows import Row
from aurora.tasks import OFFICIAL


def read_predictions(path: Path, keys: set[Key], problems: list[str]) -> dict[Key, Entry] | None:
    """Read the entries of one prediction file by (task_id, image_path); return None if there is no such file.

    Entries that don't fit the rows' `keys` are named in `problems`. Raises `InputError` if the file isn't a JSON list.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"Expected JSON in {path}, but it can't be read ({error}): write it again.") from error
    if not isinstance(entries, list):
        raise InputError(f"Expected one JSON list in {path}, found {type(entries).__name__}: write it again.")
    predictions: dict[Key, Entry] = {}
    for number, entry in enumerate(entries, start=1):
        where = f"{path.name}, entry {number}"
        fields = entry if isinstance(entry, dict) else {}
        task_id, image_path = fields.get("task_id"), fields.get("image_path")
        if not isinstance(task_id, str) or not isinstance(image_path, str):
            problems.append(f"{where}: expected an object with task_id and image_path")
            continue
        key = task_id, image_path
        if key in predictions:
            problems.append(f"{where}: {image_path} of {task_id} is predicted again; the last prediction counts")
        predictions[key] = fields
    foreign = len(predictions.keys() - keys)
    if foreign:
        problems.append(
            f"{path.name}: {foreign} of {len(predictions)} predictions belong to no row of the labelled data"
        )
    return predictions


@dataclass(slots=True)
class Cases:
    """The rows of one task; iterating yields (row, label, value) of each row that has both, and counts the rest.

    Label and value have the types of the task's kind. Unusable rows are named in `problems`.
    """

    rows: list[Row]
    truth: Path
    predictions: Path
    entries: Mapping[Key, Entry]
    problems: list[str]
    labelled: int = 0
    predicted: int = 0
    missing: int = 0
    #: The result of `classes_of`.
    num_classes: int = field(init=False)

    def __post_init__(self) -> None:
        self.num_classes = classes_of(self.rows)

    def __iter__(self) -> Iterator[tuple[Row, Any, Any]]:
        for row in self.rows:
            try:
                label = label_of(row, self.truth, self.num_classes)
            except AuroraError as error:
                reason = str(error).removeprefix(f"{row.source}: ")
                self.problems.append(f"{row.source}: the label can't be used: {reason}")
                continue
            if label is None:
                self.problems.append(f"{row.source}: the row has no label")
                continue
            self.labelled += 1
            try:
                value = self.value(row, label, partial(self._note, row))
            except (AuroraError, ValueError) as error:
                self.problems.append(f"{row.source}: the prediction can't be used: {error}")
                continue
            if value is None:
                self.missing += 1
                continue
            self.predicted += 1
            yield row, label, value

    def _note(self, row: Row, remark: str) -> None:
        self.problems.append(f"{row.source}: {remark}")

    def value(self, row: Row, label: Any, note: Note = lambda remark: None) -> Any:
        """Return the prediction of a row with this label, None if there is none; pass remarks about it to `note`.

        Raises:
            ImageError: its mask can't be read.
            ValueError: the published evaluator fails on it.
        """
        predictions = Predictions(self.predictions, self.entries)
        return KINDS[row.type].read_value(row, predictions, label, self.num_classes, note)


def classes_of(rows: Sequence[Row]) -> int:
    """Return the largest number of classes that the rows of one task state.

    If none states any, return the number of the official task of that name, or 0 if there is none.
    """
    stated = max(row.num_classes or 0 for row in rows)
    task = OFFICIAL.get(rows[0].task_id.strip())
    return stated or (task.num_classes if task and task.type == rows[0].type else 0)


def label_of(row: Row, root: Path, num_classes: int) -> Any:
    """Read a row's label at the size of its image, in the form of its kind; None if it has none.

    Raises:
        ImageError: the mask, or the image whose diagonal scales the points' errors, can't be read.
        InputError: the label is invalid, or the number of classes isn't known.
    """
    if not num_classes:
        raise InputError("expected a whole number in num_classes, found none in any row of its task")
    return KINDS[row.type].read_label(row, root, num_classes)
