"""The trivial answers: what the training labels alone say, without a look at the image. A model must beat them."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aurora.answers import JSON_FILES, classification, detection, regression
from aurora.errors import InputError
from aurora.images import image_size, read_mask
from aurora.rows import Row, answer_mask_path, box_label, class_label, image_file, mask_file, points_label, read_rows
from aurora.tasks import TaskType
from aurora.transform import to_fractions

# The common grid on which masks of all sizes are averaged, in pixels.
_GRID = (256, 256)


def write_trivial_answers(train: Path, data: Path, out: Path) -> None:
    """Answers every row of the input root `data` from the labels of the input root `train`, in the challenge's format.

    Segmentation gets the task's mean mask, cut where the expected Dice is highest, detection its mean box, Regression
    its mean points (each in normalised coordinates), classification the frequencies of its classes. Raises
    `InputError` for a task that `train` holds no label of, and `ImageError` for an image whose size can't be read.
    """
    labelled: dict[tuple[str, TaskType], list[Row]] = {}
    for row in read_rows(train).rows:
        labelled.setdefault((row.task_id, row.type), []).append(row)
    rows = read_rows(data).rows
    means: dict[tuple[str, TaskType], np.ndarray] = {}
    for task in dict.fromkeys((row.task_id, row.type) for row in rows):
        means[task] = _mean_label(train, task, labelled.get(task, []))
    entries: dict[TaskType, list[dict[str, Any]]] = {row.type: [] for row in rows if row.type in JSON_FILES}
    for row in rows:
        mean, size = means[row.task_id, row.type], image_size(image_file(data, row), data)
        if row.type is TaskType.SEGMENTATION:
            _write_mask(out / answer_mask_path(row), mean, size)
        else:
            entries[row.type].append(_record(row, mean, size))
    out.mkdir(parents=True, exist_ok=True)
    for kind, answers in entries.items():
        (out / JSON_FILES[kind]).write_text(json.dumps(answers, ensure_ascii=False, allow_nan=False), "utf-8")


def _mean_label(train: Path, task: tuple[str, TaskType], rows: list[Row]) -> np.ndarray:
    """The mean of a task's labels: class probabilities on a grid (H, W, C) or (C,), or coordinates in [0, 1]."""
    num_classes = max((row.num_classes or 0 for row in rows), default=0)
    total, count = np.zeros(()), 0
    for row in rows:
        label = _label(train, row, num_classes)
        if label is not None:
            total, count = total + label, count + 1
    if not count:
        raise InputError(f"Expected labels of the task {task[0]!r} ({task[1]}) in {train}, found none: add some.")
    return total / count


def _label(train: Path, row: Row, num_classes: int) -> np.ndarray | None:
    """One row's label in the form that is averaged; None if it has none."""
    if row.type is TaskType.SEGMENTATION:
        if row.mask_path is None:
            return None
        one_hot = read_mask(mask_file(train, row))[..., None] == np.arange(num_classes)
        return cv2.resize(one_hot.astype(np.float32), _GRID, interpolation=cv2.INTER_AREA)
    if row.type is TaskType.CLASSIFICATION:
        label = class_label(row)
        return None if label is None else np.arange(num_classes) == label
    coordinates = box_label(row) if row.type is TaskType.DETECTION else points_label(row)
    if coordinates is None:
        return None
    return to_fractions(np.reshape(coordinates, (-1, 2)), image_size(image_file(train, row), train)).clip(0, 1)


def _best_threshold(foreground: np.ndarray) -> float:
    """The share of foreground above which a pixel is best called so, for probabilities of any shape.

    It maximises the pooled Dice 2 * sum(p above t) / (sum(p) + number above t) that the probabilities themselves
    expect; at one half, a small structure that moves about would never be called at all.
    """
    falling = np.sort(foreground, axis=None)[::-1]
    dice = 2 * falling.cumsum() / (falling.sum() + np.arange(1, falling.size + 1))
    return float(falling[dice.argmax()])


def _write_mask(path: Path, mean: np.ndarray, size: tuple[int, int]) -> None:
    height, width = size
    shares = cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR)
    classes = 1 + shares[..., 1:].argmax(axis=2)
    mask = np.where(1 - shares[..., 0] >= _best_threshold(1 - mean[..., 0]), classes, 0).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def _record(row: Row, mean: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    if row.type is TaskType.CLASSIFICATION:
        return classification(row, mean).model_dump()
    return (detection if row.type is TaskType.DETECTION else regression)(row, mean, size).model_dump()
