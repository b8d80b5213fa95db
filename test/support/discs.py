"""A disc as image, mask, box and point, and where one is seen in a field of brightness."""

from pathlib import Path

import cv2
import numpy as np

from aurora.images.transform import to_fractions
from aurora.rows import Row
from aurora.tasks import Task, TaskType
from training.data.cases import Case


def disc(size: tuple[int, int], place: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(H, W) of 0 and 1: an upright ellipse."""
    rows, columns = np.indices(size)
    return (((columns - place[0]) / radii[0]) ** 2 + ((rows - place[1]) / radii[1]) ** 2 <= 1).astype(np.uint8)


def extent(field: np.ndarray) -> np.ndarray:
    """The box of a uniform ellipse in fractions: it reaches two standard deviations from its centre to each side."""
    rows, columns = np.indices(field.shape)
    weights = field / field.sum()
    x, y = (columns * weights).sum(), (rows * weights).sum()
    reach = 2 * np.sqrt([((columns - x) ** 2 * weights).sum(), ((rows - y) ** 2 * weights).sum()])
    return np.concatenate([to_fractions(np.array([x, y]) + side * reach, field.shape) for side in (-1, 1)])


def centre(box: np.ndarray) -> np.ndarray:
    """The middle (x, y) of a box (x1, y1, x2, y2)."""
    return (box[:2] + box[2:]) / 2


def corners(box: np.ndarray) -> np.ndarray:
    """The four corners (4, 2) of a box."""
    return np.ravel(box)[[[0, 1], [2, 1], [0, 3], [2, 3]]]


def pixels_off(found: np.ndarray, expected: np.ndarray, frame: tuple[int, int]) -> float:
    """The largest difference between x, y, ... in fractions, in pixels of the frame."""
    return float((np.abs(found - expected).reshape(-1, 2) * frame[::-1]).max())


def write_disc(folder: Path, size: tuple[int, int]) -> None:
    """Write disc.png, mask.png and an all white white.png of `size` (height, width) into `folder`."""
    place, radii = _disc(size)
    mask = disc(size, place, radii)
    cv2.imwrite(str(folder / "disc.png"), 255 * mask)
    cv2.imwrite(str(folder / "mask.png"), mask)
    cv2.imwrite(str(folder / "white.png"), np.full_like(mask, 255))


def disc_case(folder: Path, kind: TaskType, size: tuple[int, int], image: str = "disc.png") -> Case:
    """The disc that `write_disc` wrote, labelled for a task of any type that may be mirrored.

    Its points are the disc's centre and the corners of its box.
    """
    (x, y), (rx, ry) = _disc(size)
    labels = dict(zip(("x_min", "y_min", "x_max", "y_max"), map(str, (x - rx, y - ry, x + rx, y + ry)), strict=True))
    points = (x, y), (x - rx, y - ry), (x + rx, y - ry), (x - rx, y + ry), (x + rx, y + ry)
    labels |= {"mask": "0"} | {f"point_{k}_xy": f"[{u}, {v}]" for k, (u, v) in enumerate(points, start=1)}
    counts = {TaskType.SEGMENTATION: 2, TaskType.CLASSIFICATION: 2, TaskType.DETECTION: 1, TaskType.REGRESSION: 5}
    task = Task("disc", kind, counts[kind])
    return Case(folder, Row("disc", kind, None, f"../{image}", "../mask.png", "a.csv:2", labels), task)


def _disc(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Place and radii in pixels: right of the middle and above it, and half as high as wide in a square."""
    height, width = size
    return np.array([width * 3 // 5, height * 2 // 5]), np.array([width / 5, height / 7])
