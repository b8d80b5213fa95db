"""Measure masks, boxes and landmarks: lengths, areas and angles, in millimetres where the pixel size is known.

Coordinates are multiplied by the pixel's height and width first, so that pixels needn't be square.
"""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import cv2
import numpy as np

from aurora.kinds.mask_geometry import position_moments

#: Height and width of a pixel in mm.
PixelSize = tuple[float, float]

# Directions (rows, columns) in which the outline is crossed: 24 in half a circle.
_DIRECTIONS = [
    (rows, columns)
    for rows in range(5)
    for columns in range(-4, 5)
    if math.gcd(rows, columns) == 1 and (rows > 0 or columns > 0)
]
# With more landmarks than this, only the distances between consecutive ones are measured.
_ALL_PAIRS = 4


class Measurement(NamedTuple):
    """A measured quantity, with its unit: mm, mm2, px, px2 or deg.

    `structure` is the class that it belongs to, and `structure_name` its name, if the weights know one.
    """

    name: str
    value: float
    unit: str
    structure: int | None = None
    structure_name: str | None = None


def measure_mask(mask: np.ndarray, pixel_size: PixelSize | None = None, names: Sequence[str] = ()) -> list[Measurement]:
    """Measure every foreground class of a mask, (H, W) uint8, as a whole; `names` are those of all classes, or empty.

    Example:
        >>> mask = np.zeros((100, 100), np.uint8)
        >>> mask[20:60, 10:90] = 1
        >>> measure_mask(mask, (0.5, 0.5))[0]
        Measurement(name='area', value=800.0, unit='mm2', structure=1, structure_name=None)
    """
    length, spacing = _unit(pixel_size)
    found = []
    for number, area in areas(mask, spacing).items():
        region = (mask == number).astype(np.uint8)
        major, minor = equivalent_ellipse(region, spacing)
        values = {
            "area": (area, f"{length}2"),
            "perimeter": (perimeter(region, spacing), length),
            "longest diameter": (longest_diameter(region, spacing), length),
            "ellipse's major axis": (major, length),
            "ellipse's minor axis": (minor, length),
            "ellipse's circumference": (ellipse_circumference(major, minor), length),
        }
        structure = names[number] if names else None
        found += [Measurement(name, value, unit, number, structure) for name, (value, unit) in values.items()]
    return found


def areas(mask: np.ndarray, spacing: PixelSize = (1.0, 1.0)) -> dict[int, float]:
    """Return the area of every foreground class that occurs in a mask, (H, W) uint8."""
    counts = np.bincount(mask.ravel())
    return {int(number): float(counts[number]) * spacing[0] * spacing[1] for number in np.flatnonzero(counts) if number}


def measure_box(box: Sequence[float], pixel_size: PixelSize | None = None) -> list[Measurement]:
    """Measure the sides of a box x1, y1, x2, y2 in pixels."""
    length, (height, width) = _unit(pixel_size)
    x1, y1, x2, y2 = box
    return [Measurement("width", (x2 - x1) * width, length), Measurement("height", (y2 - y1) * height, length)]


def measure_points(
    points: np.ndarray, pixel_size: PixelSize | None = None, *, progression: bool = False
) -> list[Measurement]:
    """Measure the distances between landmarks, (K, 2) as x, y in pixels.

    Args:
        points: the landmarks, in the task's order.
        pixel_size: height and width of a pixel in mm.
        progression: whether the landmarks are the upper and the lower end of the symphysis and the point where the
            tangent from its lower end touches the fetal head; then the angle of progression is measured too.
    """
    length, (height, width) = _unit(pixel_size)
    scaled = np.asarray(points, dtype=float) * (width, height)
    numbers = range(len(scaled))
    pairs = combinations(numbers, 2) if len(scaled) <= _ALL_PAIRS else pairwise(numbers)
    found = [
        Measurement(f"distance {i + 1}-{j + 1}", float(np.hypot(*(scaled[j] - scaled[i]))), length) for i, j in pairs
    ]
    if progression and len(scaled) == 3:
        found.append(Measurement("angle of progression", angle_of_progression(scaled), "deg"))
    return found


