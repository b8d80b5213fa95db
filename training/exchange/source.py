"""What every format is read into: images in splits, each with a function that gives its labels."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from aurora.errors import InputError
from aurora.tasks import TaskType

#: The endings of the files that count as images; `aurora.images` reads all of them.
ENDINGS = (
    ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".nii", ".nii.gz", ".mha", ".nrrd",
)  # fmt: skip
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLITS |= {"test": "test", "testing": "test"}

Size = tuple[int, int]
#: By type: class ids (H, W) uint8, the class, the box x1, y1, x2, y2 or the points x, y; coordinates are pixels.
Label = np.ndarray | int | tuple[float, float, float, float] | list[tuple[float, float]]


class Unusable(Exception):
    """A label or image can't be expressed in an input root; the message says why, equal for equal reasons."""


class Target(NamedTuple):
    """A task that a source becomes.

    `suffix` follows the task's id, if a source becomes several. `names` are those of the classes (of a mask with the
    background), the object or the points, so there are `num_classes` of them.
    """

    suffix: str
    names: tuple[str, ...]


class Item(NamedTuple):
    """An image of a source.

    `name` is its path, with / and without `..`, by which it is stored. `read` takes its size (height, width) and
    returns its labels by the number of the target; it raises `Unusable`.
    """

    image: Path
    name: str
    read: Callable[[Size], Mapping[int, Label]]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set as its format describes it; the splits are named "train", "val" and "test", or "" if there are none.

    The items of a split are read one by one, so that memory holds the pixels of one image.
    """

    kind: TaskType
    targets: tuple[Target, ...]
    splits: Mapping[str, Iterable[Item]]


def ending(name: str) -> str | None:
    """Return the ending of an image's name in lower case, None for other files."""
    return next((known for known in ENDINGS if name.lower().endswith(known)), None)


def stem(name: str) -> str:
    """Return the path of an image without its ending.

    Example:
        >>> stem("a/1.nii.gz")
        'a/1'
    """
    return name[: len(name) - len(ending(name) or "")]


def images_below(folder: Path) -> Iterator[str]:
    """Yield the paths of the images below a folder, relative and with /, in the order of their names."""
    for path in sorted(folder.rglob("*")):
        # macOS keeps a file ._NAME beside NAME.
        if ending(path.name) and not path.name.startswith(".") and path.is_file():
            yield path.relative_to(folder).as_posix()


def files_below(folder: Path, pattern: str) -> list[Path]:
    """Return the regular files below a folder whose names match, in order; a pipe would be waited for."""
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file without the space around them, and without blank ones; raise `InputError`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"expected text in UTF-8, found {path}; save it as UTF-8") from None
    return [line.strip() for line in lines if line.strip()]


def split_of(path: str) -> str:
    """Return the split that a part of a path names, "" if none does.

    Example:
        >>> split_of("images/train2017"), split_of("instances_val.json"), split_of("training_room.png")
        ('train', 'val', '')
    """
    for part in reversed(PurePosixPath(path.lower()).parts):
        words = [re.sub(r"\d+$", "", word) for word in re.split(r"[_.-]", part.removesuffix(".json"))]
        # A name of a folder or of a file of annotations, such as instances_train2017, ends with its split.
        if words[-1] in _SPLITS:
            return _SPLITS[words[-1]]
    return ""


def named_splits(splits: Mapping[str, Iterable[Item]]) -> Mapping[str, Iterable[Item]]:
    """Return the splits by the names of their folders.

    A split that is alone has none, because nothing is divided; what is in no split beside others is "other".
    """
    if len(splits) == 1:
        return dict(zip([""], splits.values(), strict=True))
    return {split or "other": items for split, items in splits.items()}
