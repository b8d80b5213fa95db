"""Write YOLO: a text file per image with boxes or outlines in fractions of the image, or a folder per class."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from aurora.runtime.text import dump_json
from aurora.tasks import TaskType
from inference.export.labelled import VIEWABLE, ExportTask, LabelledImage, Place, file_name
from inference.export.outlines import outlines

TYPES = frozenset({TaskType.SEGMENTATION, TaskType.CLASSIFICATION, TaskType.DETECTION})
FOLDER = "{task}"
LINKED = VIEWABLE


def write(folder: Path, task: ExportTask, images: Iterable[LabelledImage], place: Place) -> None:
    """See `inference.export.formats.Format.write`."""
    if task.type == TaskType.CLASSIFICATION:
        _write_classes(folder, task, images, place)
        return
    (folder / "labels").mkdir()
    for image in images:
        place(image, folder / "images" / image.name)
        lines = "".join(f"{line}\n" for line in _lines(image))
        (folder / "labels" / f"{image.stem}.txt").write_text(lines, encoding="utf-8")
    names = "".join(f"  {number}: {dump_json(name)}\n" for number, name in enumerate(task.labels))
    # Both entries are required, and a run knows no division.
    text = f"train: images\nval: images  # the same images: divide them before you train\nnames:\n{names}"
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _write_classes(folder: Path, task: ExportTask, images: Iterable[LabelledImage], place: Place) -> None:
    """Put each image into the folder of its class; tools number the classes in the order of the folders' names."""
    digits = len(str(len(task.names) - 1))
    folders = [f"{number:0{digits}}_{file_name(name)}" for number, name in enumerate(task.names)]
    for image in images:
        if image.number is not None:
            place(image, folder / "train" / folders[image.number] / image.name)


def _lines(image: LabelledImage) -> Iterator[str]:
    """Yield the lines of an image's text file, one per box or outline."""
    height, width = image.size
    if image.box:
        x1, y1, x2, y2 = image.box
        yield _line(0, np.array([(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]))
    for number, region in image.regions():
        for outline in outlines(region):
            yield _line(number - 1, outline / (width, height))


def _line(category: int, fractions: np.ndarray) -> str:
    # The last digit is far below a hundredth of a pixel.
    return " ".join([str(category), *(f"{value:.9f}".rstrip("0").rstrip(".") for value in fractions.ravel().tolist())])