def angle_of_progression(points: np.ndarray) -> float:
    """Return the angle, in degrees, between the symphysis and the tangent to the fetal head.

    It is the angle at the symphysis's lower end (Barbera et al., Ultrasound in Obstetrics & Gynecology 33:313, 2009).

    Args:
        points: (3, 2): the upper and the lower end of the symphysis, and the tangent's point on the head, in mm, or in
            square pixels.

    Example:
        >>> angle_of_progression(np.array([[0, 0], [10, 0], [10, 30]]))
        90.0
    """
    upper, lower, head = np.asarray(points, dtype=float)
    one, other = upper - lower, head - lower
    return math.degrees(math.atan2(abs(float(np.linalg.det([one, other]))), float(one @ other)))


def equivalent_ellipse(region: np.ndarray, spacing: PixelSize = (1.0, 1.0)) -> tuple[float, float]:
    """Return the lengths of the major and the minor axis of the ellipse with a region's area moments.

    A filled ellipse has the variance a^2 / 4 along its half axis a. A pixel's own extent adds 1/12 of its square.

    Args:
        region: (H, W) uint8 of 0 and 1, with at least one 1.
        spacing: height and width of a pixel.
    """
    _, covariance = position_moments(region)
    scale = np.array(spacing[::-1])
    covariance = (covariance + np.eye(2) / 12) * np.outer(scale, scale)
    minor, major = 4 * np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.0))
    return float(major), float(minor)


def ellipse_circumference(major: float, minor: float) -> float:
    """Return the circumference of an ellipse from its axes (Ramanujan, 1914; right to 0.05 % for any shape).

    Example:
        >>> round(ellipse_circumference(2, 2), 6)
        6.283185
    """
    total = (major + minor) / 2
    if not total:
        return 0.0
    h = ((major - minor) / (major + minor)) ** 2
    return math.pi * total * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))


def perimeter(region: np.ndarray, spacing: PixelSize = (1.0, 1.0)) -> float:
    """Return the length of a region's outline, its holes included.

    Straight lines of 24 directions are laid through all pixels, and their crossings with the outline are counted (the
    Cauchy-Crofton formula). With square pixels, the outline of an ellipse is right to 0.5 %, that of an upright
    rectangle to 1.2 %; with pixels 2.5 times as wide as high, to 1.5 and 2 %.

    Args:
        region: (H, W) uint8 of 0 and 1.
        spacing: height and width of a pixel.
    """
    height, width = spacing
    padded = np.pad(region, 4)
    vectors = {math.atan2(rows * height, columns * width): (rows, columns) for rows, columns in _DIRECTIONS}
    angles = np.array(sorted(vectors))
    gaps = np.diff(angles, append=angles[0] + math.pi)
    total = 0.0
    for number, angle in enumerate(angles):
        rows, columns = vectors[angle]
        crossings = np.count_nonzero(padded != np.roll(padded, (-rows, -columns), (0, 1)))
        distance = height * width / math.hypot(rows * height, columns * width)  # between neighbouring lines
        # A direction stands for half the angles to its neighbours.
        total += crossings * distance * (gaps[number] + gaps[number - 1]) / 2
    return total / 2


def longest_diameter(region: np.ndarray, spacing: PixelSize = (1.0, 1.0)) -> float:
    """Return the longest distance between two points of a region, the outer edges of its pixels included."""
    # The outermost pixels of every row have the same hull as all.
    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - 1 - region[rows, ::-1].argmax(axis=1)
    rows, columns = np.tile(rows, 2), np.concatenate([first, last])
    corners = [
        np.stack([(columns + x) * spacing[1], (rows + y) * spacing[0]], axis=1)
        for x in (-0.5, 0.5)
        for y in (-0.5, 0.5)
    ]
    hull = cv2.convexHull(np.concatenate(corners).astype(np.float32))[:, 0].astype(np.float64)
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2).max()))


def _unit(pixel_size: PixelSize | None) -> tuple[str, PixelSize]:
    return ("px", (1.0, 1.0)) if pixel_size is None else ("mm", pixel_size)
