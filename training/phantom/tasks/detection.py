"""The three detection tasks. Each function paints one structure, 1 in the mask, whose extent is the box."""

from collections.abc import Callable

import numpy as np

from training.phantom.anatomy import tissue
from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import arc, blob, ellipse, polar, ribbon, wave

Generator = np.random.Generator


def spinal_cord_injury_loc(canvas: Canvas, rng: Generator) -> None:
    """Paint a bright haematoma in a spinal cord, seen lengthwise between its two dural lines."""
    unit = canvas.unit
    tissue.layers(canvas, rng, [(0.0, 0), (rng.uniform(0.08, 0.16), -3)], 5)
    tissue.striae(canvas, rng, 0.0, 0.25, 10)
    axis = wave(rng, -2, canvas.width + 2, canvas.height * rng.uniform(0.46, 0.58), 0.04 * unit, 60)
    thick = unit * rng.uniform(0.3, 0.38)
    canvas.fill(ribbon(axis, thick + 0.14 * unit), -30, grain=1)
    canvas.fill(ribbon(axis, thick), rng.uniform(-15, -11), grain=2)
    for offset, level in ((-0.07 * unit - thick / 2, 15), (thick / 2 + 0.07 * unit, 13)):
        canvas.stroke(np.add(axis, (0, offset)), level, 0.025 * unit)
    for offset in (-thick / 2, thick / 2):
        canvas.stroke(np.add(axis, (0, offset)), 7, 0.015 * unit)
    canvas.stroke(axis, 2, 0.012 * unit)
    x, y = axis[int(rng.integers(16, 44))]
    y += rng.uniform(-0.12, 0.12) * thick
    outline = blob(rng, x, y, unit * rng.uniform(0.12, 0.3), unit * rng.uniform(0.08, 0.12), rng.uniform(-12, 12), 0.2)
    canvas.fill(outline, rng.uniform(2, 8), grain=2, fine=True, shadow=4, label=1)


def thyroid_nodule_det(canvas: Canvas, rng: Generator) -> None:
    """Paint a nodule in a thyroid lobe."""
    tissue.thyroid(canvas, rng)


def uterine_fibroid_det(canvas: Canvas, rng: Generator) -> None:
    """Paint a whorled dark fibroid in the wall of a uterus with a bright endometrium."""
    unit = canvas.unit
    tissue.layers(canvas, rng, [(0.0, 2), (0.1, -2), (0.2, 2)])
    tissue.striae(canvas, rng, 0.05, 1.0, 20)
    x, y = canvas.at(rng.uniform(0.47, 0.53), rng.uniform(0.5, 0.56))
    a, b, angle = unit * rng.uniform(0.38, 0.44), unit * rng.uniform(0.26, 0.31), rng.uniform(-20, 20)
    uterus = blob(rng, x, y, a, b, angle, 0.06)
    canvas.fill(uterus, rng.uniform(-8, -4), grain=2, fine=True)
    canvas.stroke(uterus, 8, 0.012 * unit, closed=True)
    stripe = arc(polar(x, y, -0.6 * a, angle), polar(x, y, 0.55 * a, angle), unit * rng.uniform(-0.04, 0.04))
    canvas.fill(ribbon(stripe, np.sin(np.linspace(0.1, 0.95, 24) * np.pi) * 0.07 * unit + 1), 8, grain=1)
    size = unit * rng.uniform(0.08, 0.14)
    fx, fy = polar(x, y, rng.uniform(0.4, 0.55) * b, rng.uniform(0, 360))
    outline = blob(rng, fx, fy, size * rng.uniform(1, 1.25), size, rng.uniform(0, 180), 0.05)
    canvas.fill(outline, rng.uniform(-20, -15), grain=2, fine=True, shadow=rng.uniform(4, 9), label=1)
    canvas.stroke(outline, 5, 0.012 * unit, closed=True)
    for ring in (0.35, 0.65):
        canvas.stroke(ellipse(fx, fy, ring * size, ring * size), -5, 1, closed=True, sides=0.8)


DETECTION: dict[str, Callable[[Canvas, Generator], None]] = {
    painter.__name__: painter for painter in (spinal_cord_injury_loc, thyroid_nodule_det, uterine_fibroid_det)
}
