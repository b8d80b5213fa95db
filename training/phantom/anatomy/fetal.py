"""The fetus in its fluid. Sizes are in pixels, angles in degrees."""

import numpy as np

from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import Curve, arc, blob, ellipse, polar, ribbon
from training.phantom.anatomy.tissue import layers, striae

Generator = np.random.Generator


def womb(canvas: Canvas, rng: Generator) -> None:
    """Paint maternal tissue and the uterine wall."""
    layers(canvas, rng, [(0.0, 3), (0.07, -4), (rng.uniform(0.12, 0.18), -1)])
    striae(canvas, rng, 0.02, 0.14, 8)


def fluid(canvas: Canvas, rng: Generator, x: float, y: float, a: float, b: float) -> None:
    """Paint a pocket of amniotic fluid around an ellipse."""
    # The fetus is rarely in the middle of the pocket and may touch its wall.
    dx, dy = rng.uniform(-0.16, 0.16, 2)
    wall = blob(rng, x + dx * a, y + dy * b, a, b, rng.uniform(-10, 10), 0.045)
    canvas.fill(wall, rng.uniform(-34, -28), grain=1, shadow=-2)
    canvas.stroke(wall, rng.uniform(4, 8), 0.01 * canvas.unit, closed=True, sides=0.4)


def skull(canvas: Canvas, rng: Generator, outline: Curve, *, label: int | None = None, shadow: float = 3.0) -> None:
    """Paint a bright skull with the outer border `outline`, filled with brain tissue."""
    width = rng.uniform(0.014, 0.026) * canvas.unit
    centre = outline.mean(axis=0)
    bone = centre + (outline - centre) * (1 - width / float(np.ptp(outline, axis=0).mean()))
    canvas.fill(outline, rng.uniform(-19, -13), label=label)
    canvas.stroke(bone, rng.uniform(19, 24), width, closed=True, shadow=shadow)


def brain(canvas: Canvas, rng: Generator, x: float, y: float, a: float, b: float, angle: float) -> None:
    """Paint the midline, cavum, thalami, choroid plexus and ventricle in a skull; `angle` is that of the midline."""
    ends = polar(x, y, -0.85 * a, angle), polar(x, y, 0.85 * a, angle)
    for side in (-1, 1):
        centre = polar(x, y, side * 0.18 * b, angle + 90)
        canvas.fill(ellipse(*centre, 0.2 * a, 0.14 * b, angle), -24, grain=1)
    horn = polar(*polar(x, y, 0.5 * a, angle), 0.4 * b, angle + 90)
    canvas.fill(ellipse(*horn, 0.22 * a, 0.09 * b, angle + rng.uniform(-12, 12)), -30, grain=1)
    canvas.fill(ellipse(*horn, 0.14 * a, 0.055 * b, angle), rng.uniform(0, 5), grain=1, fine=True)
    canvas.stroke(arc(*ends, 0), rng.uniform(7, 11), 0.01 * canvas.unit, sides=0.5)
    # The cavum septi pellucidi interrupts the front third of the midline: a dark box between two lines.
    cavum = ellipse(*polar(x, y, -0.48 * a, angle), 0.13 * a, 0.075 * b, angle, 24)
    canvas.fill(cavum, -32, grain=1)
    canvas.stroke(cavum, 8, 0.008 * canvas.unit, closed=True, sides=0.7)
    for side in (-1, 1):
        fissure = polar(*polar(x, y, -0.05 * a, angle), side * 0.62 * b, angle + 90)
        ends = polar(*fissure, -0.22 * a, angle), polar(*fissure, 0.22 * a, angle)
        canvas.stroke(arc(*ends, side * 0.08 * b), 3, 0.01 * canvas.unit, sides=0.5)


def spine(canvas: Canvas, x: float, y: float, size: float, outward: float) -> None:
    """Paint a vertebra in cross section: three bright ossification centres with shadows, open towards `outward`."""
    for offset, distance in ((-40, 1.0), (40, 1.0), (180, 0.45)):
        spot = polar(x, y, size * distance, outward + offset)
        canvas.fill(ellipse(*spot, 0.42 * size, 0.3 * size, outward + offset, 16), 14, shadow=11)
    canvas.fill(ellipse(x, y, 0.3 * size, 0.3 * size, 0, 16), -18)


def abdomen(canvas: Canvas, rng: Generator, x: float, y: float, a: float, b: float) -> None:
    """Paint a cross section of the fetal trunk in amniotic fluid."""
    fluid(canvas, rng, x, y, 1.3 * a, 1.25 * b)
    outline = ellipse(x, y, a, b)
    canvas.fill(outline, rng.uniform(-7, -3), grain=2)
    canvas.stroke(outline, rng.uniform(10, 15), 0.018 * canvas.unit, closed=True)


