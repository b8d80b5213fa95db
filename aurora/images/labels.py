"""Read the labels that are trained on, check them against their images, and judge those of whole tasks by their files.

Boxes and points are in pixels of the original image, and whole numbers are read as pixel centres for both, as in
`aurora.images.transform`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aurora.errors import ImageError, InputError
from aurora.images.masks import read_mask
from aurora.images.transform import to_fractions
from aurora.rows import Row, box_label, class_label, mask_files, points_label
from aurora.rows.labels import LabelProblem, are_fractions, judge_absent
from aurora.rows.near_miss import near_miss
from aurora.tasks import Task, TaskType

#: The least share of a box's area that must be inside the image; the rest is cut off.
MIN_BOX_INSIDE = 0.5
#: The largest distance of a point outside the image from its edge, as a share of the image's diagonal.
MAX_POINT_OUTSIDE = 0.1

Size = tuple[int, int]


def merged_mask(paths: Sequence[Path]) -> np.ndarray:
    """Return the union of masks of one image, (H, W) uint8: the highest class id of each pixel.

    Raises:
        ImageError: a mask can't be read, or two masks differ in size.
    """
    merged = read_mask(paths[0])
    for path in paths[1:]:
        mask = read_mask(path)
        if mask.shape != merged.shape:
            raise ImageError(f"expected a mask as large as {paths[0].name}, found another size", path)
        merged = np.maximum(merged, mask)
    return merged


def find_masks(root: Path, row: Row) -> list[Path]:
    """Return the paths of the row's masks; raise `InputError` if one is missing or empty."""
    try:
        paths = mask_files(root, row)
    except ImageError as error:
        raise InputError(f"{error}; expected the path of a mask, correct the row") from None
    for path, cell in zip(paths, (row.mask_path, *row.more_masks), strict=True):
        if not path.is_file() or not path.stat().st_size:
            near = near_miss(cell or "", root)
            present = "an empty file" if path.is_file() else f"{near.expected}: {near.advice}" if near else "none"
            raise InputError(f"{row.source}: expected a mask at {cell}, found {present}; add it or remove the row")
    return paths


def read_mask_label(root: Path, row: Row, task: Task, size: Size) -> np.ndarray:
    """Read class ids, (H, W) uint8."""
    count = task.num_classes
    paths = find_masks(root, row)
    try:
        mask = merged_mask(paths)
    except ImageError as error:
        raise InputError(f"{row.source}: expected a mask of class ids, found one that can't be used: {error}") from None
    if mask.shape != size:
        raise InputError(
            f"{row.source}: expected a mask as large as its image, {_shown(size)}, found one {_shown(mask.shape)}; "
            f"correct {row.mask_path}"
        )
    if mask.max() >= count:
        raise InputError(
            f"{row.source}: expected a mask of class ids below {count}, found one with {mask.max()}; "
            f"correct {row.mask_path}"
        )
    return mask


def read_class(root: Path, row: Row, task: Task, size: Size) -> np.ndarray:
    """Read the class as an int64 scalar."""
    count = task.num_classes
    label = class_label(row)
    if label is None or label >= count:
        shown = "none" if label is None else label
        raise InputError(
            f"{row.source}: expected a class in 0..{count - 1} in the column mask, found {shown}; correct it"
        )
    return np.asarray(label, dtype=np.int64)


def read_box(root: Path, row: Row, task: Task, size: Size) -> np.ndarray:
    """Read the corners of the box, (2, 2) in fractions of the image, cut off at its edges."""
    source, box = row.source, box_label(row)
    if box is None:
        raise InputError(f"{source}: expected x_min, y_min, x_max and y_max, found none; correct the row")
    x1, y1, x2, y2 = box
    shown = f"x {x1:g}..{x2:g} and y {y1:g}..{y2:g}"
    if x2 <= x1 or y2 <= y1:
        raise InputError(f"{source}: expected x_min below x_max and y_min below y_max, found {shown}; correct the box")
    if are_fractions(box):
        raise InputError(f"{source}: expected a box in pixels, found fractions, {shown}; multiply them by the sides")
    corners = to_fractions(np.reshape(box, (2, 2)), size)
    inside = np.clip(corners, 0.0, 1.0)
    if np.diff(inside, axis=0).prod() < MIN_BOX_INSIDE * np.diff(corners, axis=0).prod():
        where = f"the image, {_shown(size)}"
        raise InputError(f"{source}: expected a box that is mostly in {where}, found {shown}; correct the box")
    return inside


