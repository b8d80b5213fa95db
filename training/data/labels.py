"""The label of a row of training data, which is an error unless it makes sense for its image."""

from pathlib import Path

import numpy as np

from aurora.errors import ImageError, InputError
from aurora.images import read_mask
from aurora.images.transform import to_fractions
from aurora.rows import Row, box_label, class_label, mask_file, points_label
from aurora.tasks import Task, TaskType

#: A box must lie in the image for at least this part of its area; what hangs over is cut off.
MIN_BOX_INSIDE = 0.5
#: How far outside the image a point may lie, as a share of the image's diagonal.
MAX_POINT_OUTSIDE = 0.1


def read_label(root: Path, row: Row, task: Task, size: tuple[int, int]) -> np.ndarray:
    """The label for an image of `size` (height, width).

    By type: class ids (H, W) uint8; the class as an int64 scalar; in fractions of the image, the box's corners
    (2, 2) inside it or the points (K, 2). Raises `InputError` with the row's source when the label is absent or
    makes no sense.
    """
    if task.type is TaskType.SEGMENTATION:
        return _mask(root, row, size, task.num_classes)
    if task.type is TaskType.CLASSIFICATION:
        return _class(row, task.num_classes)
    return _corners(row, size) if task.type is TaskType.DETECTION else _points(row, size, task.num_classes)


def find_mask(root: Path, row: Row) -> Path:
    """The row's mask, which is there and isn't empty; raises `InputError`."""
    try:
        path = mask_file(root, row)
    except ImageError as error:
        raise InputError(f"{error}; expected the path of a mask, mend the row") from None
    if not path.is_file() or not path.stat().st_size:
        found = "an empty file" if path.is_file() else "none"
        raise InputError(f"{row.source}: expected a mask at {row.mask_path}, found {found}; add it or remove the row")
    return path


def _mask(root: Path, row: Row, size: tuple[int, int], count: int) -> np.ndarray:
    path = find_mask(root, row)
    try:
        mask = read_mask(path)
    except ImageError as error:
        raise InputError(f"{row.source}: expected a mask of class ids, found one that can't be used: {error}") from None
    if mask.shape != size:
        raise InputError(
            f"{row.source}: expected a mask as large as its image, {_shown(size)}, found one {_shown(mask.shape)}; "
            f"mend {row.mask_path}"
        )
    if mask.max() >= count:
        raise InputError(
            f"{row.source}: expected a mask of class ids below {count}, found one with {mask.max()}; "
            f"mend {row.mask_path}"
        )
    return mask


def _class(row: Row, count: int) -> np.ndarray:
    label = class_label(row)
    if label is None or label >= count:
        found = "none" if label is None else label
        raise InputError(f"{row.source}: expected a class in 0..{count - 1} in the column mask, found {found}; mend it")
    return np.asarray(label, dtype=np.int64)


def _corners(row: Row, size: tuple[int, int]) -> np.ndarray:
    """The box's corners (2, 2) in fractions, cut off at the image's edges."""
    source, box = row.source, box_label(row)
    if box is None:
        raise InputError(f"{source}: expected x_min, y_min, x_max and y_max, found none; mend the row")
    x1, y1, x2, y2 = box
    shown = f"x {x1:g}..{x2:g} and y {y1:g}..{y2:g}"
    if x2 <= x1 or y2 <= y1:
        raise InputError(f"{source}: expected x_min below x_max and y_min below y_max, found {shown}; mend the box")
    corners = to_fractions(np.reshape(box, (2, 2)), size)
    inside = np.clip(corners, 0.0, 1.0)
    if np.diff(inside, axis=0).prod() < MIN_BOX_INSIDE * np.diff(corners, axis=0).prod():
        where = f"the image, {_shown(size)}"
        raise InputError(f"{source}: expected a box that lies mostly in {where}, found {shown}; mend the box")
    return inside


def _points(row: Row, size: tuple[int, int], count: int) -> np.ndarray:
    """The points (K, 2) in fractions of the image; they may lie slightly outside."""
    source, points = row.source, points_label(row)
    if points is None or len(points) != count:
        raise InputError(f"{source}: expected {count} points, found {len(points or [])}; mend the row")
    fractions = to_fractions(np.array(points), size)
    sides = size[1], size[0]
    outside = np.hypot(*((fractions - np.clip(fractions, 0.0, 1.0)) * sides).T)
    if outside.max() > MAX_POINT_OUTSIDE * np.hypot(*size):
        worst = int(outside.argmax())
        x, y = points[worst]
        raise InputError(
            f"{source}: expected point_{worst + 1}_xy in the image, {_shown(size)}, found [{x:g}, {y:g}], "
            f"{outside.max():.3g} pixels outside; mend the point"
        )
    return fractions


def _shown(size: tuple[int, ...]) -> str:
    return f"{size[1]} wide and {size[0]} high"
