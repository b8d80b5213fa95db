"""The organs of the belly. Sizes are in pixels, angles in degrees."""

import numpy as np

from training.phantom.canvas import Canvas
from training.phantom.shapes import arc, blob, ellipse, polar, ribbon, wave
from training.phantom.tissue import below, layers, striae

Generator = np.random.Generator


def belly(canvas: Canvas, rng: Generator) -> None:
    """Skin, fat and muscle of the abdominal wall."""
    layers(canvas, rng, [(0.0, 3), (0.06, -5), (0.13, -2)])
    striae(canvas, rng, 0.03, 0.16, 12)


def liver(canvas: Canvas, rng: Generator) -> None:
    """Even parenchyma with vessels under the bright curve of the diaphragm."""
    belly(canvas, rng)
    canvas.fill(below(canvas, wave(rng, 0, canvas.width, 0.17 * canvas.height, 0.01 * canvas.unit)), 1, grain=0.8,
                fine=True)  # fmt: skip
    for _ in range(int(rng.integers(4, 8))):
        start = canvas.at(rng.uniform(0.2, 0.8), rng.uniform(0.28, 0.7))
        end = polar(*start, canvas.unit * rng.uniform(0.15, 0.35), rng.uniform(-60, 120))
        way = arc(start, end, rng.uniform(-0.04, 0.04) * canvas.unit)
        vessel = ribbon(way, np.linspace(0.04, 0.012, 24) * canvas.unit)
        canvas.fill(vessel, -23, grain=1)
        canvas.stroke(vessel, rng.uniform(0, 6), 1, closed=True)
    dome = arc(canvas.at(0.0, 0.95), canvas.at(1.0, 0.78), -0.14 * canvas.unit)
    canvas.fill(below(canvas, dome), -18)
    canvas.stroke(dome, 19, 0.025 * canvas.unit)


def spleen(canvas: Canvas, rng: Generator) -> None:
    """An even crescent under the diaphragm, without vessels, beside dark shadowing stomach gas."""
    belly(canvas, rng)
    unit = canvas.unit
    x, y = canvas.at(rng.uniform(0.48, 0.54), rng.uniform(0.5, 0.56))
    tilt = rng.uniform(-30, 10)
    axis = arc(polar(x, y, -0.38 * unit, tilt), polar(x, y, 0.38 * unit, tilt), rng.uniform(-0.1, -0.06) * unit)
    crescent = ribbon(axis, np.sin(np.linspace(0.06, 0.94, 24) * np.pi) ** 0.7 * rng.uniform(0.25, 0.31) * unit)
    canvas.fill(below(canvas, np.array([[0, y], [canvas.width, y]])), -14, grain=3)
    canvas.fill(crescent, rng.uniform(0, 4), grain=0.6, fine=True)
    canvas.stroke(crescent, 14, 0.016 * unit, closed=True, sides=0.3)


def kidney(canvas: Canvas, rng: Generator) -> None:
    """A dark bean with pyramids about its bright sinus."""
    belly(canvas, rng)
    unit = canvas.unit
    x, y = canvas.at(rng.uniform(0.46, 0.54), rng.uniform(0.48, 0.58))
    a, b, tilt = unit * rng.uniform(0.31, 0.38), unit * rng.uniform(0.16, 0.2), rng.uniform(-35, 35)
    outline = blob(rng, x, y, a, b, tilt, 0.04)
    canvas.fill(outline, rng.uniform(-12, -8), grain=1, fine=True)
    canvas.stroke(outline, 11, 0.014 * unit, closed=True)
    for along in np.linspace(-0.65, 0.65, 5):
        for side in (-1, 1):
            spot = polar(*polar(x, y, along * a, tilt), side * 0.6 * b * np.sqrt(1 - along**2), tilt + 90)
            canvas.fill(ellipse(*spot, 0.1 * a, 0.16 * b, tilt, 20), -19, grain=1)
    canvas.fill(blob(rng, x, y, 0.6 * a, 0.34 * b, tilt, 0.2), rng.uniform(8, 12), grain=3, fine=True, shadow=3)


def gallbladder(canvas: Canvas, rng: Generator) -> None:
    """A small dark pear with a bright wall in the liver; now and then a stone with its shadow."""
    liver(canvas, rng)
    unit = canvas.unit
    x, y = canvas.at(rng.uniform(0.44, 0.56), rng.uniform(0.46, 0.56))
    tilt, length = rng.uniform(-40, 40), unit * rng.uniform(0.3, 0.4)
    axis = arc(polar(x, y, -length / 2, tilt), polar(x, y, length / 2, tilt), 0)
    t = np.linspace(0, 1, len(axis))
    pear = ribbon(axis, np.sqrt(np.sin(np.pi * t)) * np.interp(t, [0, 0.4, 1], [0.1, 0.15, 0.22]) * unit + 1)
    canvas.fill(pear, rng.uniform(-38, -32), grain=1, shadow=-9)
    canvas.stroke(pear, 14, 0.016 * unit, closed=True, sides=0.6)
    if rng.random() < 0.4:
        sx, sy = axis[16]
        canvas.fill(ellipse(sx, sy + 0.07 * unit, 0.03 * unit, 0.02 * unit, 0, 16), 20, shadow=26)


def bladder(canvas: Canvas, rng: Generator) -> None:
    """A wide black lake with a thick wall and strong enhancement behind it."""
    belly(canvas, rng)
    unit = canvas.unit
    x, y = canvas.at(rng.uniform(0.47, 0.53), rng.uniform(0.44, 0.52))
    lake = blob(rng, x, y, unit * rng.uniform(0.34, 0.44), unit * rng.uniform(0.2, 0.26), rng.uniform(-8, 8), 0.1)
    canvas.stroke(lake, 9, 0.045 * unit, closed=True, sides=0.8)
    canvas.fill(lake, -42, grain=1, shadow=-12)


def bowel(canvas: Canvas, rng: Generator) -> None:
    """Loops with layered walls, some filled with gas that casts a dirty shadow."""
    belly(canvas, rng)
    unit = canvas.unit
    for x, y in ((0.3, 0.42), (0.52, 0.36), (0.7, 0.46), (0.42, 0.64), (0.62, 0.68)):
        cx, cy = canvas.at(x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.04, 0.04))
        size, tilt = unit * rng.uniform(0.09, 0.13), rng.uniform(-30, 30)
        gas = rng.random() < 0.45
        for part, level in ((1.0, -14), (0.72, 4), (0.5, -20 if not gas else 12)):
            loop = blob(rng, cx, cy, 1.15 * part * size, part * size, tilt, 0.08)
            canvas.fill(loop, level, grain=2, fine=True, shadow=14 if gas and part == 0.5 else 0)
        canvas.stroke(ellipse(cx, cy, 1.15 * size, size, tilt), 9, 0.01 * unit, closed=True)
