"""The canvas on which anatomy is painted: scatterers, interfaces, attenuation and the label mask."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.phantom.anatomy.shapes import Curve

# Fractional bits of the coordinates passed to OpenCV.
SHIFT = 4


class Canvas:
    """A scene in pixels of the displayed image; all maps are (height, width).

    Attributes:
        unit: the shorter side in pixels.
        echo: level of the scatterers in dB over mean tissue.
        specular: amplitude of coherent interfaces; 1 is mean tissue.
        loss: attenuation that time gain does not compensate, in dB per pixel of path; negative enhances.
        mask: class ids, uint8.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.unit = float(min(height, width))
        self._coarse = 0.8 * self._texture(self.unit / 7, rng) + 0.6 * self._texture(self.unit / 22, rng)
        self._fine = self._texture(self.unit / 36, rng)
        self.echo = (2.5 * self._coarse).astype(np.float32)
        self.loss = np.zeros((height, width), np.float32)
        self.specular = np.zeros((height, width), np.float32)
        self.mask = np.zeros((height, width), np.uint8)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel at fractions `x` of the width and `y` of the height."""
        return x * self.width, y * self.height

    def fill(
        self,
        outline: Curve,
        echo: float,
        *,
        grain: float = 2.5,
        fine: bool = False,
        shadow: float = 0.0,
        label: int | None = None,
    ) -> None:
        """Replace the material inside `outline`.

        Args:
            echo: level in dB over mean tissue.
            grain: standard deviation of the texture in dB.
            fine: use the fine texture.
            shadow: loss from the structure's top to its bottom in dB; negative enhances the tissue below.
            label: class id for the mask; None leaves the mask unchanged.
        """
        low = np.clip(np.floor(outline.min(axis=0)).astype(int), 0, (self.width, self.height))
        high = np.clip(np.ceil(outline.max(axis=0)).astype(int) + 1, 0, (self.width, self.height))
        if (high <= low).any():
            return
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        inside = np.zeros(high[::-1] - low[::-1], np.uint8)
        cv2.fillPoly(inside, [_fixed(outline - low)], 1, shift=SHIFT)
        chosen = inside.astype(bool)
        texture = (self._fine if fine else self._coarse)[window]
        self.echo[window][chosen] = echo + grain * texture[chosen]
        self.specular[window][chosen] = 0
        self.loss[window][chosen] = shadow / max(float(np.ptp(outline[:, 1])), 1.0)
        if label is not None:
            self.mask[window][chosen] = label

    def stroke(
        self,
        curve: Curve,
        level: float,
        width: float,
        *,
        closed: bool = False,
        shadow: float = 0.0,
        sides: float = 0.35,
    ) -> None:
        """Draw an interface of `level` dB along `curve`, `width` pixels wide, that attenuates by `shadow` dB.

        A specular interface reflects best where it faces the probe. Where it is vertical in the image, its amplitude is
        `sides` times the full one.
        """
        thickness = max(1, round(width))
        points = np.vstack([curve, curve[:1]]) if closed else curve
        steps = np.diff(points, axis=0)
        facing = np.abs(steps[:, 0]) / (np.hypot(*steps.T) + 1e-9)
        amplitudes = 10 ** (level / 20) * (sides + (1 - sides) * facing)
        fixed = _fixed(points).reshape(-1, 2).tolist()
        for start, end, amplitude in zip(fixed[:-1], fixed[1:], amplitudes.tolist(), strict=True):
            cv2.line(self.specular, start, end, amplitude, thickness, shift=SHIFT)
        if shadow:
            cv2.polylines(self.loss, [_fixed(points)], False, shadow / thickness, thickness, shift=SHIFT)

    def _texture(self, size: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw smooth noise of unit variance with lumps about `size` pixels wide."""
        cells = (max(2, round(self.height / size)) + 1, max(2, round(self.width / size)) + 1)
        lumps = rng.standard_normal(cells, dtype=np.float32)
        return np.asarray(cv2.resize(lumps, (self.width, self.height), interpolation=cv2.INTER_CUBIC), np.float32)


def _fixed(points: Curve) -> NDArray[np.int32]:
    return np.round(points * (1 << SHIFT)).astype(np.int32).reshape(-1, 1, 2)
