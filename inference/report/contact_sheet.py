"""Contact sheets of a run's predictions: one of all tasks, and one for each task."""

import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from aurora.render.drawing import write
from inference.output.folder import OutputFolder
from inference.report.gallery import Gallery, GalleryItem

TILE = 220
CAPTION = 22
COLUMNS = 6
OVERVIEW = "preview.png"


def write_sheets(gallery: Gallery, folder: OutputFolder) -> Path:
    """Write `OVERVIEW` with the first prediction of every task, and TASK.png with a sample of each; return `OVERVIEW`.

    Raises:
        OutputError: a sheet can't be written.
    """
    # Sheet by sheet, so that memory holds the pictures of only one.
    names: set[str] = {OVERVIEW}
    for (task_id, _), selection in gallery.tasks.items():
        captions = {item.number: Path(item.row.image_path.strip()).name for item in selection.sample}
        in_order = sorted(selection.sample, key=lambda item: item.number)
        folder.write(_name(task_id, names), _sheet(gallery, in_order, captions))
    first = [item for selection in gallery.tasks.values() for item in selection.first]
    folder.write(OVERVIEW, _sheet(gallery, first, {}))
    return folder.root / OVERVIEW


def _name(task_id: str, taken: set[str]) -> str:
    """Return a file name for a task, whose id may be any text, and add it to `taken`."""
    stem = re.sub(r"[^\w-]+", "_", task_id.strip()).strip("_")[:80] or "task"
    name = next(name for name in _numbered(stem) if name.lower() not in taken)
    taken.add(name.lower())
    return name


def _numbered(stem: str) -> Iterable[str]:
    yield f"{stem}.png"
    yield from (f"{stem}-{number}.png" for number in range(2, 1 << 20))


def _sheet(gallery: Gallery, items: list[GalleryItem], captions: dict[int, str]) -> bytes:
    """Return a PNG with a tile for each item; the caption is its task unless `captions` has one for its number."""
    tiles = [tile(picture, _caption(item, captions)) for item, picture in gallery.pictures(items, TILE)]
    blank = np.zeros((TILE + CAPTION, TILE, 3), np.uint8)
    columns = min(COLUMNS, max(len(tiles), 1))
    tiles += [blank] * (-len(tiles) % columns or not tiles)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return cv2.imencode(".png", np.vstack(rows)[..., ::-1])[1].tobytes()


def _caption(item: GalleryItem, captions: dict[int, str]) -> str:
    return ("FALLBACK " if item.outcome.fallback else "") + captions.get(item.number, item.row.task_id)


def tile(picture: np.ndarray, caption: str) -> np.ndarray:
    """Put a picture of at most (TILE, TILE, 3) and a caption below it on a tile (TILE + CAPTION, TILE, 3)."""
    canvas = np.zeros((TILE + CAPTION, TILE, 3), np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    write(canvas, caption, (3, TILE + 15))
    return canvas
