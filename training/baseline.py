"""Predict from the training labels alone, without looking at the image: the floor that a model must exceed."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from aurora.errors import InputError
from aurora.images import encode_mask
from aurora.images.headers import read_info
from aurora.kinds import KINDS, Record, prediction_files
from aurora.rows import Problem, Row, image_file, predicted_mask_path, read_rows
from aurora.runtime.files import replacing, require_different_folders
from aurora.runtime.notes import Notes
from aurora.runtime.text import dump_json
from aurora.runtime.write_errors import write_error
from aurora.tasks import TaskType
from training.data.cases import Case, load_cases
from training.data.labels import LABELS
from training.data.prepare import log_lines

_Task = tuple[str, TaskType]


def write_baseline(train: Path, data: Path, out: Path) -> None:
    """Predict every row of the input root `data` from the labels of the input root `train`, in the challenge's format.

    Segmentation gets the task's mean mask, thresholded where the expected Dice is highest, detection its mean box,
    Regression its mean points (each in normalised coordinates), classification the frequencies of its classes. What is
    unusual about labels and images is logged.

    Raises:
        UsageError: `out` is one of the two input roots, whose labels would be overwritten.
        InputError: `train` has no row of a task, a label in it is missing or invalid, or a row has no path for its
            mask.
        ImageError: the size of an image can't be read.
        OutputError: `out` can't be written.
    """
    for root in (train, data):
        require_different_folders(root, out, "--out")
    labelled: dict[_Task, list[Case]] = {}
    problems: list[Problem] = []
    notes = Notes()
    for case in load_cases([train], problems=problems):
        labelled.setdefault((case.task.id, case.task.type), []).append(case)
    rows = read_rows(data).rows
    log_lines(f"{problem.source}: {problem.message}" for problem in problems)
    means: dict[_Task, np.ndarray] = {}
    for task in dict.fromkeys(map(_task, rows)):
        if task not in labelled:
            raise InputError(f"expected rows of the task {task[0]!r} ({task[1]}) in {train}, found none; add some")
        means[task] = sum((_label(case, notes) for case in labelled[task]), np.zeros(())) / len(labelled[task])
    try:
        _write(data, rows, means, out, notes)
        log_lines(notes.lines("warnings"))
    except OSError as error:
        raise write_error(out, error, "name another folder with --out", folder=out) from error


def _task(row: Row) -> _Task:
    return row.task_id.strip(), row.type  # as in `load_cases`


def _label(case: Case, notes: Notes) -> np.ndarray:
    """Read a label in a form that can be averaged: class shares, (H, W, C) or (C,), or coordinates (K, 2) in [0, 1]."""
    labels = LABELS[case.task.type]
    size = _size(case.root, case.row, notes)
    return labels.average(labels.read(case.root, case.row, case.task, size), case.task)


def _size(root: Path, row: Row, notes: Notes) -> tuple[int, int]:
    info = read_info(image_file(root, row), root)
    for warning in info.warnings:
        notes.add(warning, row.place)
    return info.size


def _write(data: Path, rows: Iterable[Row], means: Mapping[_Task, np.ndarray], out: Path, notes: Notes) -> None:
    names = prediction_files()
    records: dict[TaskType, list[Record]] = {task_type: [] for _, task_type in means if task_type in names}
    for row in rows:
        size = _size(data, row, notes)
        prediction = KINDS[row.type].from_mean(row, means[_task(row)], size)
        if isinstance(prediction, Record):
            records[row.type].append(prediction)
        else:
            _write_file(out / _mask_path(row), encode_mask(prediction, _mask_path(row)))
    out.mkdir(parents=True, exist_ok=True)
    for task_type, entries in records.items():
        text = dump_json([entry.model_dump() for entry in entries])
        _write_file(out / names[task_type], text.encode())


def _mask_path(row: Row) -> str:
    try:
        return predicted_mask_path(row)
    except ValueError as error:
        raise InputError(f"{row.source}: {error}; correct the row") from None


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
