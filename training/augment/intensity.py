"""Changes of grey values as they differ between ultrasound machines; nothing moves, and black stays about black.

Gain, attenuation, shadow and speckle act on the echo's amplitude A. An image shows it compressed, g = 255 * (1 +
20 log10(A) / D) with a dynamic range of D dB, so that a change of L dB is one of 255 * L / D grey levels.
"""

import cv2
import numpy as np

BLUR_CHANCE, TIME_GAIN_CHANCE, ATTENUATION_CHANCE, SHADOW_CHANCE, SPECKLE_CHANCE = 0.25, 0.5, 0.3, 0.25, 0.5
DYNAMIC_RANGE_DB = (45.0, 75.0)
# Sliders of the time-gain control, evenly spaced over depth, and the most that each is off.
TIME_GAIN_SLIDERS = 6
MAX_TIME_GAIN_DB = 8.0
# Two-way loss per height of the frame: 2 * 0.1 dB/(cm MHz) that no time gain makes up for, at 5 MHz, on 15 cm: 15 dB.
ATTENUATION_DB = (4.0, 20.0)
# How deep attenuation and shadow begin at most, as a share of the height.
MAX_ORIGIN = 0.6
SHADOW_DB = (5.0, 25.0)
# Standard deviation of a shadow's profile across, as a share of the width, and how far its foot is spread in depth.
SHADOW_SPREAD = (0.02, 0.1)
SHADOW_ONSET = 0.05
# 1 is the speckle of one look; n looks averaged leave 1 / sqrt(n).
SPECKLE_STRENGTH = (0.1, 0.6)
# Size of a grain in pixels per 256 of the frame's longer side: across the beam and along it.
GRAIN_ACROSS, GRAIN_ALONG = (1.5, 5.0), (1.0, 2.5)
BLUR_ACROSS, BLUR_ALONG = (0.4, 1.8), (0.3, 1.2)
MAX_GAMMA = 1.5
CONTRAST = (0.75, 1.3)
MAX_BRIGHTNESS = 0.05

# Fields that are smooth are computed on a grid as much coarser than the frame.
_COARSE = 4


