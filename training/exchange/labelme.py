"""Read LabelMe's JSON files: one per image, with polygons, rectangles, circles, masks or points."""

import base64
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from aurora.errors import ImageError, InputError
from aurora.images.headers import read_header
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange.finder import ImageFinder, images_of
from training.exchange.instances import Annotated, Category, Instance, instance_source, numbers, polygon_region
from training.exchange.source import Size, Source, Unusable, files_below, split_of

_HEAD = 4096
#: The corners of the polygon that stands for a circle: it is less than a thousandth smaller.
_CORNERS = 128
#: The shapes whose points are the corners of their outline.
_OUTLINES = ("polygon", "rectangle", "oriented_rectangle")

Shape = Mapping[str, Any]


def recognise(source: Path) -> str | None:
    """Return why a folder looks like LabelMe's, None if it doesn't."""
    for path in files_below(source, "*.json"):
        with path.open("rb") as file:
            if b'"shapes"' in file.read(_HEAD):
                return f"{path.name} has shapes"
    return None


def read(source: Path, kind: TaskType | None, findings: Findings) -> Source:
    """Read a folder of JSON files and images.

    Points become the landmarks of one object, in the order of their labels; each image has one of each.

    Raises:
        InputError: there is no shape that the type can use.
    """
    files = files_below(source, "*.json")
    labels: dict[str, set[str]] = defaultdict(set)
    for path in files:
        for shape in _shapes_of(path):
            labels[_form(shape)].add(str(shape["label"]))
    chosen = kind or _kind(labels)
    points = chosen == TaskType.REGRESSION
    names = sorted(set().union(*(found for form, found in labels.items() if (form == "point") == points)))
    if not names:
        noun = "points" if points else "polygons, rectangles or circles"
        raise InputError(f"expected {noun} in the JSON files for {chosen}, found none in {source}; change --type")
    categories = [Category("landmarks", tuple(names))] if points else [Category(name) for name in names]
    splits: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        splits[split_of(str(PurePosixPath(path.relative_to(source).as_posix()).parent))].append(path)
    finder = ImageFinder(source)
    images = {split: _images(found, names, points, finder, findings) for split, found in splits.items()}
    return instance_source(chosen, categories, images, findings)


def _kind(labels: Mapping[str, set[str]]) -> TaskType:
    if labels.keys() - {"point", "rectangle"}:
        return TaskType.SEGMENTATION
    return TaskType.DETECTION if "rectangle" in labels else TaskType.REGRESSION


def _parse(path: Path) -> dict[str, Any]:
    """Return the content of a file; raise `Unusable` if it is damaged or of another kind."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise Unusable("the JSON file is damaged") from None
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not isinstance(content.get("imagePath"), str):
        raise Unusable("the JSON file has no shapes, or no imagePath")
    if not all(isinstance(shape, dict) and isinstance(shape.get("label"), str) for shape in shapes):
        raise Unusable("a shape has no label")
    return content


def _shapes_of(path: Path) -> list[Shape]:
    """Return the shapes in a file; none if it can't be read, which is reported later."""
    try:
        return _parse(path)["shapes"]
    except Unusable:
        return []


def _form(shape: Shape) -> str:
    return str(shape.get("shape_type") or "polygon")


def _images(
    files: Sequence[Path], names: Sequence[str], points: bool, finder: ImageFinder, findings: Findings
) -> Iterator[Annotated]:
    def read(path: Path) -> tuple[str, Mapping[str, Any]]:
        content = _parse(path)
        return content["imagePath"], content

    for found, content in images_of(files, read, finder, findings):
        yield Annotated(found.path, found.name, partial(_instances, content, names, points))


def _instances(content: Mapping[str, Any], names: Sequence[str], points: bool, size: Size) -> list[Instance]:
    stated = (content.get("imageHeight"), content.get("imageWidth"))
    if None not in stated and stated != size:
        raise Unusable("the file states another size than that of the image")
    shapes = [shape for shape in content["shapes"] if (_form(shape) == "point") == points]
    if points:
        return [_landmarks(shapes, names)] if shapes else []
    return [_object(shape, names.index(str(shape["label"]))) for shape in shapes]


def _corners(shape: Shape) -> list[tuple[float, float]]:
    corners = shape.get("points")
    if not isinstance(corners, list) or not all(isinstance(corner, list) and len(corner) == 2 for corner in corners):
        raise Unusable("a shape has something else than pairs of numbers as its points")
    return [(x, y) for x, y in map(numbers, corners)]


def _landmarks(shapes: Sequence[Shape], names: Sequence[str]) -> Instance:
    points: dict[str, tuple[float, float]] = {}
    for shape in shapes:
        corners = _corners(shape)
        if len(corners) != 1:
            raise Unusable("a point has another number of coordinates than two")
        if points.setdefault(str(shape["label"]), corners[0]) is not corners[0]:
            raise Unusable("the image has two points of one label")
    # LabelMe's whole numbers are the edges of pixels, those of an input root are centres.
    placed = [points.get(name) for name in names]
    return Instance(0, points=[point and (point[0] - 0.5, point[1] - 0.5) for point in placed])


def _object(shape: Shape, category: int) -> Instance:
    form, corners = _form(shape), _corners(shape)
    if form == "rectangle" and len(corners) == 2:
        (x1, y1), (x2, y2) = corners
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    elif form == "circle" and len(corners) == 2:
        corners = _circle(*corners)
    elif form == "mask" and len(corners) == 2:
        (x1, y1), (x2, y2) = corners
        return Instance(category, (x1, y1, x2 + 1, y2 + 1), partial(_drawn, shape.get("mask"), corners))
    elif form not in _OUTLINES:
        raise Unusable(f"a shape is a {form}, which has no area")
    if len(corners) < 3:
        raise Unusable("an outline has fewer than three points")
    xs, ys = zip(*corners, strict=True)
    outline = [value for corner in corners for value in corner]
    return Instance(category, (min(xs), min(ys), max(xs), max(ys)), polygon_region([outline]))


def _drawn(text: Any, corners: Sequence[tuple[float, float]], size: Size) -> np.ndarray:
    """Return the region of a mask, a PNG file as base64 whose first and last pixel are at `corners`."""
    (x1, y1), (x2, y2) = ((int(x), int(y)) for x, y in corners)
    region = np.zeros(size, np.uint8)
    inside = region[max(y1, 0) : y2 + 1, max(x1, 0) : x2 + 1]
    try:
        content = base64.b64decode(text, validate=True)
        # The size is compared before pixels are decoded.
        if inside.shape != read_header(content, Path("mask")).size:
            raise Unusable("a mask is of another size than its place in the image")
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            raise ValueError
        inside[:] = pixels > 0
    except (TypeError, ValueError, ImageError, cv2.error):
        raise Unusable("a mask is damaged") from None
    return region


def _circle(centre: tuple[float, float], edge: tuple[float, float]) -> list[tuple[float, float]]:
    radius = math.dist(centre, edge)
    angles = [2 * math.pi * number / _CORNERS for number in range(_CORNERS)]
    return [(centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)) for angle in angles]
