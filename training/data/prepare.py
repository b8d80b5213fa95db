"""From input roots to the cases that are trained on and those that choose the weights."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from aurora.errors import AuroraError, InputError
from aurora.rows import read_rows
from training.config import FitConfig
from training.data.cases import Case, check_label, load_cases
from training.data.split import group_cases, split_cases

# Lines of a list that may be as long as the data.
SHOWN = 20


def prepare(config: FitConfig, data: Sequence[Path], val: Sequence[Path]) -> tuple[list[Case], list[Case]]:
    """The training and the validation cases; says on the terminal what was left out, and what was grouped.

    Without validation folders the data is split so that no image and no patient stands on both sides.

    Raises:
        InputError: no usable case, a task that has none, or, unless the configuration skips it, a label that makes
            no sense.
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
    print(
        f"{grouping.summary()}\n{len(train)} rows to train on, {len(validation)} to choose the weights by", flush=True
    )
    return train, validation


def _usable(config: FitConfig, roots: Sequence[Path]) -> list[Case]:
    tell(f"{problem.source}: {problem.message}" for root in roots for problem in read_rows(root).problems)
    cases = load_cases(roots, config.fixed_laterality)
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
    tell(problems)
    if problems:
        tell([f"{len(problems)} of {len(cases)} rows left out"])
    if not usable:
        raise InputError(f"expected rows to train on, found none that can be used among {len(cases)}")
    return usable


def _check_named(key: str, names: Sequence[str], cases: Sequence[Case]) -> None:
    """Raise `InputError` for a task named in the configuration of which there is no case."""
    found = {case.task.id for case in cases}
    for name in names:
        if name not in found:
            known = ", ".join(sorted(found))
            raise InputError(f"expected rows of the task {name}, named in {key}, found none; there are {known}")


def _report_leaks(cases: list[Case], validation: list[Case]) -> None:
    """Say how many validation cases share an image or a patient with the training data."""
    grouping = group_cases([*cases, *validation])
    seen = set(grouping.groups[: len(cases)])
    shared = Counter(group in seen for group in grouping.groups[len(cases) :])[True]
    print(grouping.summary(), flush=True)
    if shared:
        share = f"{shared} of {len(validation)} validation rows"
        print(f"warning: {share} share an image or a patient with the training data; their scores flatter", flush=True)


def tell(lines: Iterable[str]) -> None:
    """Print the first lines, and how many more there are."""
    for line in first_lines(list(lines)):
        print(line, flush=True)


def first_lines(lines: Sequence[str]) -> list[str]:
    """All lines if they are few, else the first and how many more there are."""
    return [*lines] if len(lines) <= SHOWN else [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"]
