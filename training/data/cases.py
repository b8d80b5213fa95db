"""Labelled cases from input roots, and the samples the network is trained on."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aurora.errors import InputError
from aurora.images import image_size, read_image
from aurora.images.transform import resize_to
from aurora.rows import Row, image_file, read_rows
from aurora.tasks import OFFICIAL, Task, TaskType, registry
from training.augment.field_of_view import crop_field_of_view
from training.augment.geometry import CENTRE, random_affine, warp_box, warp_image, warp_masks, warp_points
from training.augment.intensity import augment_intensity
from training.augment.overlays import draw_overlays
from training.config import ALL_AUGMENTATIONS, Augmentation
from training.data.labels import find_mask, read_label

#: Side of a cell of the segmentation logits in pixels of the model's image.
CELL = 4
# What stays in the field of view where the label says nothing of places.
_MIDDLE = np.array([0.1, 0.1, 0.9, 0.9])


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


def load_cases(roots: Iterable[Path], left_right: Collection[str] = ()) -> list[Case]:
    """The labelled rows of all roots; rows without a label are an error.

    A task's number of classes is the official one's, or else the largest its rows name. The tasks in `left_right` know
    left from right, besides those that do in any case.
    """
    found = [(root, row) for root in roots for row in read_rows(root).rows]
    classes: dict[str, int] = {}
    kinds: dict[str, TaskType] = {}
    for _, row in found:
        name = row.task_id.strip()  # as `request_of` looks it up
        if kinds.setdefault(name, row.type) is not row.type:
            raise InputError(f"{row.source}: task {name} is {row.type} here and {kinds[name]} elsewhere")
        classes[name] = max(classes.get(name, 0), row.num_classes or 0)
    tasks = {name: OFFICIAL.get(name) or _own_task(name, kinds[name], count) for name, count in classes.items()}
    tasks |= {name: replace(tasks[name], left_right=True) for name in left_right if name in tasks}
    return [Case(root, row, tasks[row.task_id.strip()]) for root, row in found]


def task_registry(cases: Iterable[Case]) -> dict[str, Task]:
    """The tasks of the cases: the official ones in their order, then the others by name."""
    present = {case.task.id: case.task for case in cases}
    official = [task for name, task in OFFICIAL.items() if name in present]
    return registry([*official, *(present[name] for name in sorted(present.keys() - OFFICIAL.keys()))])


def load_sample(
    case: Case,
    frame: tuple[int, int],
    rng: np.random.Generator | None,
    augment: Collection[Augmentation] = ALL_AUGMENTATIONS,
) -> Sample:
    """Read a case and bring it to the model's `frame` (height, width), augmented where `rng` is given.

    Raises:
        ImageError: the image can't be read.
        InputError: the label is absent or makes no sense.
    """
    pixels = read_image(image_file(case.root, case.row), case.root).pixels
    label = read_label(case.root, case.row, case.task, pixels.shape[:2])
    image = resize_to(pixels, frame)
    if rng is None:
        return Sample(case.task, image, _target(case.task, label, np.eye(2, 3), frame))
    matrix = np.eye(2, 3)
    if "geometry" in augment:
        matrix = random_affine(rng, pixels.shape[:2], frame, sided=case.task.left_right, keep=_places(case.task, label))
        image = warp_image(image, matrix)
    target = _target(case.task, label, matrix, frame)
    if "field_of_view" in augment:
        image = crop_field_of_view(image, _visible(case.task, target), rng)
    if "intensity" in augment:
        image = augment_intensity(image, rng)
    return Sample(case.task, draw_overlays(image, rng) if "overlays" in augment else image, target)


def check_label(case: Case) -> None:
    """Raise what `load_sample` would, as far as the row and the headers of its files show; no pixels are decoded.

    Raises:
        ImageError: there is no image, or its header can't be read.
        InputError: the label is absent or makes no sense, or there is no mask.
    """
    size = image_size(image_file(case.root, case.row), case.root)
    if case.task.type is TaskType.SEGMENTATION:
        find_mask(case.root, case.row)
    else:
        read_label(case.root, case.row, case.task, size)


def _target(task: Task, label: np.ndarray, matrix: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """The label as `Sample.target`, through `matrix` of the frame."""
    if task.type is TaskType.SEGMENTATION:
        return warp_masks(label, task.num_classes, matrix, frame, CELL)
    if task.type is TaskType.CLASSIFICATION:
        return label
    if task.type is TaskType.DETECTION:
        return warp_box(label, matrix, frame)
    return warp_points(label, matrix, frame)


def _places(task: Task, label: np.ndarray) -> np.ndarray:
    """The points (N, 2) that must not leave the frame, in fractions of the image and inside it.

    A mask may be cut off at the frame's edge, but neither a box nor a point can be answered outside.
    """
    if task.type is TaskType.DETECTION:
        return _filled(label.ravel())
    return np.clip(label, 0.0, 1.0) if task.type is TaskType.REGRESSION else CENTRE


def _visible(task: Task, target: np.ndarray) -> np.ndarray:
    """The points (N, 2) that must stay in the field of view, in fractions of the frame."""
    if task.type is TaskType.SEGMENTATION:
        cells = np.argwhere(target[0] < 1.0)[:, ::-1]
        return (cells + 0.5) / target.shape[:0:-1] if len(cells) else _filled(_MIDDLE)
    if task.type is TaskType.DETECTION:
        return _filled(target)
    return target if task.type is TaskType.REGRESSION else _filled(_MIDDLE)


def _filled(box: np.ndarray) -> np.ndarray:
    """Points all over a box: an arc that spares its corners could still cut into a side."""
    x, y = np.meshgrid(np.linspace(box[0], box[2], 17), np.linspace(box[1], box[3], 17))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _own_task(name: str, kind: TaskType, count: int) -> Task:
    if not count:
        raise InputError(f"task {name}: expected a whole number in num_classes, found none in any row")
    # Points are named by where they lie in the image, so a mirror image would need another order.
    return Task(name, kind, count, left_right=kind is TaskType.REGRESSION)
