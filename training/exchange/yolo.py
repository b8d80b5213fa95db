"""Read YOLO's text files: a line per object, with a box or an outline in fractions of the image."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from aurora.errors import InputError
from aurora.tasks import TaskType
from training.exchange.instances import Annotated, Category, Instance, instance_source, polygon_region
from training.exchange.source import Findings, Size, Source, Unusable, images_below, split_of, stem

_NAMES = ("classes.txt", "obj.names")
#: Fractions may exceed 1 by this much; higher numbers are pixels.
_BEYOND = 1.0


def recognise(source: Path) -> str | None:
    """Return why a folder looks like YOLO's, None if it doesn't."""
    if not source.is_dir():
        return None
    names = _names_file(source)
    if names is None:
        return None
    labels = any(_label_file(source, image).is_file() for image in images_below(source))
    return f"{names.name} has names of classes, and images have text files" if labels else None


def read(source: Path, kind: TaskType | None, findings: Findings) -> Source:
    """Read a folder of images and text files, which is described by data.yaml or classes.txt.

    Args:
        source: the folder. The split is what data.yaml says of a folder or, without that, what its name says, as in
            `images/train` or `train/images`.
        kind: segmentation, detection or classification; None for what the first lines hold.
        findings: takes what can't be used.

    Raises:
        InputError: there are no names of classes, no text files, or they hold landmarks.
    """
    if not source.is_dir():
        raise InputError(f"expected a folder with data.yaml or classes.txt, found the file {source}; name its folder")
    if kind == TaskType.REGRESSION:
        raise InputError(
            "expected --type segmentation, detection or classification for YOLO, found Regression; change it"
        )
    names = _names(source)
    images = list(images_below(source))
    labelled = [image for image in images if _label_file(source, image).is_file()]
    if not labelled:
        raise InputError(f"expected a text file for each image, found none in {source}; name the folder above both")
    listed = _listed(source)
    splits: dict[str, list[str]] = defaultdict(list)
    for image in images:
        said = (split for folder, split in listed.items() if PurePosixPath(image).is_relative_to(folder))
        splits[next(said, "") or split_of(str(PurePosixPath(image).parent))].append(image)
    chosen = kind or _kind(_label_file(source, image) for image in labelled)
    items = {split: _images(source, found, len(names), chosen, findings) for split, found in splits.items()}
    return instance_source(chosen, [Category(name) for name in names], items, findings)


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


def _names(source: Path) -> list[str]:
    path = _names_file(source)
    if path is None:
        raise InputError(
            f"expected data.yaml or classes.txt with the names of the classes, found none in {source}; add it"
        )
    if path.name in _NAMES:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    content = _yaml(path)
    if "kpt_shape" in content:
        raise InputError(f"expected boxes or outlines, found landmarks (kpt_shape) in {path}; export them as COCO")
    names = content["names"]
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in sorted(names)]
    if not isinstance(names, list) or not names:
        raise InputError(f"expected names of the classes from 0 on, found {names!r} in {path}; correct it")
    return [str(name) for name in names]


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


def _label_file(source: Path, image: str) -> Path:
    """Return the text file of an image: beside it or, as YOLO does, in `labels` where the image is in `images`."""
    parts = PurePosixPath(stem(image) + ".txt").parts
    at = next((at for at in reversed(range(len(parts) - 1)) if parts[at].lower() == "images"), None)
    if at is None:
        return source.joinpath(*parts)
    return source.joinpath(*parts[:at], "labels", *parts[at + 1 :])


def _kind(files: Iterator[Path]) -> TaskType:
    """Return what the first line of all files holds."""
    for path in files:
        for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            if line.strip():
                return TaskType.DETECTION if len(line.split()) == 5 else TaskType.SEGMENTATION
    raise InputError("expected objects in the text files, found none in any of them; label the images")


def _images(source: Path, images: Sequence[str], count: int, kind: TaskType, findings: Findings) -> Iterator[Annotated]:
    for image in images:
        path = _label_file(source, image)
        yield Annotated(source / image, image, partial(_instances, path, count, kind))


def _instances(path: Path, count: int, kind: TaskType, size: Size) -> list[Instance]:
    """Return the objects of an image; none without a file, because YOLO writes none for an image without objects."""
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise Unusable("its text file can't be read") from None
    return [_instance(line, count, kind, size) for line in dict.fromkeys(map(str.strip, lines)) if line]


def _instance(line: str, count: int, kind: TaskType, size: Size) -> Instance:
    try:
        category, *values = map(float, line.split())
    except ValueError:
        raise Unusable("a line of its text file holds something else than numbers") from None
    if category not in range(count):
        raise Unusable("a line has a class without a name")
    if not all(map(math.isfinite, values)):
        raise Unusable("a line has coordinates that aren't numbers")
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise Unusable("a line has neither the four numbers of a box nor the pairs of an outline")
    if max(map(abs, values)) > 1 + _BEYOND:
        raise Unusable("a line has pixels where fractions of the image are expected")
    height, width = size
    if len(values) == 4:
        x, y, w, h = values
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        return Instance(int(category), box)
    polygon = [value * side for value, side in zip(values, [width, height] * (len(values) // 2), strict=True)]
    xs, ys = polygon[::2], polygon[1::2]
    return Instance(int(category), (min(xs), min(ys), max(xs), max(ys)), polygon_region([polygon]))
