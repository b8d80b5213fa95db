"""Labelled cases from input roots, and the samples the network is trained on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import InputError
from aurora.images import read_image, read_mask
from aurora.rows import Row, box_label, class_label, image_file, mask_file, points_label, read_rows
from aurora.tasks import OFFICIAL, Task, TaskType, registry
from aurora.transform import to_fractions, to_frame
from training.augment import jitter, random_affine, warp_image, warp_masks, warp_points

#: Side of a cell of the segmentation logits in pixels of the model's image.
CELL = 4


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled row and the input root that it comes from."""

    root: Path
    row: Row
    task: Task


@dataclass(frozen=True, slots=True)
class Sample:
    """One training example.

    `image` is (H, W, 3) 8-bit RGB. `target` is, by type: class shares per cell (C, H/4, W/4) float32; the
    class as an int64 scalar; the box (x1, y1, x2, y2) or the points (K, 2) in fractions of the image.
    """

    task: Task
    image: np.ndarray
    target: np.ndarray


def load_cases(roots: Iterable[Path]) -> list[Case]:
    """The labelled rows of all roots; rows without a label are an error.

    A task's number of classes is the official one's, or else the largest its rows name.
    """
    found = [(root, row) for root in roots for row in read_rows(root).rows]
    classes: dict[str, int] = {}
    kinds: dict[str, TaskType] = {}
    for _, row in found:
        if kinds.setdefault(row.task_id, row.type) is not row.type:
            raise InputError(f"{row.source}: task {row.task_id} is {row.type} here and {kinds[row.task_id]} elsewhere")
        classes[row.task_id] = max(classes.get(row.task_id, 0), row.num_classes or 0)
    tasks = {name: OFFICIAL.get(name) or _own_task(name, kinds[name], count) for name, count in classes.items()}
    return [Case(root, row, tasks[row.task_id]) for root, row in found]


def task_registry(cases: Iterable[Case]) -> dict[str, Task]:
    """The tasks of the cases: the official ones in their order, then the others by name."""
    present = {case.task.id: case.task for case in cases}
    official = [task for name, task in OFFICIAL.items() if name in present]
    return registry([*official, *(present[name] for name in sorted(present.keys() - OFFICIAL.keys()))])


def load_sample(case: Case, frame: tuple[int, int], rng: np.random.Generator | None) -> Sample:
    """Read a case and bring it to the model's `frame` (height, width), augmented where `rng` is given.

    Raises:
        ImageError: the image can't be read.
        InputError: the label is absent or makes no sense.
    """
    pixels = read_image(image_file(case.root, case.row), case.root).pixels
    size = pixels.shape[:2]
    matrix = random_affine(rng, size, frame, sided=case.task.left_right) if rng else np.eye(2, 3)
    image = to_frame(pixels, frame)
    if rng:
        image = jitter(warp_image(image, matrix), rng)
    return Sample(case.task, image, _target(case, size, frame, matrix))


def _target(case: Case, size: tuple[int, int], frame: tuple[int, int], matrix: np.ndarray) -> np.ndarray:
    row, task = case.row, case.task
    if task.type is TaskType.SEGMENTATION:
        mask = read_mask(mask_file(case.root, row))
        if mask.shape != size or mask.max() >= task.num_classes:
            raise InputError(
                f"{row.source}: expected a mask of {size} with values below {task.num_classes}, "
                f"found {mask.shape} with {mask.max()}; mend {row.mask_path}"
            )
        return warp_masks(mask, task.num_classes, matrix, frame, CELL)
    if task.type is TaskType.CLASSIFICATION:
        label = class_label(row)
        if label is None or not 0 <= label < task.num_classes:
            raise InputError(f"{row.source}: expected a class in 0..{task.num_classes - 1}, found {label}")
        return np.asarray(label, dtype=np.int64)
    if task.type is TaskType.DETECTION:
        box = box_label(row)
        if box is None:
            raise InputError(f"{row.source}: expected x_min, y_min, x_max and y_max, found none")
        x1, y1, x2, y2 = to_fractions(np.reshape(box, (2, 2)), size).ravel()
        corners = warp_points(np.array([(x1, y1), (x2, y1), (x1, y2), (x2, y2)]), matrix, frame)
        return np.clip(np.concatenate([corners.min(0), corners.max(0)]), 0.0, 1.0)
    points = points_label(row)
    if points is None or len(points) != task.num_classes:
        raise InputError(f"{row.source}: expected {task.num_classes} points, found {len(points or [])}")
    return warp_points(to_fractions(np.array(points), size), matrix, frame)


def _own_task(name: str, kind: TaskType, count: int) -> Task:
    if not count:
        raise InputError(f"task {name}: expected a whole number in num_classes, found none in any row")
    # Points are named by where they lie in the image, so a mirror image would need another order.
    return Task(name, kind, count, left_right=kind is TaskType.REGRESSION)
