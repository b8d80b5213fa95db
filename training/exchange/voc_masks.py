"""Read Pascal VOC's masks: a file in `SegmentationClass` per image, of class ids or, with labelmap.txt, of colours."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from aurora.errors import ImageError, InputError
from aurora.images import read_image
from aurora.images.labels import classes_in
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange.mask_files import numbered, read_masks
from training.exchange.source import (
    Item,
    Label,
    Size,
    Source,
    Target,
    Unusable,
    images_below,
    lines_of,
    named_splits,
    split_of,
    stem,
)

_FOLDERS = ("segmentationclass", "segmentationclasspng")
_COLOURS, _NAMES = "labelmap.txt", "class_names.txt"
#: The pixels that have no class, mostly along the outline of an object: their value, and their colour as RGB.
VOID = 255
_VOID_COLOUR = (224, 224, 192)
_WEIGHTS = np.array([1 << 16, 1 << 8, 1])


class _Classes(NamedTuple):
    """The names of the classes, with the background, and a function that reads a mask of their numbers and `VOID`."""

    names: Sequence[str]
    read: Callable[[Path], np.ndarray]


def has_masks(source: Path) -> bool:
    """Return whether there is a folder of such masks below a folder."""
    return any(path.is_dir() and path.name.lower() in _FOLDERS for path in source.rglob("Segmentation*"))


def read(source: Path, listed: Mapping[str, str], findings: Findings) -> Source:
    """Read a folder of images and masks, for segmentation.

    Args:
        source: the folder.
        listed: the split by the name of an image, without its ending; the folders say that of the others.
        findings: takes what can't be used.

    Raises:
        InputError: there is no mask, or labelmap.txt is damaged.
    """
    images: dict[str, list[str]] = defaultdict(list)
    masks: dict[str, str] = {}
    for path in images_below(source):
        *folders, name = PurePosixPath(path.lower()).parts
        if any(folder in _FOLDERS for folder in folders):
            masks[stem(name)] = path
        elif not any(folder.startswith("segmentation") for folder in folders):
            images[stem(name)].append(path)
    if not masks:
        raise InputError(f"expected masks in SegmentationClass, found none in {source}; change --type")
    classes = _classes(source, [source / mask for mask in masks.values()])
    splits: dict[str, list[Item]] = defaultdict(list)
    for key, mask in masks.items():
        found = images.pop(key, [])
        if len(found) == 1:
            name = found[0]
            item = Item(source / name, name, partial(_label, source / mask, classes, name, findings))
            splits[listed.get(PurePosixPath(stem(name)).name) or split_of(str(PurePosixPath(name).parent))].append(item)
        else:
            reason = "several images have the name of one mask" if found else "the mask has no image"
            findings.left_out.add(reason, mask)
    for names in images.values():
        for name in names:
            findings.left_out.add("the image has no mask", name)
    return Source(TaskType.SEGMENTATION, (Target("", tuple(classes.names)),), named_splits(splits))


def _classes(source: Path, masks: Sequence[Path]) -> _Classes:
    """Return the classes that a file of the source names, or those that occur in the masks."""
    if path := _first(source, _COLOURS):
        return _of_colours(path)
    if path := _first(source, _NAMES):
        return _Classes(["background", *lines_of(path)[1:]], _read_ids)
    highest = max((max(classes_in(mask) - {VOID}, default=0) for mask in _usable(masks)), default=0)
    return _Classes(["background", *(f"class {number}" for number in range(1, highest + 1))], _read_ids)


def _first(source: Path, name: str) -> Path | None:
    return next(iter(sorted(source.rglob(name))), None)


def _read_ids(path: Path) -> np.ndarray:
    return read_masks([path])


def _usable(masks: Sequence[Path]) -> Iterator[np.ndarray]:
    for path in masks:
        try:
            yield _read_ids(path)
        except Unusable:
            continue  # reported when the image is imported


def _of_colours(path: Path) -> _Classes:
    """Return the classes of a labelmap.txt, of lines NAME:RED,GREEN,BLUE:PARTS:ACTIONS.

    Black is the background, whether it is listed or not, and so is a class of that name. Lines without a colour, which
    Datumaro writes, have that of the devkit's palette.
    """
    colours: dict[str, tuple[int, ...]] = {}
    for line in lines_of(path):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        values = rest.partition(":")[0].split(",") if rest.strip(": ") else palette_colour(len(colours))
        if len(values) != 3 or not all(str(value).strip().isdecimal() and int(value) <= 255 for value in values):
            raise InputError(f"expected lines NAME:RED,GREEN,BLUE:PARTS:ACTIONS, found {line!r} in {path}; correct it")
        colours[name.strip()] = tuple(map(int, values))
    background = {(0, 0, 0), colours.get("background", (0, 0, 0))}
    names = [name for name, colour in colours.items() if colour not in (*background, _VOID_COLOUR)]
    numbers = {_code(_VOID_COLOUR): VOID} | {_code(colour): 0 for colour in background}
    numbers |= {_code(colours[name]): number for number, name in enumerate(names, start=1)}
    return _Classes(["background", *names], partial(_read_colours, numbers))


def palette_colour(number: int) -> tuple[int, int, int]:
    """Return the colour of a class in the devkit's palette: each third bit of its number is one of a channel's.

    Example:
        >>> palette_colour(1), palette_colour(3)
        ((128, 0, 0), (128, 128, 0))
    """
    red, green, blue = (
        sum((number >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3)
    )
    return red, green, blue


def _code(colour: Sequence[int]) -> int:
    return int(_WEIGHTS @ np.array(colour))


def _read_colours(numbers: Mapping[int, int], path: Path) -> np.ndarray:
    try:
        codes = read_image(path, path.parent).pixels @ _WEIGHTS
    except ImageError as error:
        raise Unusable(f"its mask can't be used: {error.reason}") from None
    present, inverse = np.unique(codes, return_inverse=True)
    if not numbers.keys() >= set(present.tolist()):
        raise Unusable(f"its mask has a colour that {_COLOURS} doesn't list")
    return np.array([numbers[code] for code in present.tolist()], np.uint8)[inverse].reshape(codes.shape)


def _label(path: Path, classes: _Classes, name: str, findings: Findings, size: Size) -> dict[int, Label]:
    mask = classes.read(path)
    if (mask == VOID).any():
        mask = nearest_class(mask)
        findings.noted.add("pixels without a class (255) got that of the nearest pixel", name)
    return {0: numbered(mask, {number: number for number in range(len(classes.names))}, size)}


def nearest_class(mask: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) uint8 with the pixels of `VOID` replaced by the nearest other one.

    Raises:
        Unusable: there is no other one.
    """
    void = mask == VOID
    if void.all():
        raise Unusable("its mask has no pixel with a class")
    _, nearest = cv2.distanceTransformWithLabels(
        void.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # The labels number the other pixels; each of these has its own at its place.
    table = np.zeros(nearest.max() + 1, np.uint8)
    table[nearest[~void]] = mask[~void]
    return table[nearest]
