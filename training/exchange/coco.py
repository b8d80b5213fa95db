"""Read COCO files: one JSON file per split, with images, categories and annotations."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aurora.errors import InputError
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange.finder import ImageFinder
from training.exchange.instances import Annotated, Category, Instance, instance_source, numbers, polygon_region
from training.exchange.run_lengths import region_of, runs_of
from training.exchange.source import Size, Source, Unusable, files_below, split_of

_PARTS = ("images", "annotations", "categories")
#: The number of bytes at the start and the end of a JSON file in which `recognise` looks for the parts of COCO.
_HEAD = 1 << 16

_Content = dict[str, list[dict[str, Any]]]
_File = tuple[Path, _Content]


def recognise(source: Path) -> str | None:
    """Return why a file or folder looks like COCO, None if it doesn't."""
    for path in _files(source):
        with path.open("rb") as file:
            head, length = file.read(_HEAD), path.stat().st_size
            file.seek(max(0, length - _HEAD))
            text = head + file.read(_HEAD)
        # The head and the tail of a large file may lack one of the parts.
        if sum(f'"{part}"'.encode() in text for part in _PARTS) > 1:
            return f"{path.name} has images with annotations"
    return None


def _files(source: Path) -> list[Path]:
    return [source] if source.is_file() else files_below(source, "*.json")


def read(source: Path, kind: TaskType | None, findings: Findings) -> Source:
    """Read the COCO files of a folder, or one file, whose images are in its folder or beside that.

    The annotations of a file are in memory as a whole, but pixels of only one image at a time.

    Raises:
        InputError: there isn't one COCO file per split, or a file is damaged.
    """
    contents = _contents(source)
    files = list(contents.values())
    chosen = kind or _kind(files)
    categories = _categories(files, chosen)
    finder = ImageFinder(_root(source))
    splits = {
        split: _images(path, content, categories, chosen, finder, findings)
        for split, (path, content) in contents.items()
    }
    return instance_source(chosen, categories, splits, findings)


def _root(source: Path) -> Path:
    """Return the folder with the images of a COCO file: its own or, if that holds only annotations, the one above."""
    if source.is_dir():
        return source
    above = source.parent.name.lower() in ("annotations", "labels")
    return source.parent.parent if above else source.parent


def _contents(source: Path) -> dict[str, _File]:
    """Return the file and content of each split; JSON files of another kind are passed over in a folder."""
    contents: dict[str, _File] = {}
    for path in _files(source):
        content = _load(path)
        if content is None:
            if source.is_file():
                raise InputError(
                    f"expected a COCO file with {', '.join(_PARTS)}, found other JSON in {path}; name another"
                )
            continue
        split = split_of(path.relative_to(source).as_posix()) if source.is_dir() else ""
        if split in contents:
            raise InputError(
                f"expected one COCO file per split, found {contents[split][0].name} and {path.name}; "
                "name the file itself as SOURCE"
            )
        contents[split] = path, content
    if not contents:
        raise InputError(f"expected a COCO file (.json) with {', '.join(_PARTS)}, found none in {source}; name it")
    return contents


def _load(path: Path) -> _Content | None:
    """Return the content of a COCO file, None if it is other JSON; raise `InputError` if it is damaged."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"expected a readable file, found {path} ({error.strerror}); check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON, found {path} ({error}); export it again") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in _PARTS):
        return None
    for part in _PARTS:
        if not all(isinstance(entry, dict) for entry in content[part]):
            raise InputError(f"expected objects in {part}, found something else in {path}; export it again")
    return content


def _categories(files: Sequence[_File], kind: TaskType) -> list[Category]:
    """Return the categories in the order of their ids, whether annotations use them or not.

    A category that has no keypoints and isn't used is none of landmarks.
    """
    names: dict[str, Any] = {}
    used: set[str] = set()
    for path, content in files:
        ids = {_key(annotation.get("category_id")) for annotation in content["annotations"]}
        for category in content["categories"]:
            key, name = _key(category.get("id")), category.get("name")
            if not isinstance(name, str) or not name.strip() or key is None:
                raise InputError(f"expected an id and a name of every category, found {category} in {path}; add them")
            names.setdefault(name, key)
            if key in ids:
                used.add(name)
        if len({_key(category["id"]) for category in content["categories"]}) < len(content["categories"]):
            raise InputError(f"expected categories of different ids, found two of one id in {path}; export it again")
    if not used:
        raise InputError("expected annotations of a category, found none; export the file with its annotations")
    ordered = sorted(names, key=lambda name: (str(type(names[name])), names[name]))
    if kind != TaskType.REGRESSION:
        return [Category(name) for name in ordered]
    marked = [Category(name, _points(files, name)) for name in ordered]
    for name, points in marked:
        if name in used and not points:
            raise InputError(
                f"expected the names of the keypoints of the category {name!r}, found none; add them, or change --type"
            )
    return [category for category in marked if category.points]


def _key(value: Any) -> int | str | None:
    """Return an id in a form that can be compared; some tools write numbers as text or as fractions, such as 1.0."""
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _points(files: Sequence[_File], name: str) -> tuple[str, ...]:
    """Return the names of a category's landmarks, none if it has none."""
    for _, content in files:
        for category in content["categories"]:
            if category.get("name") == name and isinstance(category.get("keypoints"), list) and category["keypoints"]:
                return tuple(map(str, category["keypoints"]))
    return ()


