"""Crop images to the field of view of another probe: a sector, a trapezoid or nearly a rectangle, black outside."""

from dataclasses import dataclass

import cv2
import numpy as np

CHANCE = 0.25
ARC_CHANCE = 0.6
# Height above the frame of the point where the beams meet, in heights of the frame: curved arrays, flat arrays.
ARC_RISE = (0.02, 1.0)
FLAT_RISE = (1.0, 20.0)
# Its horizontal position, as a fraction of the frame's width.
APEX_ACROSS = (0.35, 0.65)
# The largest fraction of the frame cut off at each side and the bottom, and at the top.
MAX_CUT = 0.25
MAX_TOP_CUT = 0.1
# Distance from a kept point to the edge of the field of view: a fraction of the frame's shorter side, plus pixels.
MARGIN = 0.02
MARGIN_PIXELS = 3.0
ARC_STEPS = 24

_CORNERS = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])


@dataclass(frozen=True, slots=True)
class Probe:
    """Beams that meet at `apex` (x, y), in pixels from the frame's upper left corner.

    With `arc`, depth is the distance from the apex (a curved array); without, the vertical distance (a flat array).
    """

    apex: np.ndarray
    arc: bool

    def beams(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return, for points (N, 2), the beam's angle from the vertical, the depth, and the distance from the apex."""
        across, down = (points - self.apex).T
        distance = np.hypot(across, down)
        return np.arctan2(across, down), distance if self.arc else down, distance

    def outline(self, angles: tuple[float, float], depths: tuple[float, float]) -> np.ndarray:
        """Return the polygon (P, 2) between two beams and two depths."""
        steps = np.linspace(*angles, ARC_STEPS)
        directions = np.stack([np.sin(steps), np.cos(steps)], axis=1)
        if not self.arc:
            directions /= directions[:, 1:]
        return self.apex + np.concatenate([depths[0] * directions, depths[1] * directions[::-1]])


def crop_field_of_view(
    image: np.ndarray, keep: np.ndarray, rng: np.random.Generator, chance: float = CHANCE
) -> np.ndarray:
    """Blacken an image (H, W, 3) uint8 outside a random field of view, with probability `chance`.

    The points `keep` (N, 2), in fractions of the frame, stay visible with a margin. Each edge is drawn independently
    of them, and redrawn beyond them only if it would hide one, so that edges reveal little about labels.
    """
    if rng.random() >= chance:
        return image
    outline = random_field_of_view(keep, image.shape[:2], rng) - 0.5
    field = np.zeros(image.shape[:2], dtype=np.uint8)
    cv2.fillPoly(field, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return cv2.copyTo(image, field)


def random_field_of_view(keep: np.ndarray, frame: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw the outline (P, 2) of a field of view that contains `keep`, in pixels from the frame's upper left corner."""
    extent = np.array((frame[1], frame[0]))
    arc = bool(rng.random() < ARC_CHANCE)
    rise = np.exp(rng.uniform(*np.log(ARC_RISE if arc else FLAT_RISE)))
    apex = np.array((rng.uniform(*APEX_ACROSS), -rise))
    probe = Probe(apex * extent, arc)
    left, right, bottom = rng.uniform(0, MAX_CUT, 3)
    top = rng.uniform(0, MAX_TOP_CUT)
    # The cuts at the sides are measured at half the depth, those at top and bottom on the vertical beam.
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
    """Return the two values `drawn`, each redrawn between `kept` and its limit if it would hide a kept value."""
    low, high = drawn
    least, most = (kept - margin).min(), (kept + margin).max()
    if low > least:
        low = least - rng.random() * max(least - limits.min(), 0.0)
    if high < most:
        high = most + rng.random() * max(limits.max() - most, 0.0)
    return low, high
