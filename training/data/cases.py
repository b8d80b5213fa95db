"""Load labelled cases from input roots, and make the samples that the network is trained on."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aurora.errors import InputError, UsageError
from aurora.images import read_image
from aurora.images.headers import ImageInfo, read_info
from aurora.images.transform import resize_to
from aurora.rows import Problem, Row, image_file, read_rows
from aurora.rows.labels import LabelledRow, LabelProblem, judge_labels, merge_masks, tasks_of
from aurora.tasks import OFFICIAL, Registry, Task, registry
from training.augment.field_of_view import crop_field_of_view
from training.augment.geometry import random_affine, warp_image
from training.augment.intensity import augment_intensity
from training.augment.overlays import draw_overlays
from training.config import ALL_AUGMENTATIONS, Augmentation
from training.data.labels import LABELS

logger = logging.getLogger("aurora.training")


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled row and its input root."""

    root: Path
    row: Row
    task: Task


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with the training targets of one or more tasks.

    `image` is (H, W, 3) 8-bit RGB. A target is, by type: class shares per cell (C, H/4, W/4) float32; the
    class as an int64 scalar; the box (x1, y1, x2, y2) or the points (K, 2) in fractions of the image.
    """

    image: np.ndarray
    targets: dict[Task, np.ndarray]


def distinct_images(cases: Iterable[Case]) -> list[Case]:
    """Return one case for each image."""
    return list({(case.root, case.row.image_path): case for case in cases}.values())


def load_cases(
    roots: Iterable[Path],
    fixed_laterality: Collection[str] = (),
    problems: list[Problem] | None = None,
    *,
    only: Collection[str] | None = None,
    merge: bool | None = False,
) -> list[Case]:
    """Return the labelled rows of all roots; rows without a label are an error.

    The number of classes of a task is the official one, or else the one that its rows state.

    Args:
        roots: input roots.
        fixed_laterality: tasks that distinguish left from right, in addition to those that always do.
        problems: takes the problems of single rows, and what may be wrong with the labels of a task.
        only: the tasks to load; None for all.
        merge: whether several masks of one image and task become one label (True), are labels of their own (False), or
            are refused (None).

    Raises:
        InputError: there are no rows, or the labels of a task, as a whole, can only be wrong.
    """
    labelled: list[LabelledRow] = []
    contradictory: list[LabelledRow] = []
    found: list[Problem] = []
    for root in roots:
        read = read_rows(root, labelled=True)
        labelled += (LabelledRow(root, row) for row in read.rows)
        contradictory += (LabelledRow(root, row) for row in read.contradictory)
        found += read.problems
    if only is not None:
        require_tasks("tasks", only, {_name(item.row) for item in labelled})
        labelled = [item for item in labelled if _name(item.row) in only]
        contradictory = [item for item in contradictory if _name(item.row) in only]
    if merge:
        labelled = merge_masks(labelled)
    judged = judge_labels(labelled, contradictory, several_masks=merge is not None)
    found += named_problems(judged)
    if problems is not None:
        problems += found
    tasks = tasks_of(item.row for item in labelled)
    tasks |= {name: replace(tasks[name], left_right=True) for name in fixed_laterality if name in tasks}
    return [Case(item.root, item.row, tasks[_name(item.row)]) for item in labelled]


def _name(row: Row) -> str:
    return row.task_id.strip()  # as `request_of` looks it up


def require_tasks(key: str, names: Iterable[str], present: Collection[str]) -> None:
    """Raise `InputError` if a task that the configuration names under `key` has no row."""
    for name in names:
        if name not in present:
            known = ", ".join(sorted(present))
            raise InputError(f"expected rows of the task {name}, named in {key}, found none; there are {known}")


def named_problems(judged: Sequence[LabelProblem]) -> list[Problem]:
    """Return what may be wrong with labels as problems; raise `InputError` with what can only be wrong."""
    refused = [str(problem) for problem in judged if problem.refused]
    if refused:
        raise InputError("; ".join(refused))
    return [Problem(f"task {problem.task_id}", problem.message) for problem in judged]


def task_registry(cases: Iterable[Case]) -> dict[str, Task]:
    """Return the tasks of the cases: the official ones in their order, then the others by name."""
    present = {case.task.id: case.task for case in cases}
    official = [present[name] for name in OFFICIAL if name in present]
    return registry([*official, *(present[name] for name in sorted(present.keys() - OFFICIAL.keys()))])


def described(
    tasks: Registry,
    aliases: Mapping[str, str],
    names: Mapping[str, Sequence[str]],
    trained_on: Mapping[str, str],
) -> Registry:
    """Return a registry with further tasks that are predicted by others' channels, and with descriptions of all.


    Entries for tasks that the data don't have are left out, with a log message, so that a configuration serves other
    data too.

    Args:
        tasks: the tasks of the data.
        aliases: the id of the task whose channels predict it, by further task id.
        names: the names of the classes or points by task id; an alias has those of its task.
        trained_on: a text by task id; an alias has that of its task.

    Raises:
        UsageError: an alias is also a task of the data, or isn't of the type and size of its task, or the names aren't
            as many as the classes or points.
    """
    for name in sorted({*aliases.values(), *names, *trained_on} - tasks.keys()):
        logger.info("no task %s in the data, so its aliases and description are left out", name)
    own = {
        name: replace(task, names=tuple(names.get(name, ())), trained_on=trained_on.get(name, ""))
        for name, task in tasks.items()
    }
    further = [_alias(name, own[target]) for name, target in aliases.items() if target in own]
    try:
        return registry([*own.values(), *further])
    except ValueError as error:
        raise UsageError(f"{error}; correct it in the configuration") from error


def _alias(name: str, task: Task) -> Task:
    official = OFFICIAL.get(name) or replace(task, id=name)
    return replace(official, alias=task.id, names=task.names, trained_on=task.trained_on)


def load_sample(
    cases: Sequence[Case],
    frame: tuple[int, int],
    rng: np.random.Generator | None,
    augment: Collection[Augmentation] = ALL_AUGMENTATIONS,
) -> Sample:
    """Read an image and its labels at the model's input size `frame` (height, width), augmented if `rng` is given.

    If the first case's task doesn't distinguish left from right, but that of another case does, then half of the
    samples are augmented without those other cases, so that the first task still learns from mirrored images.

    Args:
        cases: cases of different tasks with the same image.
        frame: height and width in pixels, multiples of 32.
        rng: draws the augmentation; None for the image as it is.
        augment: the kinds of augmentation to apply.

    Raises:
        ImageError: the image can't be read.
        InputError: a label is missing or invalid.

    Example:
        >>> sample = load_sample(cases[:1], (192, 192), np.random.default_rng(0))
        >>> sample.targets[cases[0].task]
    """
    pixels = read_image(image_file(cases[0].root, cases[0].row), cases[0].root).pixels
    sided = any(case.task.left_right for case in cases)
    if rng is not None and "geometry" in augment and sided and not cases[0].task.left_right and rng.random() < 0.5:
        cases, sided = [case for case in cases if not case.task.left_right], False
    labelled = [(case.task, LABELS[case.task.type]) for case in cases]
    labels = [
        reader.read(case.root, case.row, task, pixels.shape[:2])
        for case, (task, reader) in zip(cases, labelled, strict=True)
    ]
    image = resize_to(pixels, frame)
    matrix = np.eye(2, 3)
    if rng is not None and "geometry" in augment:
        keep = [reader.keep_inside(label) for (_, reader), label in zip(labelled, labels, strict=True)]
        matrix = random_affine(rng, pixels.shape[:2], frame, sided=sided, keep=np.concatenate(keep))
        image = warp_image(image, matrix)
    targets = {
        task: reader.target(label, task, matrix, frame) for (task, reader), label in zip(labelled, labels, strict=True)
    }
    return Sample(image if rng is None else _augment_pixels(image, targets, rng, augment), targets)


def _augment_pixels(
    image: np.ndarray, targets: Mapping[Task, np.ndarray], rng: np.random.Generator, augment: Collection[Augmentation]
) -> np.ndarray:
    """Apply the kinds of augmentation that leave positions as they are."""
    if "field_of_view" in augment:
        visible = [LABELS[task.type].keep_visible(target) for task, target in targets.items()]
        image = crop_field_of_view(image, np.concatenate(visible), rng)
    if "intensity" in augment:
        image = augment_intensity(image, rng)
    return draw_overlays(image, rng) if "overlays" in augment else image


def check_label(case: Case) -> ImageInfo:
    """Check a case by its row and the headers of its files, without decoding pixels; return the image's header.

    Raises:
        ImageError: there is no image, or its header can't be read.
        InputError: the label is missing or invalid, or there is no mask.
    """
    info = read_info(image_file(case.root, case.row), case.root)
    LABELS[case.task.type].check(case.root, case.row, case.task, info.size)
    return info
