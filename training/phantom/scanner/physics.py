"""From anatomy to a B-mode image: scatterers, point spread, attenuation, time gain, shadow, noise, log compression."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.phantom.anatomy.canvas import Canvas
from training.phantom.scanner.geometry import Geometry
from training.phantom.scanner.profiles import Scanner

Map = NDArray[np.float32]
# Echo level in dB over mean tissue that is shown white at gain 0.
WHITE = 27.0
# Standard deviation of what each of the operator's sliders for time gain adds, in dB.
SLIDERS, SLIDER_SPREAD = 6, 0.8
# Random part of an interface's amplitude before the point spread averages it, as a part of the mean.
ROUGHNESS = 0.6


def scan(scene: Canvas, scanner: Scanner, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The (height, width) uint8 B-mode image of `scene`; 0 outside the scanner's field of view."""
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
    """The lateral and the axial point spread on the beam grid, Gaussian columns that sum to 1 each."""
    lateral = scanner.beam * geometry.path / geometry.beam_spacing
    return _gaussian(lateral), _gaussian(scanner.pulse * geometry.grid[0])


def envelope(echo: Map, spread: tuple[Map, Map], rng: np.random.Generator, specular: Map | None = None) -> Map:
    """Amplitude (depth, beam) >= 0 of the echoes under the point spread (lateral, axial).

    `echo` (depth, beam) is the scatterers' level in dB; many of them lie within the point spread, so they are complex
    Gaussian, and the amplitude has Rayleigh statistics: mean over standard deviation is sqrt(pi / (4 - pi)) = 1.91
    (Wagner et al. 1983). `specular` adds the coherent amplitude of rough interfaces, which makes it Rician.
    """
    lateral, axial = spread
    # The point spread averages scatterers; this keeps the mean power of the speckle that of the echo map.
    norm = float(np.sqrt(2 * np.sum(lateral**2) * np.sum(axial**2)))
    amplitude = np.exp(echo * np.float32(np.log(10) / 20)) / norm
    inphase, quadrature = rng.standard_normal((2, *echo.shape), dtype=np.float32) * amplitude
    if specular is not None:
        met = np.flatnonzero(specular)
        strength = specular.ravel()[met]
        inphase.ravel()[met] += strength * (1 + ROUGHNESS * rng.standard_normal(len(met), dtype=np.float32))
    inphase = cv2.sepFilter2D(inphase, -1, lateral, axial)
    quadrature = cv2.sepFilter2D(quadrature, -1, lateral, axial)
    return np.asarray(cv2.magnitude(inphase, quadrature), np.float32)


def shadow(loss: Map, path: float) -> Map:
    """What each sample has lost to the structures above it, in dB; `loss` is in dB per pixel of a `path` long."""
    return np.cumsum(loss, axis=0, dtype=np.float32) * np.float32(path / len(loss))


def residual_loss(scanner: Scanner, depths: int, share: float = 1.0) -> Map:
    """(depths, 1) dB: the part of the tissue's attenuation that time gain leaves, `share` times the usual part.

    Attenuation grows in proportion to frequency and to the path, there and back.
    """
    part = np.linspace(0, 1, depths, dtype=np.float32)[:, None]
    return np.float32(scanner.attenuation * scanner.residue * share) * part


def noise_power(scanner: Scanner, depths: int) -> Map:
    """(depths, 1) mean power of the electronic noise: time gain lifts it along with the echoes, towards the bottom."""
    height = np.linspace(1, 0, depths, dtype=np.float32)[:, None]
    return _decibel_to_power(scanner.noise - np.float32(scanner.attenuation * (1 - scanner.residue)) * height)


def _sliders(depths: int, rng: np.random.Generator) -> Map:
    """(depths, 1) dB: how the operator set the sliders of time gain."""
    steps = rng.normal(0, SLIDER_SPREAD, SLIDERS)
    return np.interp(np.linspace(0, 1, depths), np.linspace(0, 1, SLIDERS), steps).astype(np.float32)[:, None]


def _gaussian(sigma: float) -> Map:
    return np.asarray(cv2.getGaussianKernel(2 * int(np.ceil(2.5 * sigma)) + 1, sigma), np.float32)


def _compress(power: Map, scanner: Scanner, rng: np.random.Generator) -> Map:
    """Log compression to grey levels 0..255."""
    span = scanner.dynamic_range * rng.uniform(0.9, 1.1)
    white = WHITE - scanner.gain - rng.uniform(-5, 5)
    level = (10 / np.log(10)) * np.log(power + 1e-12)
    return np.clip((level - white + span) * (255 / span), 0, 255)


def _decibel_to_power(level: Map) -> Map:
    return np.exp(level * np.float32(np.log(10) / 10))