def _kind(files: Sequence[_File]) -> TaskType:
    """Return the richest that annotations hold: landmarks, outlines or boxes."""
    annotations = [annotation for _, content in files for annotation in content["annotations"]]
    if any(annotation.get("keypoints") for annotation in annotations):
        return TaskType.REGRESSION
    if any(annotation.get("segmentation") for annotation in annotations):
        return TaskType.SEGMENTATION
    return TaskType.DETECTION


def _images(
    path: Path,
    content: _Content,
    categories: Sequence[Category],
    kind: TaskType,
    finder: ImageFinder,
    findings: Findings,
) -> Iterator[Annotated]:
    """Yield the images of a file; images that are missing or listed twice are left out."""
    index = {category.name: number for number, category in enumerate(categories)}
    by_id = {_key(category["id"]): index.get(category["name"]) for category in content["categories"]}
    read = partial(_instances, by_id, categories, kind, findings)
    annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        annotations[_key(annotation.get("image_id"))].append(annotation)
    listed = Counter(_key(image.get("id")) for image in content["images"])
    seen: set[Path] = set()
    for image in content["images"]:
        written, key = str(image.get("file_name")), _key(image.get("id"))
        try:
            if key is None:
                raise Unusable("it has no id")
            if listed[key] > 1:
                raise Unusable("its id belongs to several images")
            found = finder.find(written, path, findings)
            if found.path in seen:
                raise Unusable("the image is listed twice")
        except Unusable as error:
            findings.left_out.add(str(error), written)
            continue
        seen.add(found.path)
        yield Annotated(found.path, found.name, partial(read, image, annotations.pop(key, []), found.name))
    for orphans in (rows for key, rows in annotations.items() if not listed[key]):
        for orphan in orphans:
            findings.left_out.add("an annotation belongs to no image of the file", f"annotation {orphan.get('id')}")


def _instances(
    by_id: Mapping[Any, int | None],
    categories: Sequence[Category],
    kind: TaskType,
    findings: Findings,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    name: str,
    size: Size,
) -> list[Instance]:
    """Return the objects of one image."""
    if "width" in image and "height" in image and (image["height"], image["width"]) != size:
        raise Unusable("the file states another size than that of the image")
    instances = []
    for annotation in annotations:
        number = by_id.get(_key(annotation.get("category_id")))
        if number is None:
            raise Unusable("an annotation has a category that the file doesn't list")
        if annotation.get("iscrowd"):
            if kind in (TaskType.DETECTION, TaskType.REGRESSION):
                raise Unusable("the image has a crowd region, which isn't one object")
            findings.noted.add("a crowd region counts as an object", name)
        instances.append(_instance(annotation, number, kind, len(categories[number].points)))
    return instances


def _instance(annotation: Mapping[str, Any], category: int, kind: TaskType, count: int) -> Instance:
    """Return an object with what the type needs: its outline, its box, or `count` landmarks."""
    if kind == TaskType.DETECTION and annotation.get("bbox"):
        x, y, width, height = _numbers(annotation["bbox"], 4)
        return Instance(category, (x, y, x + width, y + height))
    if kind == TaskType.REGRESSION and annotation.get("keypoints"):
        triples = np.reshape(_numbers(annotation["keypoints"], 3 * count), (-1, 3)).tolist()
        # Keypoints are numbers of pixels, so whole numbers are their centres, as in an input root.
        return Instance(category, points=[(x, y) if visibility > 0 else None for x, y, visibility in triples])
    if kind == TaskType.SEGMENTATION and annotation.get("segmentation"):
        return Instance(category, region=partial(_region, annotation["segmentation"]))
    return Instance(category)


def _numbers(values: Any, count: int) -> list[float]:
    found = numbers(values)
    if len(found) != count:
        raise Unusable("an annotation has another number of coordinates than its kind needs")
    return found


def _region(segmentation: Any, size: Size) -> np.ndarray:
    """Draw polygons, or a run-length encoded mask, as (H, W) uint8 of 0 and 1."""
    if isinstance(segmentation, dict):
        return _decoded(segmentation, size)
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise Unusable("an annotation has something else where an outline is expected")
    return polygon_region([numbers(polygon) for polygon in segmentation])(size)


def _decoded(encoded: Mapping[str, Any], size: Size) -> np.ndarray:
    if encoded.get("size") != list(size):
        raise Unusable("a run-length encoded mask is of another size than its image")
    counts = encoded.get("counts")
    runs: Any = runs_of(counts) if isinstance(counts, str) else counts
    valid = isinstance(runs, list) and all(type(run) is int and run >= 0 for run in runs)
    if not valid or sum(runs) != math.prod(size):
        raise Unusable("a run-length encoded mask is damaged")
    return region_of(runs, size)
