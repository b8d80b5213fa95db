"""Write a contact sheet: a phantom of every task by every scanner, with its label."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aurora.errors import UsageError
from aurora.runtime.files import replacing
from aurora.tasks import OFFICIAL, Task
from training.phantom.phantom import Phantom, make_phantom
from training.phantom.scanner.profiles import SCANNERS
from training.phantom.tasks.classification import CLASSES

# Width and height of a cell and height of its caption in pixels, and number of blocks of tasks side by side.
CELL = (200, 160)
CAPTION = 15
BLOCKS = 3
# Colours (blue, green, red) of the classes 1, 2, ... of a mask, and of boxes and points.
COLOURS = ((80, 220, 80), (60, 160, 255), (255, 150, 60), (220, 90, 220))
MARK = (40, 220, 255)
Picture = NDArray[np.uint8]


def write_sheet(path: Path, *, seed: int) -> None:
    """Write the sheet of all official tasks and scanners, (1455, 2400) pixels, as .jpg or .png.

    Raises:
        UsageError: `path` has another suffix.
        OutputError: `path` can't be written.
    """
    if path.suffix not in (".jpg", ".png"):
        raise UsageError(f"expected a .jpg or .png file for the sheet, found {path.name!r}; rename it")
    head = np.hstack([_captioned(np.zeros((0, CELL[0], 3), np.uint8), name) for name in SCANNERS])
    rows = [np.hstack([_cell(task, seed, number) for number in range(len(SCANNERS))]) for task in OFFICIAL.values()]
    sheet = np.hstack([np.vstack([head, *rows[start::BLOCKS]]) for start in range(BLOCKS)])
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, sheet, quality)
    with replacing(path, "--sheet") as tmp:
        tmp.write_bytes(data.tobytes())


def _cell(task: Task, seed: int, number: int) -> Picture:
    """Return a phantom of `task` by scanner `number` with label and caption, (160, 200, 3)."""
    # If there are more classes than scanners, the cells show evenly spaced ones.
    index = number * max(len(SCANNERS), task.num_classes) // len(SCANNERS)
    profile = list(SCANNERS.values())[number]
    phantom = make_phantom(task, index, seed=seed, split="train", scanner=profile, size_scale=0.65)
    height = CELL[1] - CAPTION
    scale = min(CELL[0] / phantom.image.shape[1], height / phantom.image.shape[0])
    picture = cv2.resize(draw_label(phantom), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cell = np.full((height, CELL[0], 3), 32, np.uint8)
    top, left = (height - picture.shape[0]) // 2, (CELL[0] - picture.shape[1]) // 2
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return _captioned(cell, task.id if phantom.label is None else f"{task.id}: {CLASSES[task.id][phantom.label]}")


def _captioned(picture: Picture, text: str) -> Picture:
    bar = np.full((CAPTION, CELL[0], 3), 32, np.uint8)
    cv2.putText(bar, text, (3, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([bar, picture])


def draw_label(phantom: Phantom) -> Picture:
    """Return the image (H, W, 3) uint8 BGR with mask outlines, box and points."""
    picture = cv2.cvtColor(phantom.image, cv2.COLOR_GRAY2BGR)
    if phantom.mask is not None:
        for value in range(1, int(phantom.mask.max()) + 1):
            inside = (phantom.mask == value).astype(np.uint8)
            outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, outlines, -1, COLOURS[value - 1], 1)
    if phantom.box is not None:
        x1, y1, x2, y2 = phantom.box
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), MARK, 1)
    for x, y in phantom.points if phantom.points is not None else ():
        cv2.drawMarker(picture, (round(x), round(y)), MARK, cv2.MARKER_CROSS, 9, 1)
    return np.asarray(picture, np.uint8)
