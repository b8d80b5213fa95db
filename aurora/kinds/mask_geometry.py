"""The position and shape of the largest region in a mask, in pixels of the mask."""

import cv2
import numpy as np


def largest_region(mask: np.ndarray) -> np.ndarray | None:
    """Return the largest 8-connected region of foreground, (H, W) uint8 of 0 and 1; None if there is no foreground.

    `mask` holds class ids, (H, W) uint8; neighbours of different classes are one region.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8), connectivity=8)
    if len(statistics) == 1:
        return None
    return (labels == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)


def bounding_box(region: np.ndarray) -> np.ndarray:
    """Return the first and the last column and row of a region, (4,) int as x1, y1, x2, y2.

    Example:
        >>> bounding_box(np.array([[0, 0, 0], [0, 1, 1]], np.uint8))
        array([1, 1, 2, 1])
    """
    x, y, width, height = cv2.boundingRect(region)
    return np.array([x, y, x + width - 1, y + height - 1])


def position_moments(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (2,) and the covariance (2, 2) of x and y of the pixels of a region that isn't empty."""
    moments = cv2.moments(region, binaryImage=True)
    centre = np.array([moments["m10"], moments["m01"]])
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]])
    return centre / moments["m00"], covariance / moments["m00"]


def ellipse_axes(region: np.ndarray) -> np.ndarray:
    """Return the ends of the axes of the ellipse that has a region's second moments.

    Half an axis is twice the root of an eigenvalue of the covariance of the pixels' positions, as for a filled ellipse.

    Returns:
        (4, 2) as x, y: the left and the right end of the major axis, the upper and the lower end of the minor axis.
    """
    centre, covariance = position_moments(region)
    variances, directions = np.linalg.eigh(covariance)
    minor, major = (2 * np.sqrt(np.maximum(variances, 0.0)) * directions).T
    major = major if major[0] >= 0 else -major
    minor = minor if minor[1] >= 0 else -minor
    return np.array([centre - major, centre + major, centre - minor, centre + minor])
