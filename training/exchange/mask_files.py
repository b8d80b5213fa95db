"""Read masks that are files of their own, whatever numbers their pixels have."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from aurora.errors import ImageError
from aurora.images.labels import classes_in, merged_mask
from training.exchange.source import Size, Unusable

#: Pixels up to this value are class ids; a mask with a higher one, such as 255, is a picture of its classes.
HIGHEST_ID = 31
#: The most different values of a picture of classes; one with more is compressed with loss, or no mask.
MOST_VALUES = 32


def read_masks(paths: Sequence[Path]) -> np.ndarray:
    """Return the union of the masks of one image, (H, W) uint8; raise `Unusable`."""
    try:
        mask = merged_mask(paths)
    except ImageError as error:
        raise Unusable(f"its mask can't be used: {error.reason}") from None
    values = classes_in(mask)
    if values != {0} and any(_is_jpeg(path) for path in paths):
        raise Unusable("its mask is a JPEG file, whose compression changes the classes; save it as PNG")
    if max(values) > HIGHEST_ID and len(values) > MOST_VALUES:
        raise Unusable(f"its mask has more than {MOST_VALUES} values, as lossy compression makes them")
    return mask


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def numbering(masks: Iterable[Sequence[Path]]) -> Mapping[int, int]:
    """Return the class of each value that occurs in the masks of some images; every mask is decoded.

    The values are the classes, unless they exceed `HIGHEST_ID`: then they are numbered in their order, so that of 0 and
    255 the latter becomes class 1.
    """
    values = {0}
    for paths in masks:
        try:
            values |= classes_in(read_masks(paths))
        except Unusable:
            continue  # reported when the image is imported
    ordered = sorted(values) if max(values) > HIGHEST_ID else range(max(values) + 1)
    return {value: number for number, value in enumerate(ordered)}


def numbered(mask: np.ndarray, classes: Mapping[int, int], size: Size) -> np.ndarray:
    """Return a mask (H, W) with the class of each value; raise `Unusable` if it doesn't fit an image of a size."""
    if mask.shape != size:
        raise Unusable("its mask is of another size")
    if classes_in(mask) - classes.keys():
        raise Unusable("its mask has a value that is no class")
    table = np.zeros(256, np.uint8)
    table[list(classes)] = list(classes.values())
    return table[mask]