def augment_intensity(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photometric changes of an (H, W, 3) 8-bit image, each at random and none of them a mirror or shift."""
    if rng.random() < BLUR_CHANCE:
        image = blur(image, rng)
    levels = echo_levels(image.shape[:2], rng)
    if levels is not None:
        image = add_decibels(image, levels, rng.uniform(*DYNAMIC_RANGE_DB))
    return cv2.LUT(image, grey_curve(rng))


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A wider point spread, mostly wider across the beam than along it."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(*BLUR_ACROSS), sigmaY=rng.uniform(*BLUR_ALONG))


def add_decibels(image: np.ndarray, levels: np.ndarray, dynamic_range: float) -> np.ndarray:
    """Change the echoes of an (H, W, 3) 8-bit image by `levels` (H, W) float32 in dB.

    A pixel at most doubles, so that what is black, outside the field of view or below the range, stays black.
    """
    grey = levels * np.float32(255.0 / dynamic_range)
    gain, loss = (np.clip(part, 0, 255).astype(np.uint8) for part in (grey, -grey))
    brighter = cv2.add(image, cv2.min(image, cv2.merge([gain, gain, gain])))
    return cv2.subtract(brighter, cv2.merge([loss, loss, loss]))


def echo_levels(frame: tuple[int, int], rng: np.random.Generator) -> np.ndarray | None:
    """A random change of the echoes in dB, (height, width) float32; None where nothing is drawn."""
    height, width = frame
    down = (np.arange(0, height, _COARSE, dtype=np.float32)[:, None] + _COARSE / 2) / height
    across = (np.arange(0, width, _COARSE, dtype=np.float32)[None, :] + _COARSE / 2) / width
    smooth: list[np.ndarray] = []
    if rng.random() < TIME_GAIN_CHANCE:
        smooth.append(time_gain(down, rng))
    if rng.random() < ATTENUATION_CHANCE:
        smooth.append(-attenuation(down, rng))
    if rng.random() < SHADOW_CHANCE:
        smooth.append(-shadow(across, down, rng))
    levels = None
    if smooth:
        coarse = np.zeros((down.size, across.size), dtype=np.float32)
        for field in smooth:
            coarse += field
        levels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < SPECKLE_CHANCE:
        grain = speckle(frame, rng)
        levels = grain if levels is None else cv2.add(levels, grain)
    return levels


def time_gain(down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The gain in dB at depths `down` (shares of the height): straight lines between sliders that are off."""
    sliders = rng.uniform(-MAX_TIME_GAIN_DB, MAX_TIME_GAIN_DB, TIME_GAIN_SLIDERS)
    return np.interp(down, np.linspace(0, 1, TIME_GAIN_SLIDERS), sliders).astype(np.float32)


def attenuation(down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The loss in dB at depths `down` (shares of the height), from a random depth downwards.

    The amplitude falls off exponentially, A = A0 * 10^(-L / 20), so that the loss grows with depth as
    L = 2 * a * f * (z - z0): a in dB/(cm MHz), frequency f in MHz, depth z in cm, and twice for there and back.
    """
    origin, loss = rng.uniform(0, MAX_ORIGIN), rng.uniform(*ATTENUATION_DB)
    return np.float32(loss) * np.maximum(down - np.float32(origin), 0)


def shadow(across: np.ndarray, down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The loss in dB, (rows, columns), behind something at a random place that stops the sound.

    It follows the beams, which meet above the frame and spread with depth.
    """
    centre, origin, rise = rng.uniform(0, 1), rng.uniform(0, MAX_ORIGIN), rng.uniform(0.3, 5)
    spread, loss = rng.uniform(*SHADOW_SPREAD), rng.uniform(*SHADOW_DB)
    # A beam that is `beam` off the middle where the shadow begins is this many times as far off at depth `down`.
    widening = (down + np.float32(rise)) / np.float32(origin + rise)
    beam = (across - 0.5) / widening + 0.5
    profile = np.exp(-0.5 * ((beam - np.float32(centre)) / np.float32(spread)) ** 2)
    onset = np.clip((down - np.float32(origin)) / SHADOW_ONSET, 0, 1)
    return np.float32(loss) * profile * onset


def _rayleigh_decibels() -> np.ndarray:
    """The level in dB at each of 256 quantiles of fully developed speckle, with mean 0 and a deviation of 5.6.

    Its amplitude has a Rayleigh distribution (Wagner et al., "Statistics of Speckle in Ultrasound B-Scans", 1983),
    whose quantile u is sqrt(-2 ln(1 - u)).
    """
    quantiles = (np.arange(256) + 0.5) / 256
    levels = 10 * np.log10(-np.log1p(-quantiles))
    return (levels - levels.mean()).astype(np.float32)


RAYLEIGH_DB = _rayleigh_decibels()


def speckle(frame: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Multiplicative noise of the amplitude in dB, (height, width) float32, in grains of random size and strength."""
    height, width = frame
    unit = max(frame) / 256
    rows = max(2, round(height / (unit * rng.uniform(*GRAIN_ALONG))))
    columns = max(2, round(width / (unit * rng.uniform(*GRAIN_ACROSS))))
    table = RAYLEIGH_DB * np.float32(rng.uniform(*SPECKLE_STRENGTH))
    # A byte picks a quantile: several times faster than drawing from the distribution.
    grains = table[np.frombuffer(rng.bytes(rows * columns), np.uint8).reshape(rows, columns)]
    return cv2.resize(grains, (width, height), interpolation=cv2.INTER_CUBIC)


def grey_curve(rng: np.random.Generator) -> np.ndarray:
    """A lookup table (256,) uint8: gamma, then contrast (a factor) and brightness (a share of white)."""
    gamma = np.exp(rng.uniform(-1, 1) * np.log(MAX_GAMMA))
    contrast, brightness = rng.uniform(*CONTRAST), rng.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)
    curve = contrast * np.linspace(0, 1, 256) ** gamma + brightness
    return (np.clip(curve, 0, 1) * 255 + 0.5).astype(np.uint8)
