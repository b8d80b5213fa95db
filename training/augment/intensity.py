"""Vary grey values as ultrasound machines do: no pixel moves, and black stays nearly black.

Gain, attenuation, shadow and speckle change the amplitude A of the echo. An image shows it log-compressed, g = 255 *
(1 + 20 log10(A) / D) with a dynamic range of D dB, so that a change of L dB is a change of 255 * L / D grey levels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

DYNAMIC_RANGE_DB = (45.0, 75.0)
# Number of time-gain sliders, evenly spaced over depth, and the largest error of each.
TIME_GAIN_SLIDERS = 6
MAX_TIME_GAIN_DB = 8.0
# Two-way loss per height of the frame: 2 * 0.1 dB/(cm MHz) not compensated by time gain, at 5 MHz, over 15 cm: 15 dB.
ATTENUATION_DB = (4.0, 20.0)
# The largest depth at which attenuation and shadow begin, as a fraction of the height.
MAX_ORIGIN = 0.6
SHADOW_DB = (5.0, 25.0)
# Standard deviation of a shadow's lateral profile, as a fraction of the width, and the depth over which it sets in.
SHADOW_SPREAD = (0.02, 0.1)
SHADOW_ONSET = 0.05
# 1 is the speckle of a single look; averaging n looks leaves 1 / sqrt(n).
SPECKLE_STRENGTH = (0.1, 0.6)
# Size of a grain in pixels per 256 of the frame's longer side: across the beam and along it.
GRAIN_ACROSS, GRAIN_ALONG = (1.5, 5.0), (1.0, 2.5)
BLUR_ACROSS, BLUR_ALONG = (0.4, 1.8), (0.3, 1.2)
MAX_GAMMA = 1.5
CONTRAST = (0.75, 1.3)
MAX_BRIGHTNESS = 0.05

# Smooth fields are computed on a grid coarser than the frame by this factor.
_COARSE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """The probability of each change, 0 to 1."""

    blur: float = 0.25
    time_gain: float = 0.5
    attenuation: float = 0.3
    shadow: float = 0.25
    speckle: float = 0.5


DEFAULT_CHANCES = Chances()


def augment_intensity(image: np.ndarray, rng: np.random.Generator, chances: Chances = DEFAULT_CHANCES) -> np.ndarray:
    """Change the grey values of an image (H, W, 3) uint8 at random: blur, echo levels and the grey curve.

    Example:
        >>> image = np.full((64, 64, 3), 100, np.uint8)
        >>> augment_intensity(image, np.random.default_rng(0)).shape
        (64, 64, 3)
    """
    if rng.random() < chances.blur:
        image = blur(image, rng)
    levels = echo_levels(image.shape[:2], rng, chances)
    if levels is not None:
        image = add_decibels(image, levels, rng.uniform(*DYNAMIC_RANGE_DB))
    return cv2.LUT(image, grey_curve(rng))


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Widen the point spread, usually more across the beam than along it."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(*BLUR_ACROSS), sigmaY=rng.uniform(*BLUR_ALONG))


def add_decibels(image: np.ndarray, levels: np.ndarray, dynamic_range: float) -> np.ndarray:
    """Change the echoes of an image (H, W, 3) uint8 by `levels` (H, W) float32 in dB.

    A grey value at most doubles, so that black pixels, outside the field of view or below the dynamic range, stay
    black.
    """
    grey = levels * np.float32(255.0 / dynamic_range)
    gain, loss = (np.clip(change, 0, 255).astype(np.uint8) for change in (grey, -grey))
    brighter = cv2.add(image, cv2.min(image, cv2.merge([gain, gain, gain])))
    return cv2.subtract(brighter, cv2.merge([loss, loss, loss]))


def echo_levels(
    frame: tuple[int, int], rng: np.random.Generator, chances: Chances = DEFAULT_CHANCES
) -> np.ndarray | None:
    """Draw a change of the echoes in dB, (height, width) float32, or None for no change."""
    height, width = frame
    down = (np.arange(0, height, _COARSE, dtype=np.float32)[:, None] + _COARSE / 2) / height
    across = (np.arange(0, width, _COARSE, dtype=np.float32)[None, :] + _COARSE / 2) / width
    smooth: list[np.ndarray] = []
    if rng.random() < chances.time_gain:
        smooth.append(time_gain(down, rng))
    if rng.random() < chances.attenuation:
        smooth.append(-attenuation(down, rng))
    if rng.random() < chances.shadow:
        smooth.append(-shadow(across, down, rng))
    levels = None
    if smooth:
        coarse = np.zeros((down.size, across.size), dtype=np.float32)
        for field in smooth:
            coarse += field
        levels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < chances.speckle:
        grain = speckle(frame, rng)
        levels = grain if levels is None else cv2.add(levels, grain)
    return levels


def time_gain(down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the gain in dB at depths `down` (fractions of the height): linear between wrongly set sliders."""
    sliders = rng.uniform(-MAX_TIME_GAIN_DB, MAX_TIME_GAIN_DB, TIME_GAIN_SLIDERS)
    return np.interp(down, np.linspace(0, 1, TIME_GAIN_SLIDERS), sliders).astype(np.float32)


