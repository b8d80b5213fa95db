"""What a machine writes beside its picture: names, settings, a date, a depth ruler, a grey bar and the probe's mark.

Nothing here knows the case's task or label, and nothing is drawn within the field of view.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.phantom.scanner.profiles import Scanner

Picture = NDArray[np.uint8]
FONT = cv2.FONT_HERSHEY_SIMPLEX
# Shorter side of the image, in pixels, at which letters have their usual size.
UNIT = 220
LETTERS = 0.28  # font scale there
CLEAN = 0.2  # part of the images that were stored without any of it


def write_screen(image: Picture, field: NDArray[np.bool_], scanner: Scanner, rng: np.random.Generator) -> None:
    """Writes on the (H, W) `image` what `scanner` writes, outside the bool `field` of view of the same shape."""
    layer = np.zeros_like(image)
    if rng.random() >= CLEAN:
        _draw(layer, field, scanner, rng)
    outside = ~field
    image[outside] = layer[outside]


def _draw(layer: Picture, field: NDArray[np.bool_], scanner: Scanner, rng: np.random.Generator) -> None:
    bright = int(rng.integers(150, 240))
    settings = _settings(scanner, rng)
    for template, x, y in scanner.screen.texts:
        _write(layer, field, template.format(**settings), (x, y), bright)
    _draw_ruler(layer, scanner, bright)
    _draw_bar(layer, scanner)
    _draw_mark(layer, scanner, bright)


def _settings(scanner: Scanner, rng: np.random.Generator) -> dict[str, str]:
    """What the templates of the texts may name, drawn anew."""
    day = f"{rng.integers(1, 29):02d}", f"{rng.integers(1, 13):02d}", f"{rng.integers(2008, 2025)}"
    return {
        "date": "/".join(day) if scanner.half_angle else "-".join(day[::-1]),
        "time": f"{rng.integers(7, 19):02d}:{rng.integers(60):02d}:{rng.integers(60):02d}",
        "gain": str(rng.integers(35, 75)),
        "range": f"{scanner.dynamic_range:.0f}",
        "frame": str(rng.integers(12, 80)),
        "mi": f"{rng.uniform(0.5, 1.4):.1f}",
        "frequency": f"{scanner.frequency:.1f}",
        "depth": f"{scanner.depth / 10:.1f}",
    }


def _write(layer: Picture, field: NDArray[np.bool_], text: str, place: tuple[float, float], bright: int) -> None:
    """Writes a line of text, or nothing where the field of view leaves too little room for it."""
    height, width = layer.shape
    scale = LETTERS * min(height, width) / UNIT
    (long, high), _ = cv2.getTextSize(text, FONT, scale, 1)
    y = round(place[1] * height)
    x = round(place[0] * width) if place[0] >= 0 else round((1 + place[0]) * width) - long
    if x >= 0 and not field[max(0, y - high) : y + 1, x : x + long].any():
        cv2.putText(layer, text, (x, y), FONT, scale, bright, 1, cv2.LINE_AA)


def _draw_ruler(layer: Picture, scanner: Scanner, bright: int) -> None:
    """Ticks along the field's edge: every 5 mm of a shallow picture, every 10 mm of a deep one, each fifth longer."""
    geometry = scanner.geometry(*layer.shape)
    step, side = (5 if scanner.depth < 100 else 10), (1 if scanner.screen.side == "right" else -1)
    size = 0.012 * min(layer.shape)
    for number in range(1, int(scanner.depth / step) + 1):
        x, y = geometry.edge(number * step / scanner.depth, side)
        length = size * (2 if number % 5 == 0 else 1)
        ends = (round(x + side * size), round(y)), (round(x + side * (size + length)), round(y))
        cv2.line(layer, *ends, bright, 1)


def _draw_bar(layer: Picture, scanner: Scanner) -> None:
    """The grey bar: white on top."""
    height, width = layer.shape
    x, y = round(scanner.screen.bar[0] * width), round(scanner.screen.bar[1] * height)
    long, wide = round(0.25 * height), max(2, round(0.018 * width))
    layer[y : y + long, x : x + wide] = np.linspace(255, 0, long)[: height - y, None]


def _draw_mark(layer: Picture, scanner: Scanner, bright: int) -> None:
    """The letter beside the probe's marked end; a linear probe's picture has it above where its rim leaves room."""
    unit = min(layer.shape)
    side = 1 if scanner.screen.side == "right" else -1
    x, y = scanner.geometry(*layer.shape).edge(0, -side)
    aside, down = (0.01, -0.02) if scanner.rim[0] else (-side * 0.045 - 0.015, 0.045)
    scale = 1.5 * LETTERS * unit / UNIT
    cv2.putText(layer, scanner.screen.mark, (round(x + aside * unit), round(y + down * unit)), FONT, scale, bright, 1,
                cv2.LINE_AA)  # fmt: skip
