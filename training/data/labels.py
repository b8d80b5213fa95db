"""Read the labels of training data, check them against their images and convert them to training targets.

Boxes and points are in pixels of the original image, and whole numbers are read as pixel centres for both, as in
`aurora.images.transform`. Phantoms have boxes of pixel edges (`training.phantom.phantom`), so the targets of their
boxes are half a pixel too far right and down; decoding subtracts that half again. The mismatch remains until the
shipped weights are trained again, because correcting it would move their predictions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aurora.errors import ImageError, InputError
from aurora.images.labels import merged_mask
from aurora.images.transform import to_fractions
from aurora.rows import Row, box_label, class_label, mask_files, points_label
from aurora.rows.labels import are_fractions
from aurora.rows.near_miss import near_miss
from aurora.tasks import Task, TaskType
from training.augment.geometry import CENTRE, warp_box, warp_masks, warp_points

#: The least share of a box's area that must be inside the image; the rest is cut off.
MIN_BOX_INSIDE = 0.5
#: The largest distance of a point outside the image from its edge, as a share of the image's diagonal.
MAX_POINT_OUTSIDE = 0.1
#: Side of a cell of the segmentation logits in pixels of the model's image.
CELL = 4
#: The box that stays in the field of view if a label has no positions: x1, y1, x2, y2.
MIDDLE = np.array([0.1, 0.1, 0.9, 0.9])
# The common grid on which masks of all sizes are averaged, in pixels.
_GRID = (256, 256)

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReader:
    """How the labels of one task type are read and used in training.

    Attributes:
        read: reads the label of a row for an image of a size (height, width); raises `InputError` with the row's source
            when the label is missing or invalid.
        check: raises those errors of `read` that the row and the headers of its files reveal.
        target: turns a label into a target of a `Sample` through an affine matrix of the model's input size.
        keep_inside: returns the points (N, 2), in fractions of the image and inside it, that augmentation must keep
            inside: a mask may be cut off at the edge, but a box or a point outside can't be predicted.
        keep_visible: returns the points (N, 2) of a target, in fractions, that must stay in the field of view.
        average: returns a label in the form in which labels are averaged for `training baseline`.
    """

    read: Callable[[Path, Row, Task, Size], np.ndarray]
    check: Callable[[Path, Row, Task, Size], object]
    target: Callable[[np.ndarray, Task, np.ndarray, Size], np.ndarray]
    keep_inside: Callable[[np.ndarray], np.ndarray]
    keep_visible: Callable[[np.ndarray], np.ndarray]
    average: Callable[[np.ndarray, Task], np.ndarray]


def find_masks(root: Path, row: Row) -> list[Path]:
    """Return the paths of the row's masks; raise `InputError` if one is missing or empty."""
    try:
        paths = mask_files(root, row)
    except ImageError as error:
        raise InputError(f"{error}; expected the path of a mask, correct the row") from None
    for path, cell in zip(paths, (row.mask_path, *row.more_masks), strict=True):
        if not path.is_file() or not path.stat().st_size:
            near = near_miss(path, root)
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


def _visible_foreground(target: np.ndarray) -> np.ndarray:
    cells = np.argwhere(target[0] < 1.0)[:, ::-1]
    return (cells + 0.5) / target.shape[:0:-1] if len(cells) else fill_box(MIDDLE)


def fill_box(box: np.ndarray) -> np.ndarray:
    """Return a grid of points (N, 2) over a box (x1, y1, x2, y2): corners aren't enough, as an arc could cut a side."""
    x, y = np.meshgrid(np.linspace(box[0], box[2], 17), np.linspace(box[1], box[3], 17))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _class_shares(label: np.ndarray, task: Task) -> np.ndarray:
    one_hot = label[..., None] == np.arange(task.num_classes)
    return cv2.resize(one_hot.astype(np.float32), _GRID, interpolation=cv2.INTER_AREA)


#: The label reader of each task type.
LABELS: dict[TaskType, LabelReader] = {
    TaskType.SEGMENTATION: LabelReader(
        read=read_mask_label,
        check=lambda root, row, task, size: find_masks(root, row),
        target=lambda label, task, matrix, frame: warp_masks(label, task.num_classes, matrix, frame, CELL),
        keep_inside=lambda label: CENTRE,
        keep_visible=_visible_foreground,
        average=_class_shares,
    ),
    TaskType.CLASSIFICATION: LabelReader(
        read=read_class,
        check=read_class,
        target=lambda label, task, matrix, frame: label,
        keep_inside=lambda label: CENTRE,
        keep_visible=lambda target: fill_box(MIDDLE),
        average=lambda label, task: np.arange(task.num_classes) == label,
    ),
    TaskType.DETECTION: LabelReader(
        read=read_box,
        check=read_box,
        target=lambda label, task, matrix, frame: warp_box(label, matrix, frame),
        keep_inside=lambda label: fill_box(label.ravel()),
        keep_visible=fill_box,
        average=lambda label, task: label.clip(0, 1),
    ),
    TaskType.REGRESSION: LabelReader(
        read=read_points,
        check=read_points,
        target=lambda label, task, matrix, frame: warp_points(label, matrix, frame),
        keep_inside=lambda label: np.clip(label, 0.0, 1.0),
        keep_visible=lambda target: target,
        average=lambda label, task: label.clip(0, 1),
    ),
}


def read_label(root: Path, row: Row, task: Task, size: Size) -> np.ndarray:
    """Read the label of a row for an image of `size` (height, width).

    Returns:
        By type: class ids, (H, W) uint8; the class as an int64 scalar; in fractions of the image, the box's corners,
        (2, 2) inside it, or the points, (K, 2).

    Raises:
        InputError: the label is missing or invalid; the message begins with the row's source.
    """
    return LABELS[task.type].read(root, row, task, size)
