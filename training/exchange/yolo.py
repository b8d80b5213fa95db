"""Read YOLO's text files: a line per object, with a box, an outline or landmarks in fractions of the image."""

import math
import re
import reprlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from aurora.errors import InputError
from aurora.rows.table import MAX_CLASSES
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange.instances import Annotated, Category, Instance, instance_source, polygon_region
from training.exchange.source import (
    Size,
    Source,
    Unusable,
    files_below,
    images_below,
    lines_of,
    split_of,
    stem,
)

_NAMES = ("classes.txt", "obj.names")
#: Fractions may exceed 1 by this much; higher numbers are pixels.
_BEYOND = 1.0


class _Contents(NamedTuple):
    """What the text files hold: classes and, of landmarks, how many numbers each has; 0 if there are none."""

    categories: Sequence[Category]
    numbers: int = 0

    @property
    def points(self) -> int:
        return len(self.categories[0].points)


def recognise(source: Path) -> str | None:
    """Return why a folder looks like YOLO's, None if it doesn't."""
    if not source.is_dir():
        return None
    names = _names_file(source)
    if names is None:
        return None
    files = _TextFiles(source)
    labels = any(files.of(image) for image in images_below(source))
    return f"{names.name} has names of classes, and images have text files" if labels else None


def read(source: Path, kind: TaskType | None, findings: Findings) -> Source:
    """Read a folder of images and text files, which is described by data.yaml or classes.txt.

    Args:
        source: the folder. The split is what data.yaml says of a folder or, without that, what its name says, as in
            `images/train` or `train/images`.
        kind: the type of the task; None for what the first lines hold, and for Regression if data.yaml has `kpt_shape`.
        findings: takes what can't be used.

    Raises:
        InputError: there are no names of classes or no text files, or they don't hold labels of this type.
    """
    if not source.is_dir():
        raise InputError(f"expected a folder with data.yaml or classes.txt, found the file {source}; name its folder")
    contents = _contents(source)
    missing = TaskType.SEGMENTATION if contents.points else TaskType.REGRESSION
    if kind == missing:
        shape = "landmarks (kpt_shape), not outlines" if contents.points else "no kpt_shape, so no landmarks"
        raise InputError(f"expected another --type than {kind}, because data.yaml has {shape}; change it")
    images, files = list(images_below(source)), _TextFiles(source)
    labelled = {image: path for image in images if (path := files.of(image))}
    if not labelled:
        raise InputError(f"expected a text file for each image, found none in {source}; name the folder above both")
    listed = _listed(source)
    splits: dict[str, list[str]] = defaultdict(list)
    for image in images:
        said = (split for folder, split in listed.items() if PurePosixPath(image).is_relative_to(folder))
        splits[next(said, "") or split_of(str(PurePosixPath(image).parent))].append(image)
    for path in files.others(set(labelled.values())):
        findings.left_out.add("the text file has no image", path.relative_to(source).as_posix())
    chosen = kind or (TaskType.REGRESSION if contents.points else _kind(labelled.values()))
    items = {split: _images(source, found, labelled, contents) for split, found in splits.items()}
    return instance_source(chosen, contents.categories, items, findings)


def _names_file(source: Path) -> Path | None:
    """Return the file with the names of the classes: data.yaml, or another YAML file or a list of names."""
    for path in sorted(source.glob("*.y*ml"), key=lambda path: path.stem != "data"):
        if "names" in _yaml(path):
            return path
    places = (source, source / "labels")
    return next((place / name for place in places for name in _NAMES if (place / name).is_file()), None)


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"expected YAML, found {path} ({' '.join(str(error).split())}); correct it") from None
    return content if isinstance(content, dict) else {}


def _contents(source: Path) -> _Contents:
    """Return what data.yaml or a list of names says about the text files."""
    path = _names_file(source)
    if path is None:
        raise InputError(
            f"expected data.yaml or classes.txt with the names of the classes, found none in {source}; add it"
        )
    if path.name in _NAMES:
        return _Contents([Category(line) for line in lines_of(path)])
    content = _yaml(path)
    names = content["names"]
    if isinstance(names, dict):
        numbered = {str(number): name for number, name in names.items()}
        names = [numbered.get(str(number)) for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int | float) for name in names):
        found = reprlib.repr(content["names"])[:80]  # aliases make a short file expand to gigabytes
        raise InputError(f"expected names of the classes from 0 on, found {found} in {path}; correct it")
    shape = content.get("kpt_shape", [0, 2])
    number, each = shape if isinstance(shape, list) and len(shape) == 2 else (None, None)
    if type(number) is not int or not 0 <= number <= MAX_CLASSES or each not in (2, 3):
        raise InputError(
            f"expected kpt_shape [number, 2 or 3] of up to {MAX_CLASSES} landmarks, found {reprlib.repr(shape)} in "
            f"{path}; correct it"
        )
    points = [_points(content.get("kpt_names"), number, shape[0]) for number in range(len(names))]
    return _Contents([Category(str(name), of) for name, of in zip(names, points, strict=True)], shape[1])


