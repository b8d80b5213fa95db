"""Turn input roots into the training cases and the validation cases, which choose the weights."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from aurora.errors import AuroraError, InputError
from aurora.rows import Problem
from training.config import FitConfig
from training.data.cases import Case, check_label, load_cases
from training.data.split import group_cases, split_cases

logger = logging.getLogger("aurora.training")

#: Number of lines that are logged of a list that may be as long as the data.
SHOWN = 20


def prepare(config: FitConfig, data: Sequence[Path], val: Sequence[Path]) -> tuple[list[Case], list[Case]]:
    """Return the training and the validation cases; log the skipped rows and the groups of the split.

    Without validation folders the data is split so that no image and no patient is on both sides.

    Raises:
        InputError: there is no usable case, a configured task has no case, or a label is missing or invalid and the
            configuration doesn't skip it.
    """
    cases = _usable(config, data)
    _check_named("fixed_laterality", config.fixed_laterality, cases)
    if val:
        validation = _usable(config, val)
        _report_leaks(cases, validation)
        return cases, validation
    if not config.val_share:
        return cases, []
    train, validation, grouping = split_cases(cases, config.val_share, config.seed)
    logger.info("%s", grouping.summary())
    logger.info("%d rows to train on, %d to choose the weights by", len(train), len(validation))
    return train, validation


def _usable(config: FitConfig, roots: Sequence[Path]) -> list[Case]:
    row_problems: list[Problem] = []
    cases = load_cases(roots, config.fixed_laterality, row_problems)
    log_lines(f"{problem.source}: {problem.message}" for problem in row_problems)
    if config.tasks is not None:
        _check_named("tasks", config.tasks, cases)
        cases = [case for case in cases if case.task.id in config.tasks]
    usable, problems = [], []
    for case in cases:
        try:
            check_label(case)
            usable.append(case)
        except AuroraError as error:
            if config.on_bad_case == "error":
                raise
            problems.append(f"left out: {error}")
    log_lines(problems)
    if problems:
        logger.info("%d of %d rows left out", len(problems), len(cases))
    if not usable:
        raise InputError(f"expected rows to train on, found none that can be used among {len(cases)}")
    return usable


def _check_named(key: str, names: Sequence[str], cases: Sequence[Case]) -> None:
    """Raise `InputError` if a task named in the configuration has no case."""
    present = {case.task.id for case in cases}
    for name in names:
        if name not in present:
            known = ", ".join(sorted(present))
            raise InputError(f"expected rows of the task {name}, named in {key}, found none; there are {known}")


def _report_leaks(cases: list[Case], validation: list[Case]) -> None:
    """Log how many validation cases share an image or a patient with the training data."""
    grouping = group_cases([*cases, *validation])
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
