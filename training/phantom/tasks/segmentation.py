"""The twelve segmentation tasks. Each function paints its class ids, in parentheses in its docstring, into the mask."""

from collections.abc import Callable

import numpy as np

from training.phantom.anatomy import chest, fetal, pelvis, tissue
from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import arc, blob, ellipse, polar, ribbon, turn

Generator = np.random.Generator


def breast_lesion(canvas: Canvas, rng: Generator) -> None:
    """Paint a breast with a lesion (1), smooth or spiculated."""
    tissue.breast(canvas, rng)
    x, y = canvas.at(rng.uniform(0.36, 0.64), rng.uniform(0.42, 0.6))
    tissue.lesion(canvas, rng, x, y, canvas.unit * rng.uniform(0.09, 0.17), malignant=rng.random() < 0.5)


def cardiac_multi(canvas: Canvas, rng: Generator) -> None:
    """Paint an apical view of the heart: left ventricle (1), its wall (2), left atrium (3)."""
    unit = canvas.unit
    tissue.layers(canvas, rng, [(0.0, 0), (0.06, -12)], 2)
    x, y = canvas.at(rng.uniform(0.44, 0.58), rng.uniform(0.54, 0.66))
    tilt, half, height = rng.uniform(-18, 18), unit * rng.uniform(0.11, 0.16), unit * rng.uniform(0.34, 0.42)
    wall = unit * rng.uniform(0.045, 0.07)
    t = np.linspace(np.pi, 2 * np.pi, 40)

    def chamber(a: float, b: float) -> np.ndarray:
        shape = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 0.8
        return turn(np.column_stack([x + a * shape, y + b * np.sin(t)]), tilt, (x, y))

    atrium = turn(blob(rng, x, y + 0.13 * unit, 0.9 * half, 0.14 * unit, 0, 0.06), tilt, (x, y))
    # The heart in its sac, then the right side: ventricle next to the septum, atrium below its valve.
    sac = turn(blob(rng, x - 0.9 * half, y - 0.08 * unit, 2.9 * half, height + 0.1 * unit, 0, 0.03), tilt, (x, y))
    canvas.fill(sac, rng.uniform(-15, -10), grain=2)
    canvas.stroke(sac, 6, 0.012 * unit, closed=True, sides=0.5)
    for down, length, wide in ((-0.14, 0.16, 0.68), (0.14, 0.11, 0.75)):
        cavity = blob(rng, x - 2.2 * half, y + down * unit, wide * half, length * unit, 12 if down < 0 else 0, 0.08)
        canvas.fill(turn(cavity, tilt, (x, y)), rng.uniform(-28, -22), grain=2)
    valve = turn(np.array([[x - 2.9 * half, y], [x - 1.5 * half, y + 0.02 * unit]]), tilt, (x, y))
    canvas.stroke(valve, 9, 0.012 * unit, sides=0.9)
    canvas.fill(atrium, rng.uniform(-32, -26), grain=2, label=3)
    canvas.stroke(atrium, 7, 0.012 * unit, closed=True, sides=0.7)
    canvas.fill(chamber(half + wall, height + wall), rng.uniform(-2, 4), grain=2, fine=True, label=2)
    canvas.fill(chamber(half, height), rng.uniform(-34, -26), grain=2, label=1)
    canvas.stroke(chamber(half, height), 7, 0.01 * unit, sides=0.6)
    left, right_hinge = turn(np.array([[x - half, y], [x + half, y]]), tilt, (x, y))
    for (hx, hy), side in ((left, 1), (right_hinge, -1)):
        tip = polar(hx, hy, 0.85 * half, tilt + (90 - 90 * side) - side * rng.uniform(10, 40))
        canvas.stroke(arc((hx, hy), tip, 0), 12, 0.012 * unit, sides=0.9)


