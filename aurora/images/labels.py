"""Read the true mask of a row, and judge the labels of whole tasks by the files of their images and masks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aurora.errors import ImageError
from aurora.images.masks import read_mask
from aurora.rows import Row
from aurora.rows.labels import LabelProblem, judge_absent
from aurora.tasks import TaskType


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
