"""Another probe's field of view: the image cut to a sector, a trapezoid or nearly a rectangle, black outside."""

from dataclasses import dataclass

import cv2
import numpy as np

CHANCE = 0.25
ARC_CHANCE = 0.6
# How far above the frame the beams meet, in heights of the frame: curved arrays, flat arrays.
ARC_RISE = (0.02, 1.0)
FLAT_RISE = (1.0, 20.0)
# Where across the frame they meet, as a share of its width.
APEX_ACROSS = (0.35, 0.65)
# The largest share of the frame that is cut from each side and the bottom, and from the top.
MAX_CUT = 0.25
MAX_TOP_CUT = 0.1
# From what is kept to the edge of the field of view: a share of the frame's shorter side, and pixels besides.
MARGIN = 0.02
MARGIN_PIXELS = 3.0
ARC_STEPS = 24

_CORNERS = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])


@dataclass(frozen=True, slots=True)
class Probe:
    """Beams that meet in `apex` (x, y), in pixels of the frame whose upper left corner is 0, 0.

    With `arc` depth is the distance from the apex (a curved array), else that from its level (a flat array).
    """

    apex: np.ndarray
    arc: bool

    def beams(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of points (N, 2) the angle from straight down at the apex, the depth, and the distance from the apex."""
        across, down = (points - self.apex).T
        distance = np.hypot(across, down)
        return np.arctan2(across, down), distance if self.arc else down, distance

    def outline(self, angles: tuple[float, float], depths: tuple[float, float]) -> np.ndarray:
        """The polygon (P, 2) between two beams and two depths."""
        steps = np.linspace(*angles, ARC_STEPS)
        directions = np.stack([np.sin(steps), np.cos(steps)], axis=1)
        if not self.arc:
            directions /= directions[:, 1:]
        return self.apex + np.concatenate([depths[0] * directions, depths[1] * directions[::-1]])


def crop_view(image: np.ndarray, keep: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) 8-bit, blackened now and then outside a random field of view.

    The points `keep` (N, 2), in fractions of the frame, stay visible with a margin. Each edge is drawn without
    regard to them, and drawn again beyond them where it would hide one, so that edges hint little at labels.
    """
    if rng.random() >= CHANCE:
        return image
    outline = field_of_view(keep, image.shape[:2], rng) - 0.5
    view = np.zeros(image.shape[:2], dtype=np.uint8)
    cv2.fillPoly(view, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return cv2.copyTo(image, view)


def field_of_view(keep: np.ndarray, frame: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The outline (P, 2) of a random field of view that holds `keep`, in pixels from the frame's upper left corner."""
    extent = np.array((frame[1], frame[0]))
    arc = bool(rng.random() < ARC_CHANCE)
    rise = np.exp(rng.uniform(*np.log(ARC_RISE if arc else FLAT_RISE)))
    apex = np.array((rng.uniform(*APEX_ACROSS), -rise))
    probe = Probe(apex * extent, arc)
    left, right, bottom = rng.uniform(0, MAX_CUT, 3)
    top = rng.uniform(0, MAX_TOP_CUT)
    # The sides are cut as they are at half the depth, top and bottom as they are on the straight beam.
    sides, ends = [(left, 0.5), (1 - right, 0.5)], [(apex[0], top), (apex[0], 1 - bottom)]
    angles, _, _ = probe.beams(np.array(sides) * extent)
    _, depths, _ = probe.beams(np.array(ends) * extent)
    angle_limits, depth_limits, _ = probe.beams(_CORNERS * extent)
    kept_angles, kept_depths, distances = probe.beams(keep * extent)
    margin = MARGIN * min(frame) + MARGIN_PIXELS
    spread = margin / np.maximum(distances, 1e-6)
    first, last = _bounds(angles, kept_angles, spread, angle_limits, rng)
    near, far = _bounds(depths, kept_depths, np.asarray(margin), np.append(depth_limits, rise * extent[1]), rng)
    return probe.outline((max(first, -np.pi), min(last, np.pi)), (max(near, 0.0), far))


def _bounds(
    drawn: np.ndarray, kept: np.ndarray, margin: np.ndarray, limits: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """The two values `drawn`; one that hides what is `kept` is drawn again, between that and its limit."""
    low, high = drawn
    least, most = (kept - margin).min(), (kept + margin).max()
    if low > least:
        low = least - rng.random() * max(least - limits.min(), 0.0)
    if high < most:
        high = most + rng.random() * max(limits.max() - most, 0.0)
    return low, high