def carotid_artery(canvas: Canvas, rng: Generator) -> None:
    """Paint the lumen of the carotid artery (1), next to the jugular vein."""
    unit = canvas.unit
    tissue.neck(canvas, rng)
    x, y = canvas.at(rng.uniform(0.36, 0.64), rng.uniform(0.46, 0.64))
    a, b = unit * rng.uniform(0.1, 0.16), unit * rng.uniform(0.09, 0.14)
    side = 1 if rng.random() < 0.5 else -1
    vein = ellipse(x + side * 2.3 * a, y - 0.9 * b, 1.1 * a, 0.5 * b, side * 20)
    canvas.fill(vein, -27, grain=1, shadow=-2)
    canvas.stroke(vein, 7, 0.01 * unit, closed=True, sides=0.2)
    outline = blob(rng, x, y, a, b, rng.uniform(-30, 30), 0.03)
    canvas.stroke(outline, rng.uniform(13, 18), 0.035 * unit, closed=True, sides=0.35)
    canvas.fill(outline, rng.uniform(-36, -28), grain=1, shadow=-rng.uniform(4, 8), label=1)
    tissue.edge_shadows(canvas, outline, rng.uniform(2, 6))


def cervix(canvas: Canvas, rng: Generator) -> None:
    """Paint a cervix (1, both lips)."""
    pelvis.cervix(canvas, rng, (1, 1))


def cervix_multi(canvas: Canvas, rng: Generator) -> None:
    """Paint a cervix: anterior lip (1), posterior lip (2)."""
    pelvis.cervix(canvas, rng, (1, 2))


def fetal_abdomen_multi(canvas: Canvas, rng: Generator) -> None:
    """Paint a cross section of the trunk: umbilical artery (1), liver (2), stomach (3), umbilical vein (4)."""
    unit = canvas.unit
    x, y = canvas.at(rng.uniform(0.46, 0.54), rng.uniform(0.52, 0.58))
    a, b = unit * rng.uniform(0.34, 0.38), unit * rng.uniform(0.3, 0.36)
    fetal.womb(canvas, rng)
    fetal.abdomen(canvas, rng, x, y, a, b)
    base = rng.uniform(0, 360)
    fetal.spine(canvas, *polar(x, y, 0.78 * b, base), 0.055 * unit, base)
    liver = polar(x, y, 0.42 * b, base + 130 + rng.uniform(-8, 8))
    canvas.fill(blob(rng, *liver, 0.46 * b, 0.33 * b, base + 40, 0.1), rng.uniform(4, 8), fine=True, label=2)
    stomach = polar(x, y, 0.5 * b, base - 85 + rng.uniform(-12, 12))
    sac = blob(rng, *stomach, rng.uniform(0.2, 0.28) * b, 0.17 * b, base, 0.1)
    canvas.fill(sac, rng.uniform(-36, -30), grain=1, shadow=-3, label=3)
    start, end = polar(x, y, 0.86 * b, base + 178), polar(x, y, 0.2 * b, base + 150)
    vein = ribbon(arc(start, end, 0.12 * b), np.linspace(0.13, 0.17, 24) * b)
    canvas.stroke(vein, 9, 0.018 * unit, closed=True, sides=0.8)
    canvas.fill(vein, rng.uniform(-28, -22), grain=1, label=4)
    artery = ellipse(*polar(x, y, 0.4 * b, base + rng.uniform(-10, 10)), 0.13 * b, 0.13 * b)
    canvas.stroke(artery, 13, 0.03 * unit, closed=True, sides=0.8)
    canvas.fill(artery, rng.uniform(-32, -26), grain=1, label=1)


def fetal_head(canvas: Canvas, rng: Generator) -> None:
    """Paint a fetal head (1, up to the outer border of the skull)."""
    unit = canvas.unit
    fetal.womb(canvas, rng)
    x, y = canvas.at(rng.uniform(0.46, 0.54), rng.uniform(0.52, 0.58))
    a = unit * rng.uniform(0.28, 0.37)
    b, angle = a * rng.uniform(0.74, 0.84), rng.uniform(-40, 40)
    fetal.fluid(canvas, rng, x, y, 1.25 * a, 1.2 * b)
    fetal.skull(canvas, rng, ellipse(x, y, a, b, angle), label=1)
    fetal.brain(canvas, rng, x, y, a, b, angle)


