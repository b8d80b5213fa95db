"""The trivial answers: what the training labels alone say, without a look at the image. A model must beat them."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aurora.errors import InputError, OutputError, UsageError
from aurora.images import image_size
from aurora.predict.answers import JSON_FILES, classification, detection, encode_mask, regression
from aurora.rows import Row, image_file, predicted_mask_path, read_rows
from aurora.tasks import TaskType
from training.data.cases import Case, load_cases
from training.data.labels import read_label

# The common grid on which masks of all sizes are averaged, in pixels.
_GRID = (256, 256)

_Task = tuple[str, TaskType]


def write_baseline(train: Path, data: Path, out: Path) -> None:
    """Answers every row of the input root `data` from the labels of the input root `train`, in the challenge's format.

    Segmentation gets the task's mean mask, cut where the expected Dice is highest, detection its mean box, Regression
    its mean points (each in normalised coordinates), classification the frequencies of its classes.

    Raises:
        UsageError: `out` is one of the two input roots, whose labels the answers would replace.
        InputError: a task that `train` holds no row of, a label there that is absent or makes no sense, or a mask that
            has no place to be written.
        ImageError: an image whose size can't be read.
        OutputError: `out` can't be written.
    """
    for root in (train, data):
        with suppress(OSError):  # one of them isn't there yet
            if os.path.samefile(root, out):
                raise UsageError(
                    f"expected an output folder that isn't an input, found {out} for both, where answers would replace "
                    "the labels; name another one with --out"
                )
    labelled: dict[_Task, list[Case]] = {}
    for case in load_cases([train]):
        labelled.setdefault((case.task.id, case.task.type), []).append(case)
    rows = read_rows(data).rows
    means: dict[_Task, np.ndarray] = {}
    for task in dict.fromkeys(map(_task, rows)):
        if task not in labelled:
            raise InputError(f"expected rows of the task {task[0]!r} ({task[1]}) in {train}, found none; add some")
        means[task] = sum(map(_label, labelled[task]), np.zeros(())) / len(labelled[task])
    try:
        _write(data, rows, means, out)
    except OSError as error:
        raise OutputError(f"can't write to {out}: {error.strerror}; name another folder with --out") from error


def _task(row: Row) -> _Task:
    return row.task_id.strip(), row.type  # as `load_cases` names it


def _label(case: Case) -> np.ndarray:
    """A label as it is averaged: class shares on a grid (H, W, C) or (C,), or coordinates (K, 2) in [0, 1]."""
    label = read_label(case.root, case.row, case.task, image_size(image_file(case.root, case.row), case.root))
    if case.task.type is TaskType.SEGMENTATION:
        one_hot = label[..., None] == np.arange(case.task.num_classes)
        return cv2.resize(one_hot.astype(np.float32), _GRID, interpolation=cv2.INTER_AREA)
    if case.task.type is TaskType.CLASSIFICATION:
        return np.arange(case.task.num_classes) == label
    return label.clip(0, 1)


def _best_threshold(foreground: np.ndarray) -> float:
    """The share of foreground above which a pixel is best called so, for probabilities of any shape.

    It maximises the pooled Dice 2 * sum(p above t) / (sum(p) + number above t) that the probabilities themselves
    expect; at one half, a small structure that moves about would never be called at all.
    """
    falling = np.sort(foreground, axis=None)[::-1]
    dice = 2 * falling.cumsum() / (falling.sum() + np.arange(1, falling.size + 1))
    return float(falling[dice.argmax()])


def _write(data: Path, rows: Iterable[Row], means: Mapping[_Task, np.ndarray], out: Path) -> None:
    entries: dict[TaskType, list[dict[str, Any]]] = {kind: [] for _, kind in means if kind in JSON_FILES}
    for row in rows:
        mean, size = means[_task(row)], image_size(image_file(data, row), data)
        if row.type is TaskType.SEGMENTATION:
            _write_mask(out / _mask_place(row), mean, size)
        else:
            entries[row.type].append(_record(row, mean, size))
    out.mkdir(parents=True, exist_ok=True)
    for kind, answers in entries.items():
        (out / JSON_FILES[kind]).write_text(json.dumps(answers, ensure_ascii=False, allow_nan=False), "utf-8")


def _mask_place(row: Row) -> str:
    try:
        return predicted_mask_path(row)
    except ValueError as error:
        raise InputError(f"{row.source}: {error}; mend the row") from None


def _write_mask(path: Path, mean: np.ndarray, size: tuple[int, int]) -> None:
    height, width = size
    shares = cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR)
    classes = 1 + shares[..., 1:].argmax(axis=2)
    mask = np.where(1 - shares[..., 0] >= _best_threshold(1 - mean[..., 0]), classes, 0).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mask(mask))


def _record(row: Row, mean: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    if row.type is TaskType.CLASSIFICATION:
        return classification(row, mean).model_dump()
    return (detection if row.type is TaskType.DETECTION else regression)(row, mean, size).model_dump()
