"""Trace regions of pixels as outlines."""

from collections.abc import Iterator

import cv2
import numpy as np

#: How many times finer than the pixels the outlines are traced.
_FINER = 2


def outlines(region: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an outline for each connected part of a region, (H, W) uint8 of 0 and 1.

    An outline is (N, 2) float64, x and y in pixels, where whole numbers are the edges of pixels. It passes a quarter of
    a pixel inside the region's edge, so that it contains the centres of exactly the region's pixels. A line in
    both directions joins a hole to it.
    """
    x, y, width, height = cv2.boundingRect(region)
    finer = region[y : y + height, x : x + width].repeat(_FINER, axis=0).repeat(_FINER, axis=1)
    contours, hierarchy = cv2.findContours(finer, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, (_, _, hole, parent) in zip(contours, hierarchy[0] if contours else (), strict=True):
        if parent < 0:
            outline = contour[:, 0]
            while hole >= 0:
                outline = _joined(outline, contours[hole][:, 0])
                hole = hierarchy[0][hole][0]
            yield (outline + 0.5) / _FINER + (x, y)


def _joined(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Insert a hole into an outline at the point that is nearest to the hole's first one."""
    at = int(((outline - hole[0]) ** 2).sum(axis=1).argmin())
    return np.concatenate([outline[: at + 1], hole, hole[:1], outline[at:]])