def attenuation(down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the loss in dB at depths `down` (fractions of the height), from a random depth downwards.

    The amplitude falls exponentially, A = A0 * 10^(-L / 20), so that the loss grows linearly with depth,
    L = 2 * a * f * (z - z0): a in dB/(cm MHz), frequency f in MHz, depth z in cm, and a factor of 2 for the round trip.
    """
    origin, loss = rng.uniform(0, MAX_ORIGIN), rng.uniform(*ATTENUATION_DB)
    return np.float32(loss) * np.maximum(down - np.float32(origin), 0)


def shadow(across: np.ndarray, down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the loss in dB, (rows, columns), in the shadow of an obstacle at a random position.

    The shadow follows the beams, which meet above the frame and diverge with depth.

    Args:
        across: horizontal positions (1, columns) in fractions of the width.
        down: depths (rows, 1) in fractions of the height.
    """
    centre, origin, rise = rng.uniform(0, 1), rng.uniform(0, MAX_ORIGIN), rng.uniform(0.3, 5)
    spread, loss = rng.uniform(*SHADOW_SPREAD), rng.uniform(*SHADOW_DB)
    # The distance of a beam from the middle at depth `down`, over its distance where the shadow begins.
    widening = (down + np.float32(rise)) / np.float32(origin + rise)
    beam = (across - 0.5) / widening + 0.5
    profile = np.exp(-0.5 * ((beam - np.float32(centre)) / np.float32(spread)) ** 2)
    onset = np.clip((down - np.float32(origin)) / SHADOW_ONSET, 0, 1)
    return np.float32(loss) * profile * onset


def _rayleigh_decibels() -> np.ndarray:
    """Return the level in dB at 256 quantiles of fully developed speckle: mean 0, standard deviation 5.6.

    Its amplitude has a Rayleigh distribution (Wagner et al., "Statistics of Speckle in Ultrasound B-Scans", 1983),
    whose quantile u is sqrt(-2 ln(1 - u)).
    """
    quantiles = (np.arange(256) + 0.5) / 256
    levels = 10 * np.log10(-np.log1p(-quantiles))
    return (levels - levels.mean()).astype(np.float32)


RAYLEIGH_DB = _rayleigh_decibels()


def speckle(frame: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw multiplicative noise of the amplitude in dB, (height, width) float32, with random grain and strength."""
    height, width = frame
    unit = max(frame) / 256
    rows = max(2, round(height / (unit * rng.uniform(*GRAIN_ALONG))))
    columns = max(2, round(width / (unit * rng.uniform(*GRAIN_ACROSS))))
    table = RAYLEIGH_DB * np.float32(rng.uniform(*SPECKLE_STRENGTH))
    # A random byte selects a quantile: several times faster than sampling the distribution.
    grains = table[np.frombuffer(rng.bytes(rows * columns), np.uint8).reshape(rows, columns)]
    return cv2.resize(grains, (width, height), interpolation=cv2.INTER_CUBIC)


def grey_curve(rng: np.random.Generator) -> np.ndarray:
    """Draw a lookup table (256,) uint8: gamma, then contrast (a factor) and brightness (a fraction of white)."""
    gamma = np.exp(rng.uniform(-1, 1) * np.log(MAX_GAMMA))
    contrast, brightness = rng.uniform(*CONTRAST), rng.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)
    curve = contrast * np.linspace(0, 1, 256) ** gamma + brightness
    return (np.clip(curve, 0, 1) * 255 + 0.5).astype(np.uint8)
