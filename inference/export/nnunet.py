"""Write the raw data of nnU-Net: dataset.json, images in imagesTr, masks in labelsTr."""

from collections.abc import Iterable
from pathlib import Path

import cv2

from aurora.images import encode_mask
from aurora.runtime.text import dump_json
from aurora.tasks import TaskType
from inference.export.labelled import ExportTask, LabelledImage, Place, is_grey

TYPES = frozenset({TaskType.SEGMENTATION})
FOLDER = "Dataset{number:03}_{task}"
#: Every image is converted, because nnU-Net requires files with one ending and one number of channels.
LINKED: frozenset[str] = frozenset()
_GREY, _COLOURED = {"0": "ultrasound"}, {"0": "R", "1": "G", "2": "B"}


def write(folder: Path, task: ExportTask, images: Iterable[LabelledImage], place: Place) -> None:
    """See `inference.export.formats.Format.write`."""
    (folder / "labelsTr").mkdir()
    count, coloured = 0, False
    for image in images:
        if image.mask is None or image.pixels is None:
            continue
        place(image, folder / "imagesTr" / f"{image.stem}_0000.png")
        (folder / "labelsTr" / f"{image.stem}.png").write_bytes(encode_mask(image.mask, ".png"))
        count, coloured = count + 1, coloured or not is_grey(image.pixels)
    if coloured:
        for path in (folder / "imagesTr").iterdir():
            _colour(path)
    settings = {
        "channel_names": _COLOURED if coloured else _GREY,
        # nnU-Net knows the background by this name alone.
        "labels": {"background": 0} | {name: number for number, name in enumerate(task.labels, start=1)},
        "numTraining": count,
        "file_ending": ".png",
        "name": task.id,
    }
    (folder / "dataset.json").write_text(dump_json(settings, indent=1) + "\n", encoding="utf-8")


def _colour(path: Path) -> None:
    """Give a grey image three equal channels."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is not None and pixels.ndim == 2:
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR))[1].tobytes())
