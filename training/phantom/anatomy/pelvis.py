"""The maternal pelvis: cervix, symphysis and birth canal. Sizes are in pixels, angles in degrees."""

import numpy as np

from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.fetal import skull
from training.phantom.anatomy.shapes import Curve, arc, blob, ellipse, polar, ribbon, turn
from training.phantom.anatomy.tissue import layers, striae

Generator = np.random.Generator


def symphysis(canvas: Canvas, rng: Generator, x: float, y: float, a: float, b: float, angle: float) -> Curve:
    """Paint the pubic symphysis, label 1: an oval with a bright capsule; return the ends of its long axis, (2, 2)."""
    outline = ellipse(x, y, a, b, angle)
    canvas.fill(outline, rng.uniform(-12, -6), grain=1, fine=True, shadow=5, label=1)
    canvas.stroke(outline, rng.uniform(12, 16), 0.014 * canvas.unit, closed=True, sides=0.7)
    return np.array([polar(x, y, -a, angle), polar(x, y, a, angle)])


def birth_canal(canvas: Canvas, rng: Generator) -> tuple[Curve, Curve]:
    """Paint a transperineal view of symphysis (label 1) and fetal head (2); return the symphysis' ends and the head."""
    unit = canvas.unit
    layers(canvas, rng, [(0.0, 4), (0.06, -2), (0.16, -5)])
    striae(canvas, rng, 0.05, 0.95, 22)
    x, y = canvas.at(rng.uniform(0.36, 0.5), rng.uniform(0.25, 0.36))
    ends = symphysis(canvas, rng, x, y, unit * rng.uniform(0.08, 0.11), unit * rng.uniform(0.03, 0.045),
                     rng.uniform(-5, 45))  # fmt: skip
    a, b, tilt = unit * rng.uniform(0.2, 0.29), unit * rng.uniform(0.17, 0.23), rng.uniform(10, 70)
    heading = rng.uniform(50, 100)
    reach = a * b / np.hypot(b * np.cos(np.radians(heading - tilt)), a * np.sin(np.radians(heading - tilt)))
    lx, ly = ends[1]
    hx, hy = polar(lx, ly, reach + unit * rng.uniform(0.06, 0.12), heading)
    head = ellipse(hx, hy, a, b, tilt, 360)
    skull(canvas, rng, head, label=2, shadow=4)
    canvas.fill(ellipse(hx, hy, 0.45 * a, 0.4 * b, tilt), -19)
    return ends, head


def cervix(canvas: Canvas, rng: Generator, labels: tuple[int | None, int | None]) -> Curve:
    """Paint a cervix in a transvaginal view: the anterior lip above the posterior lip, with the canal between them.

    Return the ends of the canal, (2, 2), left first. `labels` are the class ids of the two lips.
    """
    unit = canvas.unit
    layers(canvas, rng, [(0.0, 2), (0.08, 0), (0.2, 4)])
    striae(canvas, rng, 0.05, 0.95, 16, 18)
    x, y = canvas.at(rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.6))
    length, tilt = unit * rng.uniform(0.36, 0.66), rng.uniform(-30, 30)
    canal = turn(arc((x - length / 2, y), (x + length / 2, y), unit * rng.uniform(-0.06, 0.06)), tilt, (x, y))
    # The inner os opens into the uterus, a fluid-filled funnel.
    ox, oy = canal[0]
    pouch = polar(ox, oy, 0.17 * unit, tilt + 180)
    cavity = blob(rng, *pouch, 0.18 * unit, 0.2 * unit, tilt, 0.04)
    canvas.fill(cavity, -30, grain=1, shadow=-3)
    canvas.stroke(cavity, 7, 0.01 * unit, closed=True, sides=0.6)
    # The presenting head: its skull bounds the fluid.
    crown = ellipse(*polar(ox, oy, 0.36 * unit, tilt + 180), 0.25 * unit, 0.25 * unit)
    canvas.fill(crown, -18, grain=1)
    canvas.stroke(crown, 17, 0.018 * unit, closed=True, shadow=3)
    # Wide at the inner os, rounded towards the outer os.
    thick = np.sqrt(1 - (np.abs(np.linspace(0, 1, len(canal)) - 0.45) / 0.56) ** 4) * unit
    for side, label in zip((-1, 1), labels, strict=True):
        normal = np.array([-np.sin(np.radians(tilt)), np.cos(np.radians(tilt))]) * side
        edge = canal + normal * thick[:, None] * rng.uniform(0.13, 0.18)
        lip = np.vstack([canal, edge[::-1]])
        canvas.fill(lip, rng.uniform(-13, -9) - (3 if side > 0 else 0), grain=2, fine=True, label=label)
        canvas.stroke(edge, 8, 0.01 * unit)
    canvas.fill(ribbon(canal, 0.022 * unit), -24, grain=1)
    canvas.stroke(canal, 9, 0.008 * unit, sides=0.8)
    return canal[[0, -1]]
