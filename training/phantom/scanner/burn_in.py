"""Burn text and graphics into an image: names, settings, a date, a depth ruler, a grey bar, an orientation mark.

They are independent of task and label, and never inside the field of view.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.phantom.scanner.profiles import Scanner

Picture = NDArray[np.uint8]
FONT = cv2.FONT_HERSHEY_SIMPLEX
# Shorter side of the image, in pixels, at which letters have their nominal size.
UNIT = 220
FONT_SCALE = 0.28  # at that size
CLEAN_CHANCE = 0.2  # probability of an image without text and graphics


def draw_burn_in(image: Picture, field: NDArray[np.bool_], scanner: Scanner, rng: np.random.Generator) -> None:
    """Draw the burn-in of `scanner` on `image` (H, W), in place, outside the field of view `field` (H, W) bool."""
    layer = np.zeros_like(image)
    if rng.random() >= CLEAN_CHANCE:
        _draw(layer, field, scanner, rng)
    outside = ~field
    image[outside] = layer[outside]


def _draw(layer: Picture, field: NDArray[np.bool_], scanner: Scanner, rng: np.random.Generator) -> None:
    bright = int(rng.integers(150, 240))
    settings = _settings(scanner, rng)
    for template, x, y in scanner.burn_in.texts:
        _write(layer, field, template.format(**settings), (x, y), bright)
    _draw_ruler(layer, scanner, bright)
    _draw_bar(layer, scanner)
    _draw_mark(layer, scanner, bright)


def _settings(scanner: Scanner, rng: np.random.Generator) -> dict[str, str]:
    """Draw the values of the placeholders in the text templates."""
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


def _write(layer: Picture, field: NDArray[np.bool_], text: str, start: tuple[float, float], bright: int) -> None:
    """Write a line of text, unless it would overlap the field of view."""
    height, width = layer.shape
    scale = FONT_SCALE * min(height, width) / UNIT
    (long, high), _ = cv2.getTextSize(text, FONT, scale, 1)
    y = round(start[1] * height)
    x = round(start[0] * width) if start[0] >= 0 else round((1 + start[0]) * width) - long
    if x >= 0 and not field[max(0, y - high) : y + 1, x : x + long].any():
        cv2.putText(layer, text, (x, y), FONT, scale, bright, 1, cv2.LINE_AA)


def _draw_ruler(layer: Picture, scanner: Scanner, bright: int) -> None:
    """Draw ticks along the field of view, every 5 mm, or 10 mm if the image is deep; every fifth is longer."""
    geometry = scanner.geometry(*layer.shape)
    step, side = (5 if scanner.depth < 100 else 10), (1 if scanner.burn_in.side == "right" else -1)
    size = 0.012 * min(layer.shape)
    for number in range(1, int(scanner.depth / step) + 1):
        x, y = geometry.edge(number * step / scanner.depth, side)
        length = size * (2 if number % 5 == 0 else 1)
        ends = (round(x + side * size), round(y)), (round(x + side * (size + length)), round(y))
        cv2.line(layer, *ends, bright, 1)


def _draw_bar(layer: Picture, scanner: Scanner) -> None:
    """Draw the grey bar, white at the top."""
    height, width = layer.shape
    x, y = round(scanner.burn_in.bar[0] * width), round(scanner.burn_in.bar[1] * height)
    long, wide = round(0.25 * height), max(2, round(0.018 * width))
    layer[y : y + long, x : x + wide] = np.linspace(255, 0, long)[: height - y, None]


def _draw_mark(layer: Picture, scanner: Scanner, bright: int) -> None:
    """Draw the orientation mark next to the field of view, or above it if a linear probe's image has a top margin."""
    unit = min(layer.shape)
    side = 1 if scanner.burn_in.side == "right" else -1
    x, y = scanner.geometry(*layer.shape).edge(0, -side)
    right, down = (0.01, -0.02) if scanner.margin[0] else (-side * 0.045 - 0.015, 0.045)
    scale = 1.5 * FONT_SCALE * unit / UNIT
    cv2.putText(layer, scanner.burn_in.mark, (round(x + right * unit), round(y + down * unit)), FONT, scale, bright, 1,
                cv2.LINE_AA)  # fmt: skip
