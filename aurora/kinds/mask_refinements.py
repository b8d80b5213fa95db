"""Steps that make a predicted mask look like the labels of its task: one connected region, no holes, convex.

Each takes and returns class ids, (H, W) uint8, and treats every foreground class alone. No step removes a class
completely, and only `largest_component` turns foreground into background.
"""

from collections.abc import Iterator

import cv2
import numpy as np


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Keep only the largest 8-connected region of every class.

    Example:
        >>> largest_component(np.array([[1, 0, 1, 1]], np.uint8))
        array([[0, 0, 1, 1]], dtype=uint8)
    """
    refined = np.zeros_like(mask)
    for number, region in _regions(mask):
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(region, connectivity=8)
        refined[labels == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()] = number
    return refined


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Fill the background that a region of a class encloses."""
    refined = mask.copy()
    for number, region in _regions(mask):
        outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros_like(region), outlines, -1, 1, cv2.FILLED)
        refined[(filled > 0) & (refined == 0)] = number
    return refined


def convex_hull(mask: np.ndarray) -> np.ndarray:
    """Extend every class to its convex hull, over background only."""
    refined = mask.copy()
    for number, region in _regions(mask):
        outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        hull = cv2.convexHull(np.concatenate(outlines))
        filled = cv2.fillConvexPoly(np.zeros_like(region), hull, 1)
        refined[(filled > 0) & (refined == 0)] = number
    return refined


def _regions(mask: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield every foreground class with its region, (H, W) uint8 of 0 and 1."""
    for number in range(1, int(mask.max(initial=0)) + 1):
        region = (mask == number).astype(np.uint8)
        if region.any():
            yield number, region
