"""Simulate a B-mode image: scatterers, point spread, attenuation, time gain, shadow, noise, log compression."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.phantom.anatomy.canvas import Canvas
from training.phantom.scanner.geometry import Geometry
from training.phantom.scanner.profiles import Scanner

Map = NDArray[np.float32]
# Echo level that is white at gain 0, in dB over mean tissue.
WHITE = 27.0
# Number of time-gain sliders, and the standard deviation of their settings in dB.
SLIDERS, SLIDER_SPREAD = 6, 0.8
# Standard deviation of an interface's amplitude before averaging by the point spread, relative to its mean.
ROUGHNESS = 0.6


def scan(scene: Canvas, scanner: Scanner, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the B-mode image (height, width) uint8 of `scene`; 0 outside the scanner's field of view."""
    geometry = scanner.geometry(scene.height, scene.width)
    maps = geometry.to_beams(np.dstack([scene.echo, scene.loss, scene.specular]))
    echo, loss, specular = np.ascontiguousarray(np.moveaxis(maps, -1, 0))
    power = envelope(echo, point_spread(geometry, scanner), rng, specular) ** 2
    depths, beams = geometry.grid
    lost = shadow(loss, geometry.path) + residual_loss(scanner, depths, rng.uniform(-0.4, 1.2)) - _sliders(depths, rng)
    power *= _decibel_to_power(-lost)
    power += rng.standard_exponential((depths, beams), dtype=np.float32) * noise_power(scanner, depths)
    return geometry.to_image(_compress(power, scanner, rng)).astype(np.uint8)


def point_spread(geometry: Geometry, scanner: Scanner) -> tuple[Map, Map]:
    """Return the lateral and the axial point spread on the beam grid, Gaussian columns that each sum to 1."""
    lateral = scanner.beam * geometry.path / geometry.beam_spacing
    return _gaussian(lateral), _gaussian(scanner.pulse * geometry.grid[0])


def envelope(echo: Map, spread: tuple[Map, Map], rng: np.random.Generator, specular: Map | None = None) -> Map:
    """Simulate the amplitude (depth, beam) >= 0 of the echoes.

    Many scatterers share a point spread, so their sum is complex Gaussian and the amplitude is Rayleigh distributed:
    mean over standard deviation is sqrt(pi / (4 - pi)) = 1.91 (Wagner et al., "Statistics of Speckle in Ultrasound
    B-Scans", 1983). A coherent amplitude makes it Rician.

    Args:
        echo: level of the scatterers in dB, (depth, beam).
        spread: lateral and axial point spread.
        specular: coherent amplitude of rough interfaces, (depth, beam); 1 is mean tissue.
    """
    lateral, axial = spread
    # The point spread averages scatterers; the norm keeps the mean power of the speckle equal to the echo map's.
    norm = float(np.sqrt(2 * np.sum(lateral**2) * np.sum(axial**2)))
    amplitude = np.exp(echo * np.float32(np.log(10) / 20)) / norm
    inphase, quadrature = rng.standard_normal((2, *echo.shape), dtype=np.float32) * amplitude
    if specular is not None:
        hits = np.flatnonzero(specular)
        strength = specular.ravel()[hits]
        inphase.ravel()[hits] += strength * (1 + ROUGHNESS * rng.standard_normal(len(hits), dtype=np.float32))
    inphase = cv2.sepFilter2D(inphase, -1, lateral, axial)
    quadrature = cv2.sepFilter2D(quadrature, -1, lateral, axial)
    return np.asarray(cv2.magnitude(inphase, quadrature), np.float32)


def shadow(loss: Map, path: float) -> Map:
    """Return the accumulated loss of each sample in dB; `loss` is in dB per pixel of a beam of `path` pixels."""
    return np.cumsum(loss, axis=0, dtype=np.float32) * np.float32(path / len(loss))


def residual_loss(scanner: Scanner, depths: int, share: float = 1.0) -> Map:
    """Return the attenuation that time gain doesn't compensate, (depths, 1) in dB: `share` times the usual one.

    Attenuation is proportional to the frequency and to the path, to the reflector and back.
    """
    depth = np.linspace(0, 1, depths, dtype=np.float32)[:, None]
    return np.float32(scanner.attenuation * scanner.residual_attenuation * share) * depth


def noise_power(scanner: Scanner, depths: int) -> Map:
    """Return the mean power of the electronic noise, (depths, 1), which time gain amplifies with depth."""
    height = np.linspace(1, 0, depths, dtype=np.float32)[:, None]
    compensated = np.float32(scanner.attenuation * (1 - scanner.residual_attenuation))
    return _decibel_to_power(scanner.noise - compensated * height)


def _sliders(depths: int, rng: np.random.Generator) -> Map:
    """Draw the gain set by the time-gain sliders, (depths, 1) in dB."""
    steps = rng.normal(0, SLIDER_SPREAD, SLIDERS)
    return np.interp(np.linspace(0, 1, depths), np.linspace(0, 1, SLIDERS), steps).astype(np.float32)[:, None]


def _gaussian(sigma: float) -> Map:
    return np.asarray(cv2.getGaussianKernel(2 * int(np.ceil(2.5 * sigma)) + 1, sigma), np.float32)


def _compress(power: Map, scanner: Scanner, rng: np.random.Generator) -> Map:
    """Log-compress the power to grey levels 0 to 255."""
    span = scanner.dynamic_range * rng.uniform(0.9, 1.1)
    white = WHITE - scanner.gain - rng.uniform(-5, 5)
    level = (10 / np.log(10)) * np.log(power + 1e-12)
    return np.clip((level - white + span) * (255 / span), 0, 255)


def _decibel_to_power(level: Map) -> Map:
    return np.exp(level * np.float32(np.log(10) / 10))
