"""Make one phantom: size, scanner, anatomy and label, from separate random streams."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aurora.tasks import Task, TaskType
from training.phantom.anatomy.canvas import Canvas
from training.phantom.scanner.burn_in import draw_burn_in
from training.phantom.scanner.physics import scan
from training.phantom.scanner.profiles import SCANNERS, Scanner
from training.phantom.tasks.classification import CLASSIFICATION
from training.phantom.tasks.detection import DETECTION
from training.phantom.tasks.regression import REGRESSION
from training.phantom.tasks.segmentation import SEGMENTATION

# Aspect ratio (width over height) of the usual sources of each task; 4/3 for tasks that are not listed.
ASPECTS = {
    "spinal_cord_injury_loc": 670 / 275, "thyroid_nodule_det": 718 / 500, "thyroid_nodule": 718 / 500, "IUGC": 1.0,
    "FUGC": 544 / 336, "cervix_multi": 544 / 336, "head_symphysis_multi": 1.0, "cardiac_multi": 0.9,
    "fetal_head": 800 / 540, "breast_lesion": 1.2, "breast_2cls": 1.2, "breast_3cls": 1.2, "lung": 1.0,
    "lung_2cls": 1.0, "lung_disease_3cls": 1.0,
}  # fmt: skip
# Range of the longer side in pixels, at scale 1; the end is excluded.
SIDES = (256, 321)


@dataclass(frozen=True, slots=True)
class Phantom:
    """A synthetic image with the label of its task; the other labels are None.

    Coordinates are pixels. A box is given by its edges, so that it spans x / W and the left edge of the image is 0; a
    point is given relative to pixel centres, so that the left edge of the image is -0.5.

    Attributes:
        image: (H, W) uint8.
        scanner: the name of the scanner profile.
        jpeg: whether the image is stored as JPEG.
        mask: class ids (H, W) uint8.
        label: the class.
        box: x1, y1, x2, y2 with 0 <= x1 < x2 <= W and 0 <= y1 < y2 <= H.
        points: (N, 2) of x, y.
    """

    image: NDArray[np.uint8]
    scanner: str
    jpeg: bool
    mask: NDArray[np.uint8] | None = None
    label: int | None = None
    box: tuple[int, int, int, int] | None = None
    points: NDArray[np.float64] | None = None


def make_phantom(
    task: Task, index: int, *, seed: int, split: str, scanner: Scanner | None = None, size_scale: float = 1.0
) -> Phantom:
    """Make phantom number `index` of an official task.

    Size and anatomy depend on (seed, split, task, index) only, so that every scanner can image the same anatomy.
    Classes alternate with the index.

    Args:
        split: any text; phantoms of different splits differ.
        scanner: the scanner profile; drawn at random if None.
        size_scale: factor of the image's sides.

    Example:
        >>> from aurora.tasks import OFFICIAL
        >>> make_phantom(OFFICIAL["fetal_plane_cls"], 2, seed=1, split="train").label
        2
    """
    entropy = [seed, zlib.crc32(split.encode()), zlib.crc32(task.id.encode()), index]
    streams = np.random.SeedSequence(entropy).spawn(3)
    anatomy, imaging, text = (np.random.default_rng(stream) for stream in streams)
    drawn = list(SCANNERS.values())[int(imaging.integers(len(SCANNERS)))]
    profile = scanner or drawn
    canvas = Canvas(*_size(task, anatomy, size_scale), anatomy)
    jpeg = anatomy.random() < 0.2
    label = index % task.num_classes if task.type == TaskType.CLASSIFICATION else None
    points = _paint(task, canvas, anatomy, label)
    image = scan(canvas, profile, imaging)
    field = profile.geometry(canvas.height, canvas.width).field()
    draw_burn_in(image, field, profile, text)
    mask = canvas.mask * field
    return Phantom(
        image=image,
        scanner=profile.name,
        jpeg=jpeg,
        mask=mask if task.type == TaskType.SEGMENTATION else None,
        label=label,
        box=_extent(mask) if task.type == TaskType.DETECTION else None,
        points=points,
    )


def _size(task: Task, rng: np.random.Generator, scale: float) -> tuple[int, int]:
    side, aspect = int(rng.integers(*SIDES)) * scale, ASPECTS.get(task.id, 4 / 3) * rng.uniform(0.95, 1.05)
    width, height = (side, side / aspect) if aspect >= 1 else (side * aspect, side)
    return max(32, round(height)), max(32, round(width))


def _paint(task: Task, canvas: Canvas, rng: np.random.Generator, label: int | None) -> NDArray[np.float64] | None:
    """Paint the task's anatomy and return the landmarks of a landmark task, or None for other types."""
    if label is not None:
        CLASSIFICATION[task.id](canvas, rng, label)
        return None
    if task.type == TaskType.REGRESSION:
        points = REGRESSION[task.id](canvas, rng)
        return np.clip(points, 0, (canvas.width - 1, canvas.height - 1)).round(2)
    (SEGMENTATION | DETECTION)[task.id](canvas, rng)
    return None


def _extent(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return the edges x1, y1, x2, y2 of the foreground."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
