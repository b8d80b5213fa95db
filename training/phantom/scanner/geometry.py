"""Scan geometry: from the displayed image to the beams that would have seen it, and back.

Anatomy and labels live in the displayed image. A scan resamples the anatomy onto a (depth, beam) grid, and scan
conversion brings the echoes back to the same pixels, so a label drawn in the image stays exact for every probe.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

# Beams and depth samples per image pixel: speckle is a few pixels wide, so a coarser grid loses nothing.
SAMPLING = 0.8


@dataclass(frozen=True, slots=True)
class Geometry:
    """The field of view of a probe in an image of `height` x `width` pixels.

    `half_angle` is half the opening of the fan in degrees; 0 is a linear probe, whose field is the image without its
    `rim` (top, right, bottom, left, as parts of height and width).
    A fan touches the image's upper edge with the ends of its near arc and the lower edge with its far arc; `face` is
    the least radius of the near arc as a part of the image's height. A fan wider than the image is cut at its sides.
    """

    height: int
    width: int
    half_angle: float
    face: float
    rim: tuple[float, float, float, float] = (0, 0, 0, 0)

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns that the field of view reaches."""
        top, right, bottom, left = self.rim
        return (
            slice(round(top * self.height), round((1 - bottom) * self.height)),
            slice(round(left * self.width), round((1 - right) * self.width)),
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Depth samples and beams."""
        rows, columns = self.window
        return round((rows.stop - rows.start) * SAMPLING), round((columns.stop - columns.start) * SAMPLING)

    @property
    def path(self) -> float:
        """Pixels from the probe's face to the bottom of the field of view, along a beam."""
        if self.half_angle:
            return self.radii[1] - self.radii[0]
        return float(self.window[0].stop - self.window[0].start)

    @property
    def radii(self) -> tuple[float, float]:
        """Radii of the near and the far arc about the fan's apex, in pixels."""
        angle = math.radians(self.half_angle)
        far = max(1.04 * self.width / (2 * math.sin(angle)), (1 + self.face * math.cos(angle)) * self.height)
        return (far - self.height) / math.cos(angle), far

    @property
    def beam_spacing(self) -> float:
        """Distance of neighbouring beams at half depth, in pixels."""
        if not self.half_angle:
            return (self.window[1].stop - self.window[1].start) / self.grid[1]
        return sum(self.radii) * math.radians(self.half_angle) / self.grid[1]

    def to_beams(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resamples (height, width, C) maps to (depth, beam, C)."""
        depths, beams = self.grid
        if not self.half_angle:
            return _floats(cv2.resize(maps[self.window], (beams, depths), interpolation=cv2.INTER_AREA))
        near, far = self.radii
        radius = np.linspace(near, far, depths, dtype=np.float32)[:, None]
        angle = np.radians(np.linspace(-self.half_angle, self.half_angle, beams, dtype=np.float32))[None]
        x = (self.width - 1) / 2 + radius * np.sin(angle)
        y = self.height - 1 - far + radius * np.cos(angle)
        return _floats(cv2.remap(maps, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    def to_image(self, echoes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scan conversion of (depth, beam) to (height, width); 0 outside the field of view."""
        if not self.half_angle:
            rows, columns = self.window
            shown = np.zeros((self.height, self.width), np.float32)
            size = columns.stop - columns.start, rows.stop - rows.start
            shown[self.window] = cv2.resize(echoes, size, interpolation=cv2.INTER_LINEAR)
            return shown
        beam, depth = _beam_coordinates(self)
        return _floats(cv2.remap(echoes, beam, depth, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))

    def field(self) -> NDArray[np.bool_]:
        """(height, width) bool: the pixels that a beam reaches."""
        if not self.half_angle:
            inside = np.zeros((self.height, self.width), bool)
            inside[self.window] = True
            return inside
        beam, depth = _beam_coordinates(self)
        depths, beams = self.grid
        return (beam >= 0) & (beam <= beams - 1) & (depth >= 0) & (depth <= depths - 1)

    def edge(self, part: float, side: int) -> tuple[float, float]:
        """x, y of the field's left (`side` -1) or right (1) edge at a part (0..1) of the depth."""
        if not self.half_angle:
            rows, columns = self.window
            x = columns.stop if side > 0 else columns.start - 1
            return float(x), rows.start + part * (rows.stop - rows.start - 1)
        near, far = self.radii
        radius, angle = near + part * (far - near), math.radians(self.half_angle)
        return (self.width - 1) / 2 + side * radius * math.sin(angle), self.height - 1 - far + radius * math.cos(angle)


# A case asks twice: for its picture and for its field of view.
@lru_cache(maxsize=2)
def _beam_coordinates(geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel its fractional beam and depth index, each (height, width) float32."""
    (near, far), (depths, beams) = geometry.radii, geometry.grid
    x = np.arange(geometry.width, dtype=np.float32)[None] - (geometry.width - 1) / 2
    y = np.arange(geometry.height, dtype=np.float32)[:, None] - (geometry.height - 1 - far)
    across, down = (np.ascontiguousarray(part) for part in np.broadcast_arrays(x, y))
    radius, angle = cv2.cartToPolar(down, across, angleInDegrees=True)
    angle[angle > 180] -= 360
    beam = (angle / (2 * geometry.half_angle) + 0.5) * (beams - 1)
    depth = (radius - near) / (far - near) * (depths - 1)
    return beam.astype(np.float32, copy=False), depth.astype(np.float32, copy=False)


def _floats(pixels: np.ndarray) -> NDArray[np.float32]:
    return np.asarray(pixels, np.float32)
