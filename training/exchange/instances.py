"""Turn annotated objects, as COCO, YOLO and others list them per image, into one label of each task."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aurora.errors import InputError
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange.run_lengths import region_of, runs_of
from training.exchange.source import Item, Label, Size, Source, Target, Unusable, named_splits

Box = tuple[float, float, float, float]
#: How far outside the image an outline may reach, in sides of the image; beyond, it belongs to another image.
FAR = 1.0
#: Greater coordinates are no pixels of any image.
LARGE = 1e12


class Category(NamedTuple):
    """A class of objects, and the names of its landmarks."""

    name: str
    points: tuple[str, ...] = ()


class Instance(NamedTuple):
    """An annotated object; coordinates are pixels, x before y.

    `category` is an index. `region` draws the object as a mask (H, W) of 0 and 1 in an image of a size (height, width).
    `points` are (x, y), None for one that isn't labelled.
    """

    category: int
    box: Box | None = None
    region: Callable[[Size], np.ndarray] | None = None
    points: Sequence[tuple[float, float] | None] = ()


class Annotated(NamedTuple):
    """An image, the name by which it is stored, and a function that gives its objects at its size."""

    image: Path
    name: str
    read: Callable[[Size], list[Instance]]


def numbers(values: Any) -> list[float]:
    """Return a list of numbers as an annotation has it; raise `Unusable` if it is something else."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise Unusable("an annotation has something else where numbers are expected")
    # A whole number may be too large for a float.
    return [float(value) if abs(value) < LARGE else math.nan for value in values]


def polygon_region(polygons: Sequence[Sequence[float]]) -> Callable[[Size], np.ndarray]:
    """Return the `region` of the union of polygons, each a flat list x1, y1, x2, y2, ... in pixels.

    Pixels are filled as COCO's own tools fill them: whole numbers are the edges of pixels.
    """
    return partial(_fill, polygons)


def _fill(polygons: Sequence[Sequence[float]], size: Size) -> np.ndarray:
    from pycocotools import mask

    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise Unusable("an outline has fewer than three points")
        if not all(map(math.isfinite, polygon)):
            raise Unusable("an outline has coordinates that aren't numbers")
        xs, ys = np.array(polygon[::2]) / size[1], np.array(polygon[1::2]) / size[0]
        if min(xs.min(), ys.min()) < -FAR or max(xs.max(), ys.max()) > 1 + FAR:
            raise Unusable("an outline lies far outside the image")
    encoded = mask.merge(mask.frPyObjects([list(map(float, polygon)) for polygon in polygons], *size))
    return region_of(runs_of(encoded["counts"].decode()), size)


def instance_source(
    kind: TaskType, categories: Sequence[Category], splits: Mapping[str, Iterable[Annotated]], findings: Findings
) -> Source:
    """Return a source of one task with all categories or, of boxes and points, of one task per category.

    An input root holds one box, or one set of points, per image and task; images with several are left out.
    """
    label = _LABELS[kind]

    def items(images: Iterable[Annotated]) -> Iterator[Item]:
        for image, name, read in images:
            yield Item(image, name, partial(_labels, label, read, name, findings))

    roots = named_splits({split: items(images) for split, images in splits.items()})
    return Source(kind, _targets(kind, categories), roots)


def _targets(kind: TaskType, categories: Sequence[Category]) -> tuple[Target, ...]:
    names = tuple(category.name for category in categories)
    if len(set(map(_suffix, names))) < len(names):
        raise InputError(f"expected classes of different names, found {', '.join(names)}; rename one of them")
    if kind == TaskType.SEGMENTATION:
        return (Target("", ("background", *names)),)
    if kind == TaskType.CLASSIFICATION:
        if len(names) == 1:
            raise InputError(f"expected two or more classes for classification, found only {names[0]}; change --type")
        return (Target("", names),)
    return tuple(
        Target("" if len(names) == 1 else _suffix(name), points if kind == TaskType.REGRESSION else (name,))
        for name, points in categories
    )


