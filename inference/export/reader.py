"""Read the predictions of a run as labelled images, and count the rows that have none to be labelled by."""

import os
from array import array
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from aurora.errors import AuroraError, ImageError, InputError
from aurora.images import image_size, read_image
from aurora.kinds import KINDS, Entry, Key, Record, prediction_files
from aurora.kinds.base import Size
from aurora.kinds.classification import ClassificationPrediction
from aurora.kinds.detection import DetectionPrediction
from aurora.kinds.landmarks import LandmarksPrediction
from aurora.predict.request import request_of
from aurora.rows import Row, image_file, read_rows
from aurora.runtime.notes import Findings
from aurora.scoring.cases import read_predictions
from aurora.tasks import Registry, TaskType
from inference.export.labelled import ExportTask, LabelledImage, file_stem, unique
from inference.output.journal import JOURNAL
from inference.output.written import written_mask, written_record

#: Coordinates that differ by more pixels belong to images of different sizes.
_SAME_PIXEL = 0.01


class Unusable(Exception):
    """A row has no prediction to be labelled by; the message says why, equal for equal reasons."""


class RunReader:
    """The predictions in a run's output folder, by task.

    Args:
        root: the run's input folder.
        predictions: its output folder.
        registry: the tasks of its weights, for the names of classes; other tasks get numbers.
        findings: takes what can't be used.

    Raises:
        InputError: there is no such folder, or the run hasn't finished.
    """

    def __init__(self, root: Path, predictions: Path, registry: Registry, findings: Findings) -> None:
        if not predictions.is_dir():
            raise InputError(f"expected the output folder of 'inference run', found none at {predictions}; name it")
        if (predictions / JOURNAL).exists():
            raise InputError(
                f"expected the output of a finished run, found one that stopped, or a shard, in {predictions}; "
                "continue with 'inference run --resume', or join all shards with 'inference merge'"
            )
        self.root, self.predictions, self.registry, self.findings = root, predictions, registry, findings
        rows = read_rows(root)
        self.rows = rows.rows
        for problem in rows.problems:
            findings.noted.add(problem.message, problem.source)
        self._numbers: dict[tuple[str, TaskType], array[int]] = {}
        self._largest: dict[tuple[str, TaskType], Row] = {}
        for number, row in enumerate(self.rows):
            self._group(number, row)
        self._entries: dict[TaskType, Mapping[Key, Entry]] = {}

    def _group(self, number: int, row: Row) -> None:
        key = row.task_id, row.type
        self._numbers.setdefault(key, array("Q")).append(number)
        if (row.num_classes or 0) >= (self._largest.setdefault(key, row).num_classes or 0):
            self._largest[key] = row

    def tasks(self) -> Iterator[ExportTask]:
        """Yield the tasks in the order of their first rows."""
        for row in self._largest.values():
            request = request_of(row, self.registry)
            known = request.task.names if request.task and len(request.task.names) == request.count else ()
            yield ExportTask(row.task_id, row.type, tuple(_distinct(known or _numbers(row, request.count))))

    def rows_of(self, task: ExportTask) -> Iterator[Row]:
        """Yield the rows of a task."""
        return self.rows.read(self._numbers[task.id, task.type])

    def images(self, task: ExportTask, linked: Collection[str]) -> Iterator[LabelledImage]:
        """Yield the images of a task with their predictions; the rows of the others are counted.

        The pixels are read of files with other endings than `linked`.
        """
        seen: set[str] = set()
        stems: set[str] = set()
        for row in self.rows_of(task):
            try:
                path = image_file(self.root, row)
                if str(path) in seen:
                    raise Unusable("another row of the task has the same image")
                image = self._image(row, task, path, linked)
            except Unusable as error:
                self.findings.left_out.add(str(error), row.place)
            except ImageError as error:
                self.findings.left_out.add(f"the image can't be used: {error.reason}", row.place)
            except (AuroraError, ValueError) as error:
                self.findings.left_out.add(f"the prediction can't be used: {error}", row.place)
            else:
                seen.add(str(path))
                relative = PurePosixPath(os.path.relpath(path, self.root))
                yield image._replace(stem=unique(file_stem(relative), stems))

    def _image(self, row: Row, task: ExportTask, path: Path, linked: Collection[str]) -> LabelledImage:
        size = image_size(path, self.root)
        label = self._mask(row, task, size) if KINDS[row.type].RECORD is None else self._label(row, task, size)
        convert = path.suffix.lower() not in linked
        empty = "mask" in label and not label["mask"].any()
        # The fallback of an image that can't be decoded is an empty mask.
        pixels = read_image(path, self.root).pixels if convert or empty else None
        if empty:
            self.findings.noted.add("the mask is empty: the model found nothing, or gave a fallback", row.place)
        return LabelledImage(path, "", size, pixels if convert else None, **label)

    def _mask(self, row: Row, task: ExportTask, size: Size) -> dict[str, Any]:
        try:
            mask = written_mask(self.predictions, row)
        except ImageError as error:
            raise Unusable(f"the mask can't be used: {error.reason}") from None
        if mask is None:
            raise Unusable("the row has no prediction")
        if mask.shape != size:
            raise Unusable("the mask is of another size than the image")
        if mask.max(initial=0) >= len(task.names):
            raise Unusable("the mask has a class that the task doesn't have")
        return {"mask": mask}

    def _label(self, row: Row, task: ExportTask, size: Size) -> dict[str, Any]:
        entry = self._entries_of(row.type).get((row.task_id, row.image_path))
        if entry is None:
            raise Unusable("the row has no prediction")
        record = written_record(entry, row)
        if record == KINDS[row.type].fallback(row, _count(record), size):
            raise Unusable("the row got a fallback")
        return _as_label(record, len(task.names), size)

    def _entries_of(self, task_type: TaskType) -> Mapping[Key, Entry]:
        """Return the entries of a type's JSON file; none if there is no such file."""
        if task_type not in self._entries:
            keys = {
                (row.task_id, row.image_path)
                for (_, kind), numbers in self._numbers.items()
                if kind == task_type
                for row in self.rows.read(numbers)
            }
            problems: list[str] = []
            path = self.predictions / prediction_files()[task_type]
            self._entries[task_type] = read_predictions(path, keys, problems) or {}
            for problem in problems:
                self.findings.noted.add(problem, path.name)
        return self._entries[task_type]


