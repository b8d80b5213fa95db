"""Scan geometry: from the displayed image to the beams that would have seen it, and back.

Anatomy and labels live in the displayed image. A scan resamples the anatomy onto a (depth, beam) grid, and scan
conversion brings the echoes back to the same pixels, so a label drawn in the image stays exact for every probe.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Beams and depth samples per image pixel: speckle is a few pixels wide, so a coarser grid loses nothing.
SAMPLING = 0.8


@dataclass(frozen=True, slots=True)
class Geometry:
    """The field of view of a probe in an image of `height` x `width` pixels.

    `half_angle` is half the opening of the fan in degrees; 0 is a linear probe, whose field is the whole image.
    A fan touches the image's upper edge with the ends of its near arc and the lower edge with its far arc; `face` is
    the least radius of the near arc as a part of the image's height. A fan wider than the image is cut at its sides.
    """

    height: int
    width: int
    half_angle: float
    face: float

    @property
    def grid(self) -> tuple[int, int]:
        """Depth samples and beams."""
        return round(self.height * SAMPLING), round(self.width * SAMPLING)

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
            return self.width / self.grid[1]
        return sum(self.radii) * math.radians(self.half_angle) / self.grid[1]

    def to_beams(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resamples (height, width, C) maps to (depth, beam, C)."""
        depths, beams = self.grid
        if not self.half_angle:
            return _floats(cv2.resize(maps, (beams, depths), interpolation=cv2.INTER_AREA))
        near, far = self.radii
        radius = np.linspace(near, far, depths, dtype=np.float32)[:, None]
        angle = np.radians(np.linspace(-self.half_angle, self.half_angle, beams, dtype=np.float32))[None]
        x = (self.width - 1) / 2 + radius * np.sin(angle)
        y = self.height - 1 - far + radius * np.cos(angle)
        return _floats(cv2.remap(maps, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    def to_image(self, echoes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scan conversion of (depth, beam) to (height, width); 0 outside the field of view."""
        if not self.half_angle:
            return _floats(cv2.resize(echoes, (self.width, self.height), interpolation=cv2.INTER_LINEAR))
        beam, depth = self._beam_coordinates()
        return _floats(cv2.remap(echoes, beam, depth, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))

    def field(self) -> NDArray[np.bool_]:
        """(height, width) bool: the pixels that a beam reaches."""
        if not self.half_angle:
            return np.ones((self.height, self.width), bool)
        beam, depth = self._beam_coordinates()
        depths, beams = self.grid
        return (beam >= 0) & (beam <= beams - 1) & (depth >= 0) & (depth <= depths - 1)

    def _beam_coordinates(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """For each pixel its fractional beam and depth index, each (height, width) float32."""
        (near, far), (depths, beams) = self.radii, self.grid
        x = np.arange(self.width, dtype=np.float32)[None] - (self.width - 1) / 2
        y = np.arange(self.height, dtype=np.float32)[:, None] - (self.height - 1 - far)
        across, down = (np.ascontiguousarray(part) for part in np.broadcast_arrays(x, y))
        radius, angle = cv2.cartToPolar(down, across, angleInDegrees=True)
        angle[angle > 180] -= 360
        beam = (angle / (2 * self.half_angle) + 0.5) * (beams - 1)
        depth = (radius - near) / (far - near) * (depths - 1)
        return beam.astype(np.float32, copy=False), depth.astype(np.float32, copy=False)


def _floats(pixels: np.ndarray) -> NDArray[np.float32]:
    return np.asarray(pixels, np.float32)