def _labels(
    label: "_Labeller", read: Callable[[Size], list[Instance]], name: str, findings: Findings, size: Size
) -> dict[int, Label]:
    return label(read(size), size, name, findings)


def _suffix(name: str) -> str:
    return "_" + re.sub(r"[^\w-]+", "_", name)


def _draw(instances: Sequence[Instance], size: Size, name: str, findings: Findings) -> dict[int, Label]:
    """Return one mask of all objects; where classes overlap, the highest counts, as in merged masks."""
    mask = np.zeros(size, np.uint8)
    overlap = False
    for instance in instances:
        # Without one of its objects, the mask would teach that there is none, so the whole image is unusable.
        if instance.region is None:
            raise Unusable("an object has no outline")
        region = instance.region(size)
        if not region.any():
            findings.noted.add("an outline covers no pixel", name)
        value = np.uint8(instance.category + 1)
        overlap = overlap or bool((region & (mask > 0) & (mask != value)).any())
        np.maximum(mask, region * value, out=mask)
    if overlap:
        findings.noted.add("objects of two classes overlap; the higher class counts", name)
    return {0: mask}


def _classify(instances: Sequence[Instance], size: Size, name: str, findings: Findings) -> dict[int, Label]:
    found = {instance.category for instance in instances}
    if len(found) != 1:
        raise Unusable("the image has objects of several classes" if found else "the image has no object")
    return {0: found.pop()}


def _locate(instances: Sequence[Instance], size: Size, name: str, findings: Findings) -> dict[int, Label]:
    boxes: dict[int, list[Label]] = {}
    for instance in instances:
        try:
            box = _clip(instance.box, size, name, findings)
        except Unusable as error:
            findings.left_out.add(str(error), name)
        else:
            boxes.setdefault(instance.category, []).append(box)
    return _single(boxes, "box", name, findings)


def _clip(box: Box | None, size: Size, name: str, findings: Findings) -> Box:
    if box is None:
        raise Unusable("an object has no box")
    if not all(map(math.isfinite, box)):
        raise Unusable("a box has coordinates that aren't numbers")
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        raise Unusable("a box has no area")
    inside = max(x1, 0), max(y1, 0), min(x2, size[1]), min(y2, size[0])
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        raise Unusable("a box lies outside the image")
    # Products of fractions and sides are off by rounding.
    if max(abs(a - b) for a, b in zip(inside, box, strict=True)) > 0.01:
        findings.noted.add("a box reaches out of the image and was cut off at its edge", name)
    return inside


def _mark(instances: Sequence[Instance], size: Size, name: str, findings: Findings) -> dict[int, Label]:
    found: dict[int, list[Label]] = {}
    for instance in instances:
        points = [point for point in instance.points if point is not None]
        if len(points) < len(instance.points) or not points:
            findings.left_out.add("an object has landmarks that aren't labelled", name)
        elif not all(math.isfinite(value) for point in points for value in point):
            findings.left_out.add("a landmark has coordinates that aren't numbers", name)
        elif not all(-0.5 <= x <= size[1] and -0.5 <= y <= size[0] for x, y in points):
            findings.left_out.add("a landmark lies outside the image", name)
        else:
            found.setdefault(instance.category, []).append(points)
    return _single(found, "set of landmarks", name, findings)


def _single(labels: Mapping[int, list[Label]], noun: str, name: str, findings: Findings) -> dict[int, Label]:
    """Return the label of each category that has one; note the others."""
    if not labels:
        raise Unusable(f"the image has no usable {noun}")
    for found in labels.values():
        if len(found) > 1:
            findings.left_out.add(f"the image has more than one {noun} of a class, and the layout holds one", name)
    return {category: found[0] for category, found in labels.items() if len(found) == 1}


_Labeller = Callable[[Sequence[Instance], Size, str, Findings], dict[int, Label]]
_LABELS: Mapping[TaskType, _Labeller] = {
    TaskType.SEGMENTATION: _draw,
    TaskType.CLASSIFICATION: _classify,
    TaskType.DETECTION: _locate,
    TaskType.REGRESSION: _mark,
}
