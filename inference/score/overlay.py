"""Truth and answers on one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aurora.cases import Cases, label_of
from aurora.errors import AuroraError
from aurora.images import read_image
from aurora.rows import Row, image_file
from aurora.tasks import TaskType
from inference.drawing import COLOURS, Colour, draw_box, draw_classes, draw_mask, draw_points, fitted

TRUTH = COLOURS[1]
#: The colours of the answers that are judged, and of those that they are compared with.
ANSWERS = (COLOURS[0], COLOURS[5])


def overlay(row: Row, root: Path, folders: Sequence[Cases], side: int) -> np.ndarray:
    """A labelled row's image at `side` pixels, (h, w, 3) RGB, the truth and each folder's answer drawn on it.

    What can't be read is left out, the image being black then.
    """
    try:
        pixels = read_image(image_file(root, row), root).pixels
        label = label_of(row, root, folders[0].num_classes)
    except AuroraError:
        return np.zeros((side, side, 3), np.uint8)
    shown, scale = fitted(pixels, side)
    for cases, colour in zip(folders, ANSWERS, strict=False):
        answer = cases.answer(row, label)
        if row.type is TaskType.CLASSIFICATION:
            # Two sets of bars would hide each other; the words below say what the other one is.
            draw_classes(shown, answer[1])
            return shown
        _draw(shown, row.type, answer, scale, colour)
    _draw(shown, row.type, label[0] if row.type is TaskType.REGRESSION else label, scale, TRUTH)
    return shown


def _draw(shown: np.ndarray, kind: TaskType, found: Any, scale: float, colour: Colour) -> None:
    if kind is TaskType.SEGMENTATION:
        draw_mask(shown, found, (colour,))
    elif kind is TaskType.DETECTION:
        draw_box(shown, found, scale, colour)
    else:
        draw_points(shown, found, scale, (colour,))
