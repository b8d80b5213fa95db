"""Write CVAT: annotations as "CVAT for images 1.1", and the labels as CVAT's own page takes them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import cv2
import numpy as np

from aurora.runtime.text import dump_json
from aurora.tasks import TYPES as ALL_TYPES
from aurora.tasks import TaskType
from inference.export.labelled import VIEWABLE, ExportTask, LabelledImage, Place

TYPES = frozenset(ALL_TYPES)
FOLDER = "{task}"
LINKED = VIEWABLE

#: CVAT's name for the shape of each type.
_SHAPES: Mapping[TaskType, str] = {
    TaskType.SEGMENTATION: "mask",
    TaskType.CLASSIFICATION: "tag",
    TaskType.DETECTION: "rectangle",
    TaskType.REGRESSION: "points",
}
#: How CVAT marks annotations that a model has made.
_SOURCE = {"source": "auto"}
_SHAPE = {**_SOURCE, "occluded": "0", "z_order": "0"}


def write(folder: Path, task: ExportTask, images: Iterable[LabelledImage], place: Place) -> None:
    """See `inference.export.formats.Format.write`."""
    shape = _SHAPES[task.type]
    labels = [{"name": name, "type": shape, "attributes": []} for name in task.labels]
    (folder / "labels.json").write_text(dump_json(labels, indent=1) + "\n", encoding="utf-8")
    with (folder / "annotations.xml").open("w", encoding="utf-8") as file:
        meta = "".join(f"<label><name>{escape(name)}</name><type>{shape}</type></label>" for name in task.labels)
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        file.write(f"<meta><task><labels>{meta}</labels></task></meta>\n")
        for number, image in enumerate(images):
            place(image, folder / "images" / image.name)
            height, width = image.size
            file.write(f"<image{_attributes({'id': number, 'name': image.name, 'width': width, 'height': height})}>\n")
            file.writelines(f"<{name}{_attributes(values)}/>\n" for name, values in _shapes(image, task))
            file.write("</image>\n")
        file.write("</annotations>\n")


def _attributes(values: Mapping[str, object]) -> str:
    return "".join(f" {name}={quoteattr(str(value))}" for name, value in values.items())


def _shapes(image: LabelledImage, task: ExportTask) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the elements of an image: one for each class of a mask and each landmark, or one."""
    for number, region in image.regions():
        yield "mask", {"label": task.labels[number - 1], **_SHAPE, **_runs(region)}
    if image.number is not None:
        yield "tag", {"label": task.labels[image.number], **_SOURCE}
    if image.box:
        sides = zip(("xtl", "ytl", "xbr", "ybr"), map(_number, image.box), strict=True)
        yield "box", {"label": task.labels[0], **_SHAPE, **dict(sides)}
    for name, (x, y) in zip(task.labels, image.points or (), strict=False):
        # 0 is the left edge of the first pixel, whose centre is half a pixel further.
        yield "points", {"label": name, **_SHAPE, "points": f"{_number(x + 0.5)},{_number(y + 0.5)}"}


def _runs(region: np.ndarray) -> dict[str, object]:
    """Return the rectangle around a region, and its runs in that, row by row; the first run is of background."""
    x, y, width, height = cv2.boundingRect(region)
    flat = np.concatenate([[0], region[y : y + height, x : x + width].ravel(), [2]])
    starts = np.flatnonzero(np.diff(flat))
    lengths = np.diff(starts, prepend=0)
    rle = ", ".join(map(str, lengths.tolist()))
    return {"rle": rle, "left": x, "top": y, "width": width, "height": height}


def _number(value: float) -> str:
    """Return a coordinate to a ten-thousandth of a pixel."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
