"""Turn input roots into the training cases and the validation cases, which choose the weights."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aurora.errors import AuroraError, InputError
from aurora.images.labels import LabelledFiles, classes_in, judge_files
from aurora.rows import Problem
from aurora.runtime.hardware import processors
from aurora.runtime.notes import Notes
from aurora.runtime.prefetch import prefetch
from aurora.tasks import TaskType
from training.config import FitConfig
from training.data.cases import Case, check_label, load_cases, named_problems, require_tasks
from training.data.labels import read_label
from training.data.split import Grouping, absent_classes, group_cases, split_cases

logger = logging.getLogger("aurora.training")

#: Number of lines that are logged of a list that may be as long as the data.
SHOWN = 20
#: Cases that are checked ahead of the first one that is unusable.
AHEAD = 64


def prepare(config: FitConfig, data: Sequence[Path], val: Sequence[Path]) -> tuple[list[Case], list[Case]]:
    """Return the training and the validation cases; log skipped rows, what may be wrong, and the groups of the split.

    Without validation folders the data is split so that no image and no patient is on both sides. Every mask is decoded
    once and, unless there is no validation, every image.

    Raises:
        InputError: there is no usable case, a configured task has no case, the labels of a task can only be wrong, or a
            label is missing or invalid and the configuration doesn't skip it.
        ImageError: an image can't be read, and the configuration doesn't skip it.
    """
    cases, notes = _usable(config, data)
    require_tasks("fixed_laterality", config.fixed_laterality, {case.task.id for case in cases})
    if val:
        validation, _ = _usable(config, val)
        grouping = group_cases([*cases, *validation])
        _require_readable(config, grouping)
        _report_leaks(cases, validation, grouping)
        log_lines(absent_classes(cases, validation))
        notes = grouping.warnings
        train = cases
    elif config.val_share:
        train, validation, grouping = split_cases(cases, config.val_share, config.seed)
        _require_readable(config, grouping)
        logger.info("%s", grouping.summary())
        logger.info("%d rows to train on, %d to choose the weights by", len(train), len(validation))
        notes = grouping.warnings
    else:
        train, validation = cases, []
    log_lines(notes.lines("warnings"))
    return train, validation


def _usable(config: FitConfig, roots: Sequence[Path]) -> tuple[list[Case], Notes]:
    """Return the cases that can be used, and what the headers of their images reveal."""
    row_problems: list[Problem] = []
    only, merge = config.tasks, config.merge_masks
    cases = load_cases(roots, config.fixed_laterality, row_problems, only=only, merge=merge)
    log_lines(f"{problem.source}: {problem.message}" for problem in row_problems)
    usable, files, problems = [], [], []
    notes = Notes()
    check = partial(_checked, skip=config.on_bad_case == "skip")
    checked = prefetch(check, cases, limit=AHEAD, threads=processors())
    for case, found in zip(cases, checked, strict=True):
        if isinstance(found, AuroraError):
            problems.append(f"left out: {found}")
            continue
        usable.append(case)
        files.append(found.files)
        for warning in found.warnings:
            notes.add(warning, case.row.place)
    log_lines(problems)
    if problems:
        logger.info("%d of %d rows left out", len(problems), len(cases))
    if not usable:
        raise InputError(f"expected rows to train on, found none that can be used among {len(cases)}")
    log_lines(f"{problem.source}: {problem.message}" for problem in named_problems(judge_files(files)))
    return usable, notes


class _Checked(NamedTuple):
    files: LabelledFiles
    warnings: tuple[str, ...]


def _checked(case: Case, skip: bool) -> _Checked | AuroraError:
    """Check a case, and decode its mask, if it has one; with `skip`, return the error if the case can't be used."""
    try:
        info = check_label(case)
        classes = None
        if case.task.type == TaskType.SEGMENTATION:
            classes = classes_in(read_label(case.root, case.row, case.task, info.size))
        return _Checked(LabelledFiles(case.row, info.turned, classes), info.warnings)
    except AuroraError as error:
        if not skip:
            raise
        return error


def _require_readable(config: FitConfig, grouping: Grouping) -> None:
    """Raise why an image can't be decoded, unless such images are left out as they are drawn."""
    if grouping.problem and config.on_bad_case == "error":
        raise grouping.problem


def _report_leaks(cases: list[Case], validation: list[Case], grouping: Grouping) -> None:
    """Log how many validation cases share an image or a patient with the training data."""
    seen = set(grouping.groups[: len(cases)])
    shared = Counter(group in seen for group in grouping.groups[len(cases) :])[True]
    logger.info("%s", grouping.summary())
    if shared:
        logger.info(
            "warning: %d of %d validation rows share an image or a patient with the training data; their scores are "
            "too high",
            shared,
            len(validation),
        )


def log_lines(lines: Iterable[str]) -> None:
    """Log the first lines and the number of the others."""
    for line in first_lines(list(lines)):
        logger.info("%s", line)


def first_lines(lines: Sequence[str]) -> list[str]:
    """Return all lines if they are few, or else the first ones and the number of the others."""
    return [*lines] if len(lines) <= SHOWN else [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"]
