"""Write Label Studio: tasks with predictions, and the labeling configuration that fits them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from aurora import __version__
from aurora.tasks import TYPES as ALL_TYPES
from aurora.tasks import TaskType
from inference.export.json_array import json_array
from inference.export.labelled import VIEWABLE, ExportTask, LabelledImage, Place

TYPES = frozenset(ALL_TYPES)
FOLDER = "{task}"
LINKED = VIEWABLE

#: The tag of the labeling configuration, its name, and the tag of its choices.
_TAGS: Mapping[TaskType, tuple[str, str, str]] = {
    TaskType.SEGMENTATION: ("BrushLabels", "mask", "Label"),
    TaskType.CLASSIFICATION: ("Choices", "class", "Choice"),
    TaskType.DETECTION: ("RectangleLabels", "box", "Label"),
    TaskType.REGRESSION: ("KeyPointLabels", "points", "Label"),
}
#: The width of a landmark's dot, in percent of the image's width.
_DOT = 0.5
# A run of a mask: a bit that says so, which of four widths the length has, the length minus 1, and the value.
_WORD, _WIDTHS, _CHANNELS = 8, (3, 4, 8, 16), 4
_LONGEST = 1 << _WIDTHS[-1]


def write(folder: Path, task: ExportTask, images: Iterable[LabelledImage], place: Place) -> None:
    """See `inference.export.formats.Format.write`.

    The images are named as Label Studio serves local files, below the folder that holds those of the tasks.
    """
    (folder / "labeling_config.xml").write_text(_configuration(task), encoding="utf-8")
    with (folder / "tasks.json").open("w", encoding="utf-8") as file, json_array(file) as append:
        for image in images:
            place(image, folder / "images" / image.name)
            url = "/data/local-files/?d=" + quote(f"{folder.name}/images/{image.name}")
            prediction: dict[str, Any] = {"model_version": f"AURORA {__version__}", "result": _results(image, task)}
            if image.score is not None:
                prediction["score"] = image.score
            append({"data": {"image": url}, "predictions": [prediction]})


def _configuration(task: ExportTask) -> str:
    tag, name, choice = _TAGS[task.type]
    labels = "\n".join(f"    <{choice} value={quoteattr(label)}/>" for label in task.labels)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <{tag} name="{name}" toName="image">\n{labels}\n  </{tag}>\n</View>\n'
    )


def _results(image: LabelledImage, task: ExportTask) -> list[dict[str, Any]]:
    """Return the results of an image: one for each class of a mask and each landmark, or one."""
    tag, name, _ = _TAGS[task.type]
    kind = tag.lower()
    shared = {
        "type": kind,
        "from_name": name,
        "to_name": "image",
        "original_width": image.size[1],
        "original_height": image.size[0],
        "image_rotation": 0,
    }
    return [
        {"id": f"{name}-{number}", **shared, "value": {**value, kind: [task.labels[label]]}}
        for number, (label, value) in enumerate(_values(image), start=1)
    ]


def _values(image: LabelledImage) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the index of a label and its value without the name; coordinates are percentages of the image."""
    height, width = image.size
    for number, region in image.regions():
        yield number - 1, {"format": "rle", "rle": brush(region)}
    if image.number is not None:
        yield image.number, {}
    if image.box:
        x1, y1, x2, y2 = image.box
        sides = {"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height}
        yield 0, {"x": 100 * x1 / width, "y": 100 * y1 / height, **sides, "rotation": 0}
    for number, (x, y) in enumerate(image.points or ()):
        # 0 is the left edge of the first pixel, whose centre is half a pixel further.
        yield number, {"x": 100 * (x + 0.5) / width, "y": 100 * (y + 0.5) / height, "width": _DOT}


def brush(region: np.ndarray) -> list[int]:
    """Encode a region, (H, W) uint8 of 0 and 1, as the bytes of a mask in Label Studio.

    These are the runs of its RGBA pixels, all channels 0 or 255, in the format of @thi.ng/rle-pack: a head of 53 bits
    and 28 bits per run, whose length is always stated in the longest form.
    """
    flat = region.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1])
    lengths = np.diff(starts, append=flat.size) * _CHANNELS
    pieces = -(-lengths // _LONGEST)  # a run that is too long is divided
    last = np.cumsum(pieces) - 1
    stated = np.full(pieces.sum(), _LONGEST)
    stated[last] = lengths - (pieces - 1) * _LONGEST
    values = np.repeat(flat[starts] * 255, pieces)
    runs = np.stack([np.full(stated.size, 0b111), stated - 1, values])
    bits = [_bits(flat.size * _CHANNELS, 32), _bits(_WORD - 1, 5), *(_bits(width - 1, 4) for width in _WIDTHS)]
    blocks = [_bits(column, width) for column, width in zip(runs, (3, _WIDTHS[-1], _WORD), strict=True)]
    return np.packbits(np.concatenate([*bits, np.concatenate(blocks, axis=-1).ravel()])).tolist()


def _bits(numbers: np.ndarray | int, width: int) -> np.ndarray:
    """Return the lowest `width` bits of numbers (...), the highest bit first, (..., width) uint8."""
    return (np.asarray(numbers)[..., None] >> np.arange(width - 1, -1, -1) & 1).astype(np.uint8)
