"""Read folders of images: with a mask beside each image or in a folder of masks, or one folder per class."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from aurora.errors import InputError
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange.mask_files import numbered, numbering, read_masks
from training.exchange.source import (
    Item,
    Label,
    Size,
    Source,
    Target,
    images_below,
    named_splits,
    split_of,
    stem,
)

# Words in the names of folders that hold images or masks: `train_masks` belongs to `train_images` and to `train`.
_IMAGES = {"image", "images", "img", "imgs"}
_MASKS = {"mask", "masks", "label", "labels", "annotation", "annotations", "gt", "segmentation", "segmentations"}
# How the name of a mask ends that is named after its image, such as x_mask.png and x_mask_1.png.
_MASK_NAME = re.compile(r"[ _-](mask|seg|segmentation|gt|label|annotation)([ _-]?\d+)?$", re.IGNORECASE)


@dataclass(slots=True)
class _Pair:
    """The images and masks, relative to the source, that have the same folder and name."""

    images: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)


def recognise(source: Path) -> str | None:
    """Return why a folder looks like images with masks, or in folders of classes; None if it doesn't."""
    if not source.is_dir():
        return None
    pairs = _pairs(source)
    matched = sum(bool(pair.images and pair.masks) for pair in pairs.values())
    if matched:
        return f"{matched} images have a mask of the same name"
    classes = _classes(source, pairs)
    return f"there are folders of images, {', '.join(classes)}" if len(classes) > 1 else None


def read(source: Path, kind: TaskType | None, findings: Findings) -> Source:
    """Read a folder of images with masks, for segmentation, or in folders of classes, for classification.

    Raises:
        InputError: another type is wanted, or there are no such masks or folders.
    """
    pairs = _pairs(source)
    matched = any(pair.images and pair.masks for pair in pairs.values())
    kind = kind or (TaskType.SEGMENTATION if matched else TaskType.CLASSIFICATION)
    if kind == TaskType.SEGMENTATION and matched:
        return _segmentation(source, pairs, findings)
    classes = _classes(source, pairs)
    if kind == TaskType.CLASSIFICATION and len(classes) > 1:
        return _classification(source, pairs, classes, findings)
    raise InputError(
        f"expected images with masks of the same name for segmentation, or folders of two or more classes for "
        f"classification, found neither for {kind} in {source}; rename the folders, or change --type or --format"
    )


def _pairs(source: Path) -> dict[tuple[str, str], _Pair]:
    """Return the images and masks by folder, without words for images and masks, and name, in lower case."""
    pairs: dict[tuple[str, str], _Pair] = defaultdict(_Pair)
    masks = []
    for path in images_below(source):
        folder, name, in_masks = _place(path)
        if in_masks or _MASK_NAME.search(name):
            masks.append((path, folder, name))
        else:
            pairs[folder, name.casefold()].images.append(path)
    for path, folder, name in masks:
        own = folder, name.casefold()
        key = own if own in pairs and pairs[own].images else (folder, _MASK_NAME.sub("", name).casefold())
        pairs[key].masks.append(path)
    return pairs


def _place(path: str) -> tuple[str, str, bool]:
    """Return the folder of an image or mask without words for images and masks, its name, and whether it says mask.

    The innermost folder with such a word decides.
    """
    folders = [_words(part) for part in PurePosixPath(path).parts[:-1]]
    kept = ["_".join(word for word in words if word not in _IMAGES | _MASKS) for words in folders]
    telling = [words for words in folders if (_IMAGES | _MASKS).intersection(words)]
    in_masks = bool(telling) and not _MASKS.isdisjoint(telling[-1])
    return "/".join(part for part in kept if part), PurePosixPath(stem(path)).name, in_masks


def _words(name: str) -> list[str]:
    return re.split(r"[ _-]", name.casefold())


def _class_folder(image: str) -> PurePosixPath | None:
    """Return the folder of an image's class: the innermost one that says neither images nor a split."""
    folders = PurePosixPath(image).parents
    return next((path for path in folders if path.name and not _tells_no_class(path.name)), None)


def _tells_no_class(name: str) -> bool:
    return bool(split_of(name)) or _IMAGES.issuperset(_words(name))


def _classes(source: Path, pairs: Mapping[tuple[str, str], _Pair]) -> list[str]:
    """Return the names of the classes in order; of one name in several letter cases, the first.

    An empty folder beside those of classes is a class that has no image, so that it keeps its number.
    """
    found = (_class_folder(image) for pair in pairs.values() for image in pair.images)
    folders = {path for path in found if path is not None}
    names = {path.name for path in folders}
    for parent in {path.parent for path in folders}:
        for path in (source / parent).iterdir():
            if path.is_dir() and not any(path.iterdir()) and path.name[0] != "." and not _tells_no_class(path.name):
                names.add(path.name)
    return sorted({name.casefold(): name for name in sorted(names, reverse=True)}.values(), key=str.casefold)


def _segmentation(source: Path, pairs: Mapping[tuple[str, str], _Pair], findings: Findings) -> Source:
    matched = {key: pair for key, pair in pairs.items() if _is_pair(pair, findings)}
    classes = numbering([source / mask for mask in pair.masks] for pair in matched.values())
    if list(classes) != list(classes.values()):
        values = ", ".join(f"{value} as {number}" for value, number in classes.items())
        findings.noted.add(f"the values of the masks were numbered: {values}", "all masks")
    splits: dict[str, list[_Pair]] = defaultdict(list)
    for (folder, _), pair in matched.items():
        splits[split_of(folder)].append(pair)
    names = ("background", *(f"class {number}" for number in range(1, max(classes.values()) + 1)))
    items = {split: _items(source, found, classes) for split, found in splits.items()}
    return Source(TaskType.SEGMENTATION, (Target("", names),), named_splits(items))


def _items(source: Path, pairs: list[_Pair], classes: Mapping[int, int]) -> Iterator[Item]:
    for pair in pairs:
        masks = [source / mask for mask in pair.masks]
        yield Item(source / pair.images[0], pair.images[0], partial(_read, masks, classes))


def _read(masks: list[Path], classes: Mapping[int, int], size: Size) -> dict[int, Label]:
    return {0: numbered(read_masks(masks), classes, size)}


def _is_pair(pair: _Pair, findings: Findings) -> bool:
    """Return whether there are one image and its masks; note what is missing."""
    if not pair.masks:
        findings.left_out.add("the image has no mask", pair.images[0])
    elif not pair.images:
        findings.left_out.add("the mask has no image", pair.masks[0])
    elif len(pair.images) > 1:
        findings.left_out.add("several images have the name of one mask", pair.images[0])
    else:
        return True
    return False


def _classification(
    source: Path, pairs: Mapping[tuple[str, str], _Pair], classes: list[str], findings: Findings
) -> Source:
    numbers = {name.casefold(): number for number, name in enumerate(classes)}
    splits: dict[str, list[Item]] = defaultdict(list)
    for (folder, _), pair in pairs.items():
        for image in pair.images:
            class_folder = _class_folder(image)
            if class_folder is None:
                findings.left_out.add("the image is in no folder of a class", image)
            else:
                read = partial(_class, numbers[class_folder.name.casefold()])
                splits[split_of(folder)].append(Item(source / image, image, read))
    return Source(TaskType.CLASSIFICATION, (Target("", tuple(classes)),), named_splits(splits))


def _class(number: int, size: Size) -> dict[int, Label]:
    return {0: number}
