"""Contact sheets of a run's answers: one of all tasks, and one for each."""

import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from inference.output.folder import OutputFolder
from inference.render.drawing import write
from inference.report.gallery import Gallery, Kept

TILE = 220
CAPTION = 22
COLUMNS = 6
OVERVIEW = "preview.png"


def write_sheets(gallery: Gallery, folder: OutputFolder) -> Path:
    """Write `OVERVIEW` with every task's first answer and TASK.png with a sample of each task's; returns the former.

    Raises `OutputError` if they can't be written.
    """
    # One after the other, so that the pictures of no more than a sheet are held.
    names: set[str] = {OVERVIEW}
    for (task_id, _), chosen in gallery.tasks.items():
        captions = {kept.number: Path(kept.row.image_path.strip()).name for kept in chosen.sample}
        in_order = sorted(chosen.sample, key=lambda kept: kept.number)
        folder.write(_name(task_id, names), _sheet(gallery, in_order, captions))
    first = [kept for chosen in gallery.tasks.values() for kept in chosen.first]
    folder.write(OVERVIEW, _sheet(gallery, first, {}))
    return folder.root / OVERVIEW


def _name(task_id: str, taken: set[str]) -> str:
    """A file name for a task, which may be called anything."""
    stem = re.sub(r"[^\w-]+", "_", task_id.strip()).strip("_")[:80] or "task"
    name = next(name for name in _numbered(stem) if name.lower() not in taken)
    taken.add(name.lower())
    return name


def _numbered(stem: str) -> Iterable[str]:
    yield f"{stem}.png"
    yield from (f"{stem}-{number}.png" for number in range(2, 1 << 20))


def _sheet(gallery: Gallery, chosen: list[Kept], captions: dict[int, str]) -> bytes:
    """A PNG with a tile for each answer; the caption is its task's name unless `captions` has another by number."""
    tiles = [tile(picture, _caption(kept, captions)) for kept, picture in gallery.pictures(chosen, TILE)]
    blank = np.zeros((TILE + CAPTION, TILE, 3), np.uint8)
    columns = min(COLUMNS, max(len(tiles), 1))
    tiles += [blank] * (-len(tiles) % columns or not tiles)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return cv2.imencode(".png", np.vstack(rows)[..., ::-1])[1].tobytes()


def _caption(kept: Kept, captions: dict[int, str]) -> str:
    return ("FALLBACK " if kept.outcome.fallback else "") + captions.get(kept.number, kept.row.task_id)


def tile(shown: np.ndarray, caption: str) -> np.ndarray:
    """A picture, at most (TILE, TILE, 3), with a caption below, (TILE + CAPTION, TILE, 3)."""
    canvas = np.zeros((TILE + CAPTION, TILE, 3), np.uint8)
    canvas[: shown.shape[0], : shown.shape[1]] = shown
    write(canvas, caption, (3, TILE + 15))
    return canvas
