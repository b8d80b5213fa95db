"""Write COCO: a JSON file of images, categories and annotations, and the images."""

import itertools
import shutil
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from aurora import __version__
from aurora.errors import UsageError
from aurora.runtime.text import dump_json
from aurora.tasks import TYPES as ALL_TYPES
from aurora.tasks import TaskType
from inference.export.json_array import json_array
from inference.export.labelled import VIEWABLE, ExportTask, LabelledImage, Place

TYPES = frozenset(ALL_TYPES)
FOLDER = "{task}"
LINKED = VIEWABLE
#: The visibility of a keypoint that is labelled and visible.
_VISIBLE = 2


def write(folder: Path, task: ExportTask, images: Iterable[LabelledImage], place: Place) -> None:
    """See `inference.export.formats.Format.write`.

    Raises:
        UsageError: pycocotools isn't installed.
    """
    if find_spec("pycocotools") is None:
        raise UsageError("--format coco needs pycocotools, which isn't installed: pip install pycocotools")
    # The annotations come after all images, so that both are written as they are read.
    with (
        (folder / "annotations.json").open("w", encoding="utf-8") as file,
        TemporaryFile("w+", encoding="utf-8") as rest,
    ):
        head = {"info": {"description": f"{task.id}, predicted by AURORA {__version__}"}}
        file.write(f'{dump_json(head)[:-1]},\n"categories": {dump_json(_categories(task))},\n"images": ')
        with json_array(file) as add_image, json_array(rest) as add_annotation:
            ids = itertools.count(1)
            for number, image in enumerate(images, start=1):
                place(image, folder / "images" / image.name)
                add_image({"id": number, "file_name": image.name, "height": image.size[0], "width": image.size[1]})
                score = {} if image.score is None else {"score": image.score}
                for annotation in _annotations(image):
                    add_annotation({"id": next(ids), "image_id": number} | annotation | score)
        file.write(',\n"annotations": ')
        rest.seek(0)
        shutil.copyfileobj(rest, file)
        file.write("}\n")


def _categories(task: ExportTask) -> list[dict[str, Any]]:
    if task.type == TaskType.REGRESSION:
        return [{"id": 1, "name": task.id, "keypoints": task.labels, "skeleton": []}]
    return [{"id": number, "name": name} for number, name in enumerate(task.labels, start=1)]


def _annotations(image: LabelledImage) -> Iterator[dict[str, Any]]:
    """Yield the annotations of an image without their ids: one for each class of a mask, or one."""
    from pycocotools import mask

    for number, region in image.regions():
        encoded = mask.encode(np.asfortranarray(region))
        yield {
            "category_id": number,
            "segmentation": {"size": list(image.size), "counts": encoded["counts"].decode("ascii")},
            "bbox": mask.toBbox(encoded).tolist(),
            "area": int(mask.area(encoded)),
            "iscrowd": 0,
        }
    if image.number is not None:
        yield {"category_id": image.number + 1}
    if image.box:
        yield {"category_id": 1, **_extent(image.box), "iscrowd": 0}
    if image.points is not None:
        xs, ys = zip(*image.points, strict=True)
        yield {
            "category_id": 1,
            "keypoints": [value for x, y in image.points for value in (x, y, _VISIBLE)],
            "num_keypoints": len(image.points),
            **_extent((min(xs), min(ys), max(xs), max(ys))),
            "iscrowd": 0,
        }


def _extent(box: tuple[float, float, float, float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
