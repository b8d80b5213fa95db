"""Draw a contact sheet of the labels that an import has written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from aurora.images import read_image
from aurora.kinds import KINDS
from aurora.render.drawing import draw, fitted, write
from aurora.rows import class_label, image_file
from aurora.tasks import TaskType
from training.data.cases import Case

#: Side of a picture and height of its caption in pixels; pictures side by side, and the most on a sheet.
TILE, CAPTION, COLUMNS, MOST = 240, 20, 6, 30


def write_sheet(path: Path, cases: Sequence[Case], names: Mapping[str, Sequence[str]]) -> None:
    """Write a JPEG of up to `MOST` cases with their labels, evenly spaced, as the training reads them.

    Args:
        path: the file.
        cases: the written cases, at least one.
        names: the names of the classes, the object or the landmarks, by task id.
    """
    chosen = np.unique(np.linspace(0, len(cases) - 1, min(MOST, len(cases))).round().astype(int))
    tiles = [_tile(cases[number], names.get(cases[number].task.id, ())) for number in chosen]
    columns = min(COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])
    path.write_bytes(cv2.imencode(".jpg", sheet[..., ::-1])[1].tobytes())


def _tile(case: Case, names: Sequence[str]) -> np.ndarray:
    """Return a picture of an image with its label and a caption, (TILE + CAPTION, TILE, 3) RGB."""
    row, kind = case.row, KINDS[case.task.type]
    picture, scale = fitted(read_image(image_file(case.root, row), case.root).pixels, TILE)
    label = kind.read_label(row, case.root, case.task.num_classes)
    draw(picture, kind.draw_label(label), scale, names=() if row.type == TaskType.CLASSIFICATION else names)
    tile = np.zeros((TILE + CAPTION, TILE, 3), np.uint8)
    tile[: picture.shape[0], : picture.shape[1]] = picture
    number = class_label(row) if row.type == TaskType.CLASSIFICATION else None
    caption = Path(row.image_path).name
    write(tile, caption if number is None else f"{names[number]}: {caption}", (3, TILE + 14))
    return tile
