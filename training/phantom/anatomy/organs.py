"""Abdominal organs. Sizes are in pixels, angles in degrees."""

import numpy as np

from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import arc, blob, ellipse, polar, ribbon, wave
from training.phantom.anatomy.tissue import below, layers, striae

Generator = np.random.Generator


def belly(canvas: Canvas, rng: Generator) -> None:
    """Paint skin, fat and muscle of the abdominal wall."""
    layers(canvas, rng, [(0.0, 3), (0.06, -5), (0.13, -2)])
    striae(canvas, rng, 0.03, 0.16, 12)


def liver(canvas: Canvas, rng: Generator) -> None:
    """Paint homogeneous parenchyma with vessels, and the bright curve of the diaphragm."""
    belly(canvas, rng)
    canvas.fill(below(canvas, wave(rng, 0, canvas.width, 0.17 * canvas.height, 0.01 * canvas.unit)), 1, grain=0.8,
                fine=True)  # fmt: skip
    # Hepatic veins join under the diaphragm and have no visible walls; portal branches have bright walls.
    confluence = canvas.at(rng.uniform(0.4, 0.6), 0.74)
    for heading in np.linspace(205, 335, 3) + rng.uniform(-12, 12, 3):
        end = polar(*confluence, canvas.unit * rng.uniform(0.3, 0.45), heading)
        vein = arc(confluence, end, rng.uniform(-0.05, 0.05) * canvas.unit)
        canvas.fill(ribbon(vein, np.linspace(0.04, 0.008, 24) * canvas.unit), -24, grain=1)
    for _ in range(int(rng.integers(3, 7))):
        start = canvas.at(rng.uniform(0.1, 0.9), rng.uniform(0.28, 0.66))
        end = polar(*start, canvas.unit * rng.uniform(0.08, 0.18), rng.uniform(-30, 30))
        branch = ribbon(arc(start, end, 0.0), np.linspace(0.028, 0.014, 24) * canvas.unit)
        canvas.fill(branch, -20, grain=1)
        canvas.stroke(branch, rng.uniform(5, 9), 1, closed=True, sides=0.6)
    dome = arc(canvas.at(0.0, 0.95), canvas.at(1.0, 0.78), -0.14 * canvas.unit)
    canvas.fill(below(canvas, dome), -18)
    canvas.stroke(dome, 19, 0.025 * canvas.unit)


def spleen(canvas: Canvas, rng: Generator) -> None:
    """Paint a homogeneous crescent along the diaphragm, with vessels at the hilum and gas in the stomach next to it."""
    belly(canvas, rng)
    unit = canvas.unit
    x, y = canvas.at(rng.uniform(0.48, 0.54), rng.uniform(0.48, 0.54))
    tilt = rng.uniform(-35, 5)
    ends = polar(x, y, -0.42 * unit, tilt), polar(x, y, 0.42 * unit, tilt)
    outer = arc(*ends, -unit * rng.uniform(0.18, 0.23))
    inner = arc(*ends, unit * rng.uniform(-0.04, 0.06))
    canvas.fill(below(canvas, np.add(inner, (0, 0.02 * unit))), rng.uniform(-14, -9), grain=3)
    gas = polar(x, y, 0.3 * unit, tilt + rng.uniform(50, 80))
    canvas.fill(blob(rng, *gas, 0.16 * unit, 0.05 * unit, tilt, 0.2), rng.uniform(5, 9), grain=4, fine=True, shadow=16)
    canvas.stroke(np.subtract(outer, (0, 0.02 * unit)), 12, 0.012 * unit, sides=0.3)
    canvas.fill(np.vstack([outer, inner[::-1]]), rng.uniform(0, 4), grain=0.6, fine=True)
    canvas.stroke(inner, 7, 0.01 * unit)
    for heading in (250, 285):
        hilum = polar(x, y + 0.05 * unit, 0.12 * unit, tilt + heading + rng.uniform(-12, 12))
        vessel = ribbon(arc((x, y + 0.05 * unit), hilum, 0), np.linspace(0.028, 0.01, 24) * unit)
        canvas.fill(vessel, -24, grain=1)


def kidney(canvas: Canvas, rng: Generator) -> None:
    """Paint a dark bean with pyramids around a bright sinus."""
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
    """Paint a small dark pear with a bright wall in the liver, sometimes with a stone and its shadow."""
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
    """Paint a wide black lake with a thick wall and strong enhancement behind it."""
    belly(canvas, rng)
    unit = canvas.unit
    x, y = canvas.at(rng.uniform(0.47, 0.53), rng.uniform(0.44, 0.52))
    lake = blob(rng, x, y, unit * rng.uniform(0.34, 0.44), unit * rng.uniform(0.2, 0.26), rng.uniform(-8, 8), 0.1)
    canvas.stroke(lake, 9, 0.045 * unit, closed=True, sides=0.8)
    canvas.fill(lake, -42, grain=1, shadow=-12)


def bowel(canvas: Canvas, rng: Generator) -> None:
    """Paint loops with layered walls, some filled with gas that casts a dirty shadow."""
    belly(canvas, rng)
    unit = canvas.unit
    for x, y in ((0.3, 0.42), (0.52, 0.36), (0.7, 0.46), (0.42, 0.64), (0.62, 0.68)):
        cx, cy = canvas.at(x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.04, 0.04))
        size, tilt = unit * rng.uniform(0.09, 0.13), rng.uniform(-30, 30)
        gas = rng.random() < 0.45
        for layer, level in ((1.0, -14), (0.72, 4), (0.5, -20 if not gas else 12)):
            loop = blob(rng, cx, cy, 1.15 * layer * size, layer * size, tilt, 0.08)
            canvas.fill(loop, level, grain=2, fine=True, shadow=14 if gas and layer == 0.5 else 0)
        canvas.stroke(ellipse(cx, cy, 1.15 * size, size, tilt), 9, 0.01 * unit, closed=True)