def four_chambers(
    canvas: Canvas, rng: Generator, x: float, y: float, size: float, axis: float, label: int | None = None
) -> None:
    """Paint a heart of half length `size` with four dark chambers; `axis` points to the apex."""
    canvas.fill(blob(rng, x, y, size, 0.78 * size, axis, 0.05), rng.uniform(3, 7), grain=1, fine=True, label=label)
    # Ventricles towards the apex with the septum between them; atria behind the valves, joined by the foramen ovale.
    for along, across, length, wide in ((0.36, 0.33, 0.43, 0.26), (0.36, -0.31, 0.46, 0.23), (-0.43, 0.28, 0.3, 0.24),
                                        (-0.43, -0.28, 0.3, 0.24)):  # fmt: skip
        centre = polar(*polar(x, y, along * size, axis), across * size, axis + 90)
        heading = axis - np.sign(along * across) * 8
        canvas.fill(ellipse(*centre, length * size, wide * size, heading, 32), rng.uniform(-32, -26), grain=1)
    canvas.fill(ellipse(*polar(x, y, -0.45 * size, axis), 0.1 * size, 0.1 * size, 0, 16), -27, grain=1)
    for side in (-1, 1):
        hinge = polar(*polar(x, y, -0.08 * size, axis), side * 0.62 * size, axis + 90)
        canvas.stroke(np.array([hinge, polar(x, y, -0.1 * size, axis)]), 9, 0.01 * canvas.unit, sides=0.9)


def stomach_and_vein(canvas: Canvas, rng: Generator, x: float, y: float, radius: float, base: float) -> None:
    """Paint the stomach and the umbilical vein of a fetal abdomen whose spine is in the direction `base`."""
    stomach = polar(x, y, 0.5 * radius, base - 90 + rng.uniform(-15, 15))
    canvas.fill(blob(rng, *stomach, 0.26 * radius, 0.18 * radius, base, 0.1), -34, grain=1, shadow=-3)
    vein = arc(polar(x, y, 0.8 * radius, base + 178), polar(x, y, 0.15 * radius, base + 150), 0.15 * radius)
    canvas.fill(ribbon(vein, 0.14 * radius), -27, grain=1)
    canvas.stroke(ribbon(vein, 0.14 * radius), 8, 0.01 * canvas.unit, closed=True, sides=0.8)


def femur(canvas: Canvas, rng: Generator, x: float, y: float, length: float, angle: float) -> Curve:
    """Paint a thigh with the bright shaft of the femur and its shadow; return the shaft's ends, (2, 2)."""
    unit = canvas.unit
    fluid(canvas, rng, x, y, 0.75 * length, 0.34 * unit)
    canvas.fill(blob(rng, x, y, 0.72 * length, 0.15 * unit, angle, 0.06), rng.uniform(-9, -5), grain=2)
    ends = polar(x, y, -length / 2, angle), polar(x, y, length / 2, angle)
    shaft = arc(*ends, rng.uniform(-0.03, 0.03) * length)
    canvas.stroke(shaft, rng.uniform(21, 25), rng.uniform(0.022, 0.034) * unit, shadow=rng.uniform(14, 22), sides=0.7)
    return np.array(ends)


def placenta(canvas: Canvas, rng: Generator, x: float, y: float) -> None:
    """Paint a thick bright placenta and loops of cord in fluid, a view that is not a standard plane."""
    unit = canvas.unit
    fluid(canvas, rng, x, y, 0.42 * unit, 0.34 * unit)
    bed = arc((x - 0.42 * unit, y + 0.14 * unit), (x + 0.42 * unit, y + 0.14 * unit), rng.uniform(0.1, 0.2) * unit)
    canvas.fill(ribbon(bed, rng.uniform(0.16, 0.24) * unit), 5, grain=3)
    for _ in range(int(rng.integers(3, 6))):
        spot = x + rng.uniform(-0.26, 0.26) * unit, y + rng.uniform(-0.22, 0.02) * unit
        for size, level in ((1.0, 3), (0.5, -28)):
            canvas.fill(ellipse(*spot, 0.05 * size * unit, 0.05 * size * unit, 0, 20), level, grain=1)


def hand(canvas: Canvas, rng: Generator, x: float, y: float) -> None:
    """Paint the bones of an open hand in fluid, a view that is not a standard plane."""
    unit, heading = canvas.unit, rng.uniform(0, 360)
    fluid(canvas, rng, x, y, 0.42 * unit, 0.34 * unit)
    canvas.fill(blob(rng, x, y, 0.13 * unit, 0.11 * unit, heading, 0.06), rng.uniform(-9, -4))
    for spread in np.linspace(-48, 48, 5):
        direction = heading + spread + rng.uniform(-4, 4)
        finger = arc(polar(x, y, 0.08 * unit, direction), polar(x, y, 0.29 * unit, direction), 0)
        canvas.fill(ribbon(finger, 0.055 * unit), rng.uniform(-9, -5))
        for near, far in ((0.06, 0.13), (0.15, 0.2), (0.22, 0.26)):
            bone = np.array([polar(x, y, near * unit, direction), polar(x, y, far * unit, direction)])
            canvas.stroke(bone, rng.uniform(13, 18), 0.014 * unit, shadow=5, sides=0.8)
