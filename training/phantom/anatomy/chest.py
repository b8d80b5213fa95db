"""Pleura, ribs and lung. Sizes are in pixels, angles in degrees."""

import numpy as np

from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import Curve, arc, wave
from training.phantom.anatomy.tissue import below, layers, striae

Generator = np.random.Generator


def chest_wall(canvas: Canvas, rng: Generator) -> Curve:
    """Paint skin, muscle and pleura over dark lung; return the pleural line from left to right."""
    pleura = wave(rng, 0, canvas.width, canvas.height * rng.uniform(0.24, 0.36), 0.012 * canvas.unit, 60)
    layers(canvas, rng, [(0.0, 4), (0.05, -4), (0.12, -9)])
    striae(canvas, rng, 0.06, 0.22, 18)
    canvas.fill(below(canvas, pleura), rng.uniform(-27, -23), grain=2)
    return pleura


def ribs(canvas: Canvas, rng: Generator, pleura: Curve) -> None:
    """Paint two ribs with their shadows, left and right of the intercostal space."""
    for x in (rng.uniform(0.06, 0.16), rng.uniform(0.84, 0.94)):
        cx, cy = x * canvas.width, pleura[0, 1] - 0.1 * canvas.unit
        line = arc((cx - 0.1 * canvas.unit, cy), (cx + 0.1 * canvas.unit, cy), -0.04 * canvas.unit)
        canvas.stroke(line, 18, 0.025 * canvas.unit, shadow=30)


def a_lines(canvas: Canvas, rng: Generator, pleura: Curve) -> None:
    """Paint A-lines: reverberations at multiples of the pleura's depth, a sign of air in the lung."""
    for turn_number in range(2, 5):
        line = pleura * (1, turn_number)
        canvas.stroke(line, 8 - 3.5 * turn_number + rng.uniform(-1, 1), 0.013 * canvas.unit)


def b_lines(canvas: Canvas, rng: Generator, pleura: Curve, count: int) -> None:
    """Paint `count` B-lines: bright trails along the beam from the pleura to the bottom, a sign of fluid."""
    for centre in np.linspace(0.5 - 0.07 * count, 0.5 + 0.07 * count, count) + rng.uniform(-0.04, 0.04, count):
        start = int(centre * len(pleura))
        strength, core = rng.uniform(18, 26), rng.uniform(0.012, 0.03)
        # Two strokes make it brighter in the middle.
        for width, share in ((core + 0.02, 0.6), (core, 0.4)):
            canvas.stroke(pleura[start : start + 3], 12, width * canvas.unit, shadow=-strength * share)


def consolidation(canvas: Canvas, rng: Generator, pleura: Curve) -> None:
    """Paint consolidated lung under the pleura, with bright air bronchograms and a ragged lower border."""
    unit = canvas.unit
    start, end = sorted(int(i) for i in (rng.uniform(10, 16), rng.uniform(44, 50)))
    top = pleura[start:end]
    depth = unit * rng.uniform(0.22, 0.36)
    ragged = top + np.column_stack([np.zeros(len(top)), depth * rng.uniform(0.75, 1.15, len(top))])
    canvas.fill(np.vstack([top, ragged[::-1]]), rng.uniform(-5, 0), grain=2, fine=True)
    canvas.stroke(ragged, 12, 0.02 * unit, sides=0.8)
    for _ in range(int(rng.integers(4, 9))):
        x, y = top[int(rng.integers(4, len(top) - 4))] + (0, rng.uniform(0.15, 0.6) * depth)
        canvas.stroke(wave(rng, x - 0.04 * unit, x + 0.04 * unit, y, 0.01 * unit, 6), 14, 0.014 * unit, sides=0.8)
