"""Burned-in graphics, drawn at random places whatever the label: text, calipers, dotted lines and rulers."""

from collections.abc import Callable

import cv2
import numpy as np

CHANCE = 0.3
# How many graphics an image gets where it gets any.
COUNT = (1, 4)
WORDS = ("Dist", "D", "A", "B", "1", "2", "L", "R", "Depth", "Gain", "DR", "MI", "TIs", "TIb", "Frq", "FR", "Vol", "ID")
UNITS = ("cm", "mm", "dB", "MHz", "%", "Hz", "")
# Letter height is a share of the frame's shorter side; OpenCV's Hershey letters are about 21 pixels high at scale 1.
TEXT_HEIGHT = (0.025, 0.05)
HERSHEY_HEIGHT = 21.0
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX)
CALIPER_ARM = (0.01, 0.025)
DOT_GAP = (0.012, 0.03)
RULER_GAP = (0.04, 0.12)

Colour = tuple[int, int, int]


def draw_graphics(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) 8-bit RGB with a few burned-in graphics now and then. The input is left as it is."""
    if rng.random() >= CHANCE:
        return image
    image = image.copy()
    for _ in range(rng.integers(*COUNT, endpoint=True)):
        KINDS[rng.integers(len(KINDS))](image, _colour(rng), rng)
    return image


def text(image: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:
    """One to three lines of a word, a number and a unit."""
    height = rng.uniform(*TEXT_HEIGHT) * min(image.shape[:2])
    font = FONTS[rng.integers(len(FONTS))]
    x, y = _place(image, rng)
    for line in range(rng.integers(1, 4)):
        number = f"{rng.uniform(0, 100):.{rng.integers(3)}f}"
        said = f"{WORDS[rng.integers(len(WORDS))]} {number} {UNITS[rng.integers(len(UNITS))]}"
        at = (x, y + round(1.6 * height * line))
        cv2.putText(image, said, at, font, height / HERSHEY_HEIGHT, colour, 1, cv2.LINE_AA)


def calipers(image: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:
    """Two crosses, upright or slanted, mostly with a dotted line between them."""
    arm = max(2, round(rng.uniform(*CALIPER_ARM) * min(image.shape[:2])))
    mark = (cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS)[rng.integers(2)]
    ends = _place(image, rng), _place(image, rng)
    for end in ends:
        cv2.drawMarker(image, end, colour, mark, 2 * arm + 1, 1)
    if rng.random() < 0.7:
        _dots(image, *ends, colour, rng)


def dotted_line(image: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:
    """A dotted line between two places, or a dotted ellipse about one."""
    if rng.random() < 0.5:
        _dots(image, _place(image, rng), _place(image, rng), colour, rng)
        return
    axes = rng.uniform(0.05, 0.35, 2) * min(image.shape[:2])
    outline = cv2.ellipse2Poly(_place(image, rng), tuple(int(a) for a in axes), int(rng.integers(180)), 0, 360, 6)
    for x, y in outline:
        cv2.circle(image, (int(x), int(y)), 0, colour, -1)


def ruler(image: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:
    """Ticks along one side of the frame, each fifth one longer."""
    height, width = image.shape[:2]
    gap = rng.uniform(*RULER_GAP) * height
    x = round(width * (rng.uniform(0, 0.06) if rng.random() < 0.5 else rng.uniform(0.94, 1)))
    for index, y in enumerate(np.arange(rng.uniform(0, gap), height, gap)):
        length = round(width * (0.02 if index % 5 == 0 else 0.01))
        cv2.line(image, (x - length, round(y)), (x + length, round(y)), colour, 1)


KINDS: tuple[Callable[[np.ndarray, Colour, np.random.Generator], None], ...] = (text, calipers, dotted_line, ruler)


def _dots(
    image: np.ndarray, start: tuple[int, int], end: tuple[int, int], colour: Colour, rng: np.random.Generator
) -> None:
    gap = max(2.0, rng.uniform(*DOT_GAP) * min(image.shape[:2]))
    for x, y in np.linspace(start, end, max(2, round(np.hypot(end[0] - start[0], end[1] - start[1]) / gap))):
        cv2.circle(image, (round(x), round(y)), 0, colour, -1)


def _place(image: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(image.shape[1])), int(rng.integers(image.shape[0]))


def _colour(rng: np.random.Generator) -> Colour:
    """Grey, yellowish or greenish, of middling to full brightness."""
    level = rng.uniform(110, 255)
    red, green, blue = ((1, 1, 1), (1, 0.95, 0.3), (0.4, 1, 0.4))[rng.integers(3)]
    return round(level * red), round(level * green), round(level * blue)
