"""Write YOLO: a text file per image with its labels in fractions of the image, or a folder per class."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from aurora.runtime.text import dump_json
from aurora.tasks import TYPES as ALL_TYPES
from aurora.tasks import TaskType
from inference.export.labelled import VIEWABLE, ExportTask, LabelledImage, Place, file_name
from inference.export.outlines import outlines

TYPES = frozenset(ALL_TYPES)
FOLDER = "{task}"
LINKED = VIEWABLE
#: The visibility of a landmark that is labelled and visible.
_VISIBLE = 2


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
    landmarks = task.type == TaskType.REGRESSION
    names = "".join(f"  {n}: {dump_json(name)}\n" for n, name in enumerate([task.id] if landmarks else task.labels))
    # Both entries are required, and a run knows no division.
    text = f"train: images\nval: images  # the same images: divide them before you train\nnames:\n{names}"
    if landmarks:
        text += f"kpt_shape: [{len(task.labels)}, 3]\nkpt_names:\n  0: {dump_json(task.labels)}\n"
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _write_classes(folder: Path, task: ExportTask, images: Iterable[LabelledImage], place: Place) -> None:
    """Put each image into the folder of its class; tools number the classes in the order of the folders' names."""
    digits = len(str(len(task.names) - 1))
    folders = [f"{number:0{digits}}_{file_name(name)}" for number, name in enumerate(task.names)]
    # A class without an image keeps its number.
    for name in folders:
        (folder / "train" / name).mkdir(parents=True)
    for image in images:
        if image.number is not None:
            place(image, folder / "train" / folders[image.number] / image.name)


def _lines(image: LabelledImage) -> Iterator[str]:
    """Yield the lines of an image's text file: one per outline, or that of the box or the landmarks."""
    height, width = image.size
    if image.box:
        yield _line(0, _fractions(image.box, image.size))
    if image.points is not None:
        points = np.array(image.points)
        marks = np.column_stack([points / (width, height), np.full(len(points), _VISIBLE)])
        extent = (*points.min(0).tolist(), *points.max(0).tolist())
        yield _line(0, np.concatenate([_fractions(extent, image.size), marks.ravel()]))
    for number, region in image.regions():
        for outline in outlines(region):
            yield _line(number - 1, outline / (width, height))


def _fractions(box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """Return the centre, the width and the height of a box as fractions of an image of `size`."""
    (x1, y1, x2, y2), (height, width) = box, size
    return np.array([(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height])


def _line(category: int, fractions: np.ndarray) -> str:
    # The last digit is far below a hundredth of a pixel.
    return " ".join([str(category), *(f"{value:.9f}".rstrip("0").rstrip(".") for value in fractions.ravel().tolist())])
