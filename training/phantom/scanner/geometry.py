"""Scan geometry: map between the displayed image and the beams of a probe.

Anatomy and labels are drawn in the displayed image. A scan resamples the anatomy onto a (depth, beam) grid, and scan
conversion maps the echoes back to the same pixels, so that labels are exact for every probe.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

# Beams and depth samples per pixel. Speckle is a few pixels wide, so a grid coarser than the image suffices.
SAMPLING = 0.8


@dataclass(frozen=True, slots=True)
class Geometry:
    """The field of view of a probe in an image of `height` x `width` pixels.

    The field of view of a linear probe is the image without its margins. A fan touches the upper edge of the image with
    the ends of its near arc and the lower edge with its far arc; a fan wider than the image is cut off at the sides.

    Attributes:
        half_angle: half the opening angle of the fan in degrees; 0 for a linear probe.
        face: the least radius of the near arc, as a fraction of the image's height.
        margin: of a linear probe, top, right, bottom and left, as fractions of height and width.
    """

    height: int
    width: int
    half_angle: float
    face: float
    margin: tuple[float, float, float, float] = (0, 0, 0, 0)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the field of view."""
        top, right, bottom, left = self.margin
        return (
            slice(round(top * self.height), round((1 - bottom) * self.height)),
            slice(round(left * self.width), round((1 - right) * self.width)),
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of depth samples and of beams."""
        rows, columns = self.window
        return round((rows.stop - rows.start) * SAMPLING), round((columns.stop - columns.start) * SAMPLING)

    @property
    def path(self) -> float:
        """Length of a beam in pixels, from the probe's face to the bottom of the field of view."""
        if self.half_angle:
            return self.radii[1] - self.radii[0]
        return float(self.window[0].stop - self.window[0].start)

    @property
    def radii(self) -> tuple[float, float]:
        """Radii of the near and the far arc around the fan's apex, in pixels."""
        angle = math.radians(self.half_angle)
        far = max(1.04 * self.width / (2 * math.sin(angle)), (1 + self.face * math.cos(angle)) * self.height)
        return (far - self.height) / math.cos(angle), far

    @property
    def beam_spacing(self) -> float:
        """Distance between neighbouring beams at half depth, in pixels."""
        if not self.half_angle:
            return (self.window[1].stop - self.window[1].start) / self.grid[1]
        return sum(self.radii) * math.radians(self.half_angle) / self.grid[1]

    def to_beams(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample maps (height, width, C) to (depth, beam, C)."""
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
        """Scan-convert (depth, beam) to (height, width); 0 outside the field of view."""
        if not self.half_angle:
            rows, columns = self.window
            shown = np.zeros((self.height, self.width), np.float32)
            size = columns.stop - columns.start, rows.stop - rows.start
            shown[self.window] = cv2.resize(echoes, size, interpolation=cv2.INTER_LINEAR)
            return shown
        beam, depth = _beam_coordinates(self)
        return _floats(cv2.remap(echoes, beam, depth, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))

    def field(self) -> NDArray[np.bool_]:
        """Return the pixels of the field of view, (height, width) bool."""
        if not self.half_angle:
            inside = np.zeros((self.height, self.width), bool)
            inside[self.window] = True
            return inside
        beam, depth = _beam_coordinates(self)
        depths, beams = self.grid
        return (beam >= 0) & (beam <= beams - 1) & (depth >= 0) & (depth <= depths - 1)

    def edge(self, depth: float, side: int) -> tuple[float, float]:
        """Return x, y of the left (`side` -1) or right (1) edge of the field at a `depth` of 0 to 1."""
        if not self.half_angle:
            rows, columns = self.window
            x = columns.stop if side > 0 else columns.start - 1
            return float(x), rows.start + depth * (rows.stop - rows.start - 1)
        near, far = self.radii
        radius, angle = near + depth * (far - near), math.radians(self.half_angle)
        return (self.width - 1) / 2 + side * radius * math.sin(angle), self.height - 1 - far + radius * math.cos(angle)


# Cached, because each phantom needs it twice: for the image and for the field of view.
@lru_cache(maxsize=2)
def _beam_coordinates(geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the fractional beam and depth index of each pixel, (height, width) float32 each."""
    (near, far), (depths, beams) = geometry.radii, geometry.grid
    x = np.arange(geometry.width, dtype=np.float32)[None] - (geometry.width - 1) / 2
    y = np.arange(geometry.height, dtype=np.float32)[:, None] - (geometry.height - 1 - far)
    across, down = (np.ascontiguousarray(grid) for grid in np.broadcast_arrays(x, y))
    radius, angle = cv2.cartToPolar(down, across, angleInDegrees=True)
    angle[angle > 180] -= 360
    beam = (angle / (2 * geometry.half_angle) + 0.5) * (beams - 1)
    depth = (radius - near) / (far - near) * (depths - 1)
    return beam.astype(np.float32, copy=False), depth.astype(np.float32, copy=False)


def _floats(pixels: np.ndarray) -> NDArray[np.float32]:
    return np.asarray(pixels, np.float32)