def _numbers(row: Row, count: int) -> list[str]:
    """Return names for the classes, the object or the points of a task whose weights name none."""
    if row.type == TaskType.SEGMENTATION:
        return ["background", *(f"class {number}" for number in range(1, count))]
    if row.type == TaskType.DETECTION:
        return [row.task_id.strip()]
    noun, first = ("point", 1) if row.type == TaskType.REGRESSION else ("class", 0)
    return [f"{noun} {number}" for number in range(first, first + count)]


def _distinct(names: Collection[str]) -> Iterator[str]:
    """Yield names of which no two are equal, whatever the letter case."""
    taken: set[str] = set()
    for name in names:
        yield unique(name.strip() or "class", taken)


def _count(record: Record) -> int:
    """Return the number of classes or points of a prediction."""
    if isinstance(record, ClassificationPrediction):
        return len(record.predicted_probs)
    return len(record.predicted_points_pixels) // 2 if isinstance(record, LandmarksPrediction) else 1


def _as_label(record: Record, count: int, size: Size) -> dict[str, Any]:
    """Return the fields of `LabelledImage` that hold a prediction of a task with `count` classes or points."""
    if isinstance(record, ClassificationPrediction):
        if record.predicted_class >= count:
            raise Unusable("the predicted class is one that the task doesn't have")
        return {"number": record.predicted_class, "score": record.predicted_probs[record.predicted_class]}
    if isinstance(record, DetectionPrediction):
        x1, y1, x2, y2 = record.bbox_pixels
        _require_size(record.bbox_normalized, record.bbox_pixels, size)
        if x2 <= x1 or y2 <= y1:
            raise Unusable("the box has no area")
        return {"box": (x1, y1, x2, y2)}
    if isinstance(record, LandmarksPrediction):
        _require_size(record.predicted_points_normalized, record.predicted_points_pixels, size)
        points = np.reshape(record.predicted_points_pixels, (-1, 2)).tolist()
        if len(points) != count:
            raise Unusable("the prediction has another number of points than the task")
        return {"points": [(x, y) for x, y in points]}
    raise Unusable(f"no format holds a prediction of the type {type(record).__name__}")


def _require_size(fractions: list[float], pixels: list[float], size: Size) -> None:
    """Raise `Unusable` unless coordinates in fractions and in pixels are of one image of this size."""
    scaled = np.reshape(fractions, (-1, 2)) * (size[1], size[0])
    if np.abs(scaled - np.reshape(pixels, (-1, 2))).max(initial=0.0) > _SAME_PIXEL:
        raise Unusable("the image is of another size than when it was predicted")
