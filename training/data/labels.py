"""Convert the labels of training data to training targets, and average them.

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

from aurora.images.labels import LABEL_READERS, Size, find_masks
from aurora.rows import Row
from aurora.tasks import Task, TaskType
from training.augment.geometry import CENTRE, warp_box, warp_masks, warp_points

#: Side of a cell of the segmentation logits in pixels of the model's image.
CELL = 4
#: The box that stays in the field of view if a label has no positions: x1, y1, x2, y2.
MIDDLE = np.array([0.1, 0.1, 0.9, 0.9])
# The common grid on which masks of all sizes are averaged, in pixels.
_GRID = (256, 256)


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
        read=LABEL_READERS[TaskType.SEGMENTATION],
        check=lambda root, row, task, size: find_masks(root, row),
        target=lambda label, task, matrix, frame: warp_masks(label, task.num_classes, matrix, frame, CELL),
        keep_inside=lambda label: CENTRE,
        keep_visible=_visible_foreground,
        average=_class_shares,
    ),
    TaskType.CLASSIFICATION: LabelReader(
        read=LABEL_READERS[TaskType.CLASSIFICATION],
        check=LABEL_READERS[TaskType.CLASSIFICATION],
        target=lambda label, task, matrix, frame: label,
        keep_inside=lambda label: CENTRE,
        keep_visible=lambda target: fill_box(MIDDLE),
        average=lambda label, task: np.arange(task.num_classes) == label,
    ),
    TaskType.DETECTION: LabelReader(
        read=LABEL_READERS[TaskType.DETECTION],
        check=LABEL_READERS[TaskType.DETECTION],
        target=lambda label, task, matrix, frame: warp_box(label, matrix, frame),
        keep_inside=lambda label: fill_box(label.ravel()),
        keep_visible=fill_box,
        average=lambda label, task: label.clip(0, 1),
    ),
    TaskType.REGRESSION: LabelReader(
        read=LABEL_READERS[TaskType.REGRESSION],
        check=LABEL_READERS[TaskType.REGRESSION],
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