def fetal_heart(canvas: Canvas, rng: Generator) -> None:
    """Paint a four-chamber view of the chest with the heart (1)."""
    unit = canvas.unit
    x, y = canvas.at(rng.uniform(0.47, 0.53), rng.uniform(0.53, 0.58))
    radius = unit * rng.uniform(0.32, 0.38)
    fetal.womb(canvas, rng)
    fetal.abdomen(canvas, rng, x, y, radius, 0.92 * radius)
    base = rng.uniform(0, 360)
    fetal.spine(canvas, *polar(x, y, 0.74 * radius, base), 0.055 * unit, base)
    axis = base + 180 + rng.uniform(20, 55)
    hx, hy = polar(x, y, 0.18 * radius, axis)
    fetal.four_chambers(canvas, rng, hx, hy, radius * rng.uniform(0.4, 0.5), axis, label=1)


def head_symphysis_multi(canvas: Canvas, rng: Generator) -> None:
    """Paint a pubic symphysis (1) and a fetal head (2)."""
    pelvis.birth_canal(canvas, rng)


def lung(canvas: Canvas, rng: Generator) -> None:
    """Paint a chest wall with the pleural line (1) between two ribs."""
    pleura = chest.chest_wall(canvas, rng)
    chest.ribs(canvas, rng, pleura)
    chest.a_lines(canvas, rng, pleura)
    first, last = rng.integers(12, 17), rng.integers(43, 48)
    if rng.random() < 0.5:
        chest.b_lines(canvas, rng, pleura, int(rng.integers(1, 4)))
    band = ribbon(pleura[first:last], rng.uniform(0.035, 0.06) * canvas.unit)
    losses = canvas.loss.copy()
    canvas.fill(band, rng.uniform(15, 19), grain=1, label=1)
    canvas.loss = losses


def ovary_tumor(canvas: Canvas, rng: Generator) -> None:
    """Paint an ovarian tumour (1): a large cyst with septa, echoes or a solid part."""
    unit = canvas.unit
    tissue.layers(canvas, rng, [(0.0, 2), (0.1, -3), (0.2, 1)])
    tissue.striae(canvas, rng, 0.1, 1.0, 20)
    x, y = canvas.at(rng.uniform(0.44, 0.56), rng.uniform(0.48, 0.58))
    a, b, angle = unit * rng.uniform(0.2, 0.34), unit * rng.uniform(0.18, 0.26), rng.uniform(-30, 30)
    outline = blob(rng, x, y, a, b, angle, 0.08)
    canvas.fill(outline, rng.uniform(-34, -15), grain=2, shadow=-rng.uniform(3, 8), label=1)
    for _ in range(int(rng.integers(0, 3))):
        heading = rng.uniform(0, 360)
        ends = polar(x, y, 0.8 * b, heading), polar(x, y, 0.8 * b, heading + rng.uniform(120, 240))
        canvas.stroke(arc(*ends, rng.uniform(-0.2, 0.2) * b), 9, 0.014 * unit, sides=0.6)
    if rng.random() < 0.6:
        solid = polar(x, y, 0.5 * b, rng.uniform(0, 360))
        canvas.fill(blob(rng, *solid, 0.35 * b, 0.28 * b, rng.uniform(0, 180), 0.2), -4, grain=3, fine=True)
    canvas.stroke(outline, 10, 0.014 * unit, closed=True, sides=0.5)


def thyroid_nodule(canvas: Canvas, rng: Generator) -> None:
    """Paint a thyroid lobe with a nodule (1)."""
    tissue.thyroid(canvas, rng)


SEGMENTATION: dict[str, Callable[[Canvas, Generator], None]] = {
    painter.__name__: painter
    for painter in (
        breast_lesion, cardiac_multi, carotid_artery, cervix, cervix_multi, fetal_abdomen_multi, fetal_head,
        fetal_heart, head_symphysis_multi, lung, ovary_tumor, thyroid_nodule,
    )
}  # fmt: skip