def read_points(root: Path, row: Row, task: Task, size: Size) -> np.ndarray:
    """Read the points, (K, 2) in fractions of the image; they may be slightly outside."""
    count = task.num_classes
    source, points = row.source, points_label(row)
    if points is None or len(points) != count:
        raise InputError(f"{source}: expected {count} points, found {len(points or [])}; correct the row")
    marks = [k for k, (x, y) in enumerate(points, start=1) if x == y <= -1]
    if marks:
        x = points[marks[0] - 1][0]
        raise InputError(
            f"{source}: expected point_{marks[0]}_xy in the image, found [{x:g}, {x:g}], as missing landmarks are "
            "marked; remove the row, or leave such rows out with on_bad_case=skip"
        )
    fractions = to_fractions(np.array(points), size)
    sides = size[1], size[0]
    outside = np.hypot(*((fractions - np.clip(fractions, 0.0, 1.0)) * sides).T)
    if outside.max() > MAX_POINT_OUTSIDE * np.hypot(*size):
        worst = int(outside.argmax())
        x, y = points[worst]
        raise InputError(
            f"{source}: expected point_{worst + 1}_xy in the image, {_shown(size)}, found [{x:g}, {y:g}], "
            f"{outside.max():.3g} pixels outside; correct the point"
        )
    return fractions


def _shown(size: tuple[int, ...]) -> str:
    return f"{size[1]} wide and {size[0]} high"


#: The functions that read the label of each of the challenge's task types, and say why it can't be trained on.
LABEL_READERS: Mapping[TaskType, Callable[[Path, Row, Task, Size], np.ndarray]] = {
    TaskType.SEGMENTATION: read_mask_label,
    TaskType.CLASSIFICATION: read_class,
    TaskType.DETECTION: read_box,
    TaskType.REGRESSION: read_points,
}


def classes_in(mask: np.ndarray) -> frozenset[int]:
    """Return the class ids that occur in a mask, (H, W) uint8."""
    return frozenset(np.flatnonzero(cv2.calcHist([mask], [0], None, [256], [0, 256])).tolist())


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """A labelled row, whether its image is `turned` by EXIF, and the `classes` in its mask; None if it wasn't read."""

    row: Row
    turned: bool = False
    classes: frozenset[int] | None = None


def judge_files(labelled: Iterable[LabelledFiles]) -> list[LabelProblem]:
    """Return what is wrong, or may be, with the labels of each task, by its images and masks."""
    tasks: dict[str, list[LabelledFiles]] = {}
    for item in labelled:
        tasks.setdefault(item.row.task_id.strip(), []).append(item)
    return [LabelProblem(name, message, refused) for name, items in tasks.items() for message, refused in _judge(items)]


def _judge(items: Sequence[LabelledFiles]) -> Iterator[tuple[str, bool]]:
    turned = [item.row for item in items if item.turned]
    if turned and items[0].row.type != TaskType.CLASSIFICATION:
        images = "image is" if len(turned) == 1 else "images are"
        yield (
            f"{len(turned)} {images} turned by EXIF ({turned[0].source}{', ...' if len(turned) > 1 else ''}); labels "
            "must fit the turned image, so check that they weren't drawn on the stored one",
            False,
        )
    masks = [item.classes for item in items if item.classes is not None]
    if not masks:
        return
    read = "" if len(masks) == len(items) else f" of the {len(masks)} that were read, of {len(items)}"
    seen = frozenset().union(*masks)
    if not seen - {0}:
        yield f"expected masks of class ids above 0, found all masks black{read}; write the class into the pixels", True
        return
    black = sum(not classes - {0} for classes in masks)
    if black:
        yield f"{black} of {len(masks)} masks are all black{read}; make sure that their images show nothing", False
    count = max((item.row.num_classes or 0 for item in items), default=0)
    yield from judge_absent(set(seen), count, f"mask{read}")
