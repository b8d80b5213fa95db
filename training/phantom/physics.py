"""From anatomy to a B-mode image: scatterers, point spread, attenuation, shadow, noise and log compression."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.phantom.canvas import Canvas
from training.phantom.geometry import Geometry
from training.phantom.scanners import Scanner

# Echo level in dB over mean tissue that is shown white at gain 0.
WHITE = 27.0


def scan(scene: Canvas, scanner: Scanner, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The (height, width) uint8 B-mode image of `scene`; 0 outside the scanner's field of view.

    Fully developed speckle is the envelope of complex Gaussian scatterers under the point spread function
    (Wagner et al. 1983, "Statistics of Speckle in Ultrasound B-Scans"); interfaces add a coherent echo.
    """
    geometry = Geometry(scene.height, scene.width, scanner.half_angle, scanner.face)
    maps = geometry.to_beams(np.dstack([scene.echo, scene.loss, scene.specular]))
    echo, loss, specular = np.ascontiguousarray(np.moveaxis(maps, -1, 0))
    power = _echo_power(echo, specular, _kernels(geometry, scanner), rng)
    power *= _decibel_to_power(-_two_way_loss(loss, scene.height, scanner, rng))
    power += _electronic_noise(power.shape, scanner, rng)
    return geometry.to_image(_compress(power, scanner, rng)).astype(np.uint8)


def _kernels(geometry: Geometry, scanner: Scanner) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The lateral and the axial point spread on the beam grid, each summing to 1."""
    depths, _ = geometry.grid
    lateral = scanner.beam * geometry.height / geometry.beam_spacing
    return _gaussian(lateral), _gaussian(scanner.pulse * depths)


def _gaussian(sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.getGaussianKernel(2 * int(np.ceil(2.5 * sigma)) + 1, sigma), np.float32)


def _echo_power(
    echo: NDArray[np.float32],
    specular: NDArray[np.float32],
    kernels: tuple[NDArray[np.float32], NDArray[np.float32]],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    lateral, axial = kernels
    # The point spread averages scatterers; this keeps the mean power of the speckle that of the echo map.
    spread = float(np.sqrt(2 * np.sum(lateral**2) * np.sum(axial**2)))
    amplitude = np.sqrt(_decibel_to_power(echo)) / spread
    inphase, quadrature = rng.standard_normal((2, *echo.shape), dtype=np.float32) * amplitude
    inphase += specular
    inphase = cv2.sepFilter2D(inphase, -1, lateral, axial)
    quadrature = cv2.sepFilter2D(quadrature, -1, lateral, axial)
    return inphase**2 + quadrature**2


def _two_way_loss(
    loss: NDArray[np.float32], height: int, scanner: Scanner, rng: np.random.Generator
) -> NDArray[np.float32]:
    """What the sound has lost on its way, in dB: shadows, plus what the time gain leaves or overdoes."""
    depths = loss.shape[0]
    path = np.cumsum(loss, axis=0, dtype=np.float32) * (height / depths)
    residue = scanner.residue * scanner.frequency * rng.uniform(-0.4, 1.2)
    return path + residue * np.linspace(0, 1, depths, dtype=np.float32)[:, None] ** 1.5


def _electronic_noise(shape: tuple[int, int], scanner: Scanner, rng: np.random.Generator) -> NDArray[np.float32]:
    """Exponentially distributed noise power, lifted with depth by the time gain."""
    lift = np.linspace(-6, 8, shape[0], dtype=np.float32)[:, None]
    return rng.standard_exponential(shape, dtype=np.float32) * _decibel_to_power(scanner.noise + lift)


def _compress(power: NDArray[np.float32], scanner: Scanner, rng: np.random.Generator) -> NDArray[np.float32]:
    """Log compression to grey levels 0..255."""
    span = scanner.dynamic_range * rng.uniform(0.9, 1.1)
    white = WHITE - scanner.gain - rng.uniform(-5, 5)
    level = (10 / np.log(10)) * np.log(power + 1e-12)
    return np.clip((level - white + span) * (255 / span), 0, 255)


def _decibel_to_power(level: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.exp(level * np.float32(np.log(10) / 10))
