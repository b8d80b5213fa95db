"""Draw burned-in overlays at random positions, independent of the label: text, calipers, dotted lines and rulers."""

from collections.abc import Callable

import cv2
import numpy as np

CHANCE = 0.3
# Minimum and maximum number of overlays on an image that gets any.
COUNT = (1, 4)
WORDS = ("Dist", "D", "A", "B", "1", "2", "L", "R", "Depth", "Gain", "DR", "MI", "TIs", "TIb", "Frq", "FR", "Vol", "ID")
UNITS = ("cm", "mm", "dB", "MHz", "%", "Hz", "")
# Letter height as a fraction of the frame's shorter side; OpenCV's Hershey fonts are about 21 pixels high at scale 1.
TEXT_HEIGHT = (0.025, 0.05)
HERSHEY_HEIGHT = 21.0
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX)
CALIPER_ARM = (0.01, 0.025)
DOT_GAP = (0.012, 0.03)
RULER_GAP = (0.04, 0.12)

Colour = tuple[int, int, int]


def draw_overlays(image: np.ndarray, rng: np.random.Generator, chance: float = CHANCE) -> np.ndarray:
    """Draw a few overlays on a copy of an image (H, W, 3) uint8 RGB, with probability `chance`."""
    if rng.random() >= chance:
        return image
    image = image.copy()
    for _ in range(rng.integers(*COUNT, endpoint=True)):
        OVERLAYS[rng.integers(len(OVERLAYS))](image, _colour(rng), rng)
    return image


def text(image: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:
    """Write one to three lines of a word, a number and a unit."""
    height = rng.uniform(*TEXT_HEIGHT) * min(image.shape[:2])
    font = FONTS[rng.integers(len(FONTS))]
    x, y = _position(image, rng)
    for line in range(rng.integers(1, 4)):
        number = f"{rng.uniform(0, 100):.{rng.integers(3)}f}"
        words = f"{WORDS[rng.integers(len(WORDS))]} {number} {UNITS[rng.integers(len(UNITS))]}"
        start = (x, y + round(1.6 * height * line))
        cv2.putText(image, words, start, font, height / HERSHEY_HEIGHT, colour, 1, cv2.LINE_AA)


def calipers(image: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:
    """Draw two crosses, upright or slanted, usually with a dotted line between them."""
    arm = max(2, round(rng.uniform(*CALIPER_ARM) * min(image.shape[:2])))
    mark = (cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS)[rng.integers(2)]
    ends = _position(image, rng), _position(image, rng)
    for end in ends:
        cv2.drawMarker(image, end, colour, mark, 2 * arm + 1, 1)
    if rng.random() < 0.7:
        _dots(image, *ends, colour, rng)


def dotted_line(image: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:
    """Draw a dotted line between two positions, or a dotted ellipse around one."""
    if rng.random() < 0.5:
        _dots(image, _position(image, rng), _position(image, rng), colour, rng)
        return
    axes = rng.uniform(0.05, 0.35, 2) * min(image.shape[:2])
    outline = cv2.ellipse2Poly(_position(image, rng), tuple(int(a) for a in axes), int(rng.integers(180)), 0, 360, 6)
    for x, y in outline:
        cv2.circle(image, (int(x), int(y)), 0, colour, -1)


def ruler(image: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:
    """Draw ticks along one side of the frame, every fifth one longer."""
    height, width = image.shape[:2]
    gap = rng.uniform(*RULER_GAP) * height
    x = round(width * (rng.uniform(0, 0.06) if rng.random() < 0.5 else rng.uniform(0.94, 1)))
    for index, y in enumerate(np.arange(rng.uniform(0, gap), height, gap)):
        length = round(width * (0.02 if index % 5 == 0 else 0.01))
        cv2.line(image, (x - length, round(y)), (x + length, round(y)), colour, 1)


OVERLAYS: tuple[Callable[[np.ndarray, Colour, np.random.Generator], None], ...] = (text, calipers, dotted_line, ruler)


def _dots(
    image: np.ndarray, start: tuple[int, int], end: tuple[int, int], colour: Colour, rng: np.random.Generator
) -> None:
    gap = max(2.0, rng.uniform(*DOT_GAP) * min(image.shape[:2]))
    for x, y in np.linspace(start, end, max(2, round(np.hypot(end[0] - start[0], end[1] - start[1]) / gap))):
        cv2.circle(image, (round(x), round(y)), 0, colour, -1)


def _position(image: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(image.shape[1])), int(rng.integers(image.shape[0]))


def _colour(rng: np.random.Generator) -> Colour:
    """Draw a colour: grey, yellowish or greenish, of medium to full brightness."""
    level = rng.uniform(110, 255)
    red, green, blue = ((1, 1, 1), (1, 0.95, 0.3), (0.4, 1, 0.4))[rng.integers(3)]
    return round(level * red), round(level * green), round(level * blue)