def _points(names: Any, number: int, count: int) -> tuple[str, ...]:
    """Return the names of the landmarks of a class, as `kpt_names` of data.yaml has them, or numbers."""
    listed = names.get(number) if isinstance(names, dict) else None
    if isinstance(listed, list) and len(listed) == count:
        return tuple(map(str, listed))
    return tuple(f"point {point}" for point in range(1, count + 1))


def _listed(source: Path) -> Mapping[str, str]:
    """Return the split of each folder, relative to the source, that data.yaml lists."""
    path = _names_file(source)
    content = _yaml(path) if path and path.name not in _NAMES else {}
    listed: dict[str, str] = {}
    for split in ("train", "val", "test"):
        entries = content.get(split) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            # Some tools write ../train/images for a folder beside data.yaml.
            name = re.sub(r"^(\.{1,2}/)+", "", str(entry).replace("\\", "/"))
            for base in (source / str(content.get("path") or ""), source):
                if (base / name).is_dir() and (base / name).is_relative_to(source):
                    listed.setdefault((base / name).relative_to(source).as_posix(), split)
    return listed


class _TextFiles:
    """The text files below a folder; one in another letter case than its image is found too."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._by_name = {_folded(path.relative_to(source)): path for path in files_below(source, "*.txt")}

    def of(self, image: str) -> Path | None:
        """Return the file of an image: beside it or, as YOLO does, in `labels` where the image is in `images`."""
        parts = PurePosixPath(stem(image) + ".txt").parts
        at = next((at for at in reversed(range(len(parts) - 1)) if parts[at].lower() == "images"), None)
        name = Path(*parts) if at is None else Path(*parts[:at], "labels", *parts[at + 1 :])
        exact = self.source / name
        return exact if exact.is_file() else self._by_name.get(_folded(name))

    def others(self, used: Set[Path]) -> Iterator[Path]:
        """Yield the files in the folders of `used`, the files of images, that are neither among them nor list names."""
        folders = {path.parent for path in used}
        for path in self._by_name.values():
            if path.parent in folders and path not in used and path.name not in _NAMES:
                yield path


def _folded(path: Path) -> str:
    return path.as_posix().casefold()


def _kind(files: Iterable[Path]) -> TaskType:
    """Return what the first line of all files holds."""
    for path in files:
        for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            if line.strip():
                return TaskType.DETECTION if len(line.split()) == 5 else TaskType.SEGMENTATION
    raise InputError("expected objects in the text files, found none in any of them; label the images")


def _images(
    source: Path, images: Sequence[str], labelled: Mapping[str, Path], contents: _Contents
) -> Iterator[Annotated]:
    for image in images:
        yield Annotated(source / image, image, partial(_instances, labelled.get(image), contents))


def _instances(path: Path | None, contents: _Contents, size: Size) -> list[Instance]:
    """Return the objects of an image; none without a file, because YOLO writes none for an image without objects."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise Unusable("its text file can't be read") from None
    return [_instance(line, contents, size) for line in dict.fromkeys(map(str.strip, lines)) if line]


def _instance(line: str, contents: _Contents, size: Size) -> Instance:
    try:
        category, *values = map(float, line.split())
    except ValueError:
        raise Unusable("a line of its text file holds something else than numbers") from None
    if category not in range(len(contents.categories)):
        raise Unusable("a line has a class without a name")
    if not all(map(math.isfinite, values)):
        raise Unusable("a line has coordinates that aren't numbers")
    if contents.points:
        return _marked(int(category), values, contents, size)
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise Unusable("a line has neither the four numbers of a box nor the pairs of an outline")
    _check_fractions(values)
    if len(values) == 4:
        return Instance(int(category), _box(values, size))
    height, width = size
    polygon = [value * side for value, side in zip(values, [width, height] * (len(values) // 2), strict=True)]
    xs, ys = polygon[::2], polygon[1::2]
    return Instance(int(category), (min(xs), min(ys), max(xs), max(ys)), polygon_region([polygon]))


def _check_fractions(values: Sequence[float]) -> None:
    if max(map(abs, values)) > 1 + _BEYOND:
        raise Unusable("a line has pixels where fractions of the image are expected")


def _box(values: Sequence[float], size: Size) -> tuple[float, float, float, float]:
    """Return the edges of a box of a centre, a width and a height."""
    (height, width), (x, y, w, h) = size, values
    return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height


def _marked(category: int, values: Sequence[float], contents: _Contents, size: Size) -> Instance:
    """Return an object with a box and landmarks of x, y and, with three numbers, whether it is labelled (not 0)."""
    count, each = contents.points, contents.numbers
    if len(values) != 4 + count * each:
        raise Unusable("a line has another number of coordinates than a box and its landmarks (kpt_shape) need")
    places = [values[at : at + each] for at in range(4, len(values), each)]
    _check_fractions([*values[:4], *(value for place in places for value in place[:2])])
    height, width = size
    # They are COCO's keypoints divided by the sides, so whole numbers of pixels are centres, as in an input root.
    points = [
        (place[0] * width, place[1] * height) if min(place[:2]) >= 0 and place[2:] != [0] else None for place in places
    ]
    return Instance(category, _box(values[:4], size), points=points)
