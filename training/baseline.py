"""Predict from the training labels alone, without looking at the image: the floor that a model must exceed."""

from pathlib import Path

import numpy as np

from aurora.errors import InputError
from aurora.images.headers import read_info
from aurora.kinds import KINDS, Prediction
from aurora.rows import Problem, Row, image_file, read_rows
from aurora.runtime.files import require_different_folders
from aurora.runtime.notes import Notes
from aurora.tasks import TaskType
from training.data.cases import Case, load_cases
from training.data.labels import LABELS
from training.data.predictions import write_predictions
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
    write_predictions(((row, _predict(data, row, means[_task(row)], notes)) for row in rows), out)
    log_lines(notes.lines("warnings"))


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


def _predict(data: Path, row: Row, mean: np.ndarray, notes: Notes) -> Prediction:
    return KINDS[row.type].from_mean(row, mean, _size(data, row, notes))
