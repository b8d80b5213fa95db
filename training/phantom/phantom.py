"""One labelled case: its size, its scanner, its anatomy and its label, all from its own random streams."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aurora.tasks import Task, TaskType
from training.phantom.anatomy.canvas import Canvas
from training.phantom.scanner.physics import scan
from training.phantom.scanner.profiles import SCANNERS, Scanner
from training.phantom.scanner.screen import write_screen
from training.phantom.tasks.classification import CLASSIFICATION
from training.phantom.tasks.detection import DETECTION
from training.phantom.tasks.regression import REGRESSION
from training.phantom.tasks.segmentation import SEGMENTATION

# Width over height of the images of each task's usual sources; 1.33 elsewhere.
ASPECTS = {
    "spinal_cord_injury_loc": 670 / 275, "thyroid_nodule_det": 718 / 500, "thyroid_nodule": 718 / 500, "IUGC": 1.0,
    "FUGC": 544 / 336, "cervix_multi": 544 / 336, "head_symphysis_multi": 1.0, "cardiac_multi": 0.9,
    "fetal_head": 800 / 540, "breast_lesion": 1.2, "breast_2cls": 1.2, "breast_3cls": 1.2, "lung": 1.0,
    "lung_2cls": 1.0, "lung_disease_3cls": 1.0,
}  # fmt: skip
# Longer side in pixels at scale 1.
SIDES = (256, 321)


@dataclass(frozen=True, slots=True)
class Case:
    """An image (H, W) uint8 with the label its task asks for; the others are None.

    `mask` is (H, W) uint8 class ids, `label` the class, `box` x1, y1, x2, y2 in pixels (the right and lower edges of
    the last pixels, so x2 <= W), `points` (N, 2) x, y in pixels. `scanner` is the name
    of the profile that was used; `jpeg` says how the image is to be stored.
    """

    image: NDArray[np.uint8]
    scanner: str
    jpeg: bool
    mask: NDArray[np.uint8] | None = None
    label: int | None = None
    box: tuple[int, int, int, int] | None = None
    points: NDArray[np.float64] | None = None


def make_case(
    task: Task, index: int, *, seed: int, split: str, scanner: Scanner | None = None, size_scale: float = 1.0
) -> Case:
    """Case number `index` of an official task.

    Size and anatomy depend on (seed, split, task, index) alone, so that the same case can be seen by every
    scanner; without a `scanner` one is drawn. Classes take turns over the index.
    """
    entropy = [seed, zlib.crc32(split.encode()), zlib.crc32(task.id.encode()), index]
    streams = np.random.SeedSequence(entropy).spawn(3)
    anatomy, machine, writing = (np.random.default_rng(stream) for stream in streams)
    drawn = list(SCANNERS.values())[int(machine.integers(len(SCANNERS)))]
    profile = scanner or drawn
    canvas = Canvas(*_size(task, anatomy, size_scale), anatomy)
    jpeg = anatomy.random() < 0.2
    label = index % task.num_classes if task.type is TaskType.CLASSIFICATION else None
    points = _paint(task, canvas, anatomy, label)
    image = scan(canvas, profile, machine)
    field = profile.geometry(canvas.height, canvas.width).field()
    write_screen(image, field, profile, writing)
    mask = canvas.mask * field
    return Case(
        image=image,
        scanner=profile.name,
        jpeg=jpeg,
        mask=mask if task.type is TaskType.SEGMENTATION else None,
        label=label,
        box=_extent(mask) if task.type is TaskType.DETECTION else None,
        points=points,
    )


def _size(task: Task, rng: np.random.Generator, scale: float) -> tuple[int, int]:
    side, aspect = int(rng.integers(*SIDES)) * scale, ASPECTS.get(task.id, 4 / 3) * rng.uniform(0.95, 1.05)
    width, height = (side, side / aspect) if aspect >= 1 else (side * aspect, side)
    return max(32, round(height)), max(32, round(width))


def _paint(task: Task, canvas: Canvas, rng: np.random.Generator, label: int | None) -> NDArray[np.float64] | None:
    """Paints the task's anatomy; the landmarks of a landmark task."""
    if label is not None:
        CLASSIFICATION[task.id](canvas, rng, label)
        return None
    if task.type is TaskType.REGRESSION:
        points = REGRESSION[task.id](canvas, rng)
        return np.clip(points, 0, (canvas.width - 1, canvas.height - 1)).round(2)
    (SEGMENTATION | DETECTION)[task.id](canvas, rng)
    return None


def _extent(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
