"""Layers of tissue, breast and neck, shared by several tasks. Sizes are in pixels, angles in degrees."""

import numpy as np

from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import Curve, arc, blob, ellipse, polar, ribbon, wave

Generator = np.random.Generator


def below(canvas: Canvas, line: Curve) -> Curve:
    """Return the outline of everything below `line`."""
    return np.vstack([line, [[canvas.width, canvas.height], [0, canvas.height]]])


def layers(canvas: Canvas, rng: Generator, plan: list[tuple[float, float]], interface: float = 8.0) -> None:
    """Paint wavy layers; `plan` has for each the depth of its upper border, a fraction of the height, and its dB."""
    for depth, echo in plan:
        y = (depth + rng.uniform(-0.025, 0.025)) * canvas.height
        line = wave(rng, 0, canvas.width, y, 0.015 * canvas.unit)
        canvas.fill(below(canvas, line), echo + rng.uniform(-2, 2))
        canvas.stroke(line, interface + rng.uniform(-3, 3), 0.008 * canvas.unit)


def striae(canvas: Canvas, rng: Generator, top: float, bottom: float, count: int, level: float = 13.0) -> None:
    """Paint short bright fibres between two depths (fractions of the height), as in muscle and fat."""
    for _ in range(count):
        x, y = canvas.at(rng.uniform(0, 1), rng.uniform(top, bottom))
        length = rng.uniform(0.06, 0.2) * canvas.unit
        canvas.stroke(wave(rng, x, x + length, y, 0.01 * canvas.unit, 5), level + rng.uniform(-4, 3), 1)


def breast(canvas: Canvas, rng: Generator) -> None:
    """Paint skin, fat, gland and chest muscle."""
    gland = rng.uniform(0.2, 0.3)
    layers(canvas, rng, [(0.0, 6), (0.05, -9), (gland, 2), (rng.uniform(0.78, 0.86), -7)])
    for _ in range(int(rng.integers(5, 12))):
        spot = canvas.at(rng.uniform(0, 1), rng.uniform(gland, 0.72))
        lobule = blob(rng, *spot, rng.uniform(0.06, 0.14) * canvas.unit, rng.uniform(0.02, 0.04) * canvas.unit,
                      rng.uniform(-15, 15), 0.15)  # fmt: skip
        canvas.fill(lobule, rng.uniform(-9, -5))
        canvas.stroke(lobule, rng.uniform(4, 8), 1, closed=True, sides=0.3)
    for _ in range(int(rng.integers(2, 5))):
        top = canvas.at(rng.uniform(0, 1), 0.06)
        foot = polar(*top, (gland - 0.05) * canvas.height, 90 + rng.uniform(-40, 40))
        canvas.stroke(arc(top, foot, rng.uniform(-0.03, 0.03) * canvas.unit), 8, 1, sides=0.8)
    striae(canvas, rng, 0.06, gland, 8)
    striae(canvas, rng, gland, 0.75, 10)
    striae(canvas, rng, 0.84, 1.0, 12)


def lesion(canvas: Canvas, rng: Generator, x: float, y: float, size: float, malignant: bool) -> None:
    """Paint a breast lesion, label 1: wide and smooth, or tall and spiculated with a shadow."""
    if malignant:
        outline = blob(
            rng, x, y, size * rng.uniform(0.7, 0.9), size * rng.uniform(0.9, 1.15), rng.uniform(-20, 20), 0.2,
            rng.uniform(0.2, 0.45),
        )  # fmt: skip
        canvas.stroke(outline, rng.uniform(0, 4), 0.03 * canvas.unit, closed=True, sides=1)
        canvas.fill(outline, rng.uniform(-22, -15), grain=3, fine=True, shadow=rng.uniform(4, 16), label=1)
        for _ in range(int(rng.integers(0, 7))):
            px, py = polar(x, y, size * 0.5 * rng.uniform(0, 1), rng.uniform(0, 360))
            canvas.stroke(np.array([[px, py], [px + 1, py]]), 12, 2)
    else:
        outline = blob(
            rng, x, y, size * rng.uniform(1.2, 1.45), size * rng.uniform(0.65, 0.8), rng.uniform(-15, 15), 0.06
        )
        canvas.fill(outline, rng.uniform(-27, -14), grain=1, shadow=-rng.uniform(2, 8), label=1)
        canvas.stroke(outline, rng.uniform(6, 10), 0.01 * canvas.unit, closed=True, sides=0.2)
        edge_shadows(canvas, outline, rng.uniform(2, 6))


def edge_shadows(canvas: Canvas, outline: Curve, loss: float) -> None:
    """Paint the narrow shadows below the flanks of a round structure, caused by refraction; `loss` in dB."""
    for x, y in (outline[outline[:, 0].argmin()], outline[outline[:, 0].argmax()]):
        canvas.stroke(np.array([[x - 1, y], [x + 1, y]]), -60, 0.016 * canvas.unit, shadow=loss)


def neck(canvas: Canvas, rng: Generator) -> None:
    """Paint skin, fat and strap muscle of the neck."""
    layers(canvas, rng, [(0.0, 6), (0.05, -3), (rng.uniform(0.1, 0.14), -9), (rng.uniform(0.22, 0.27), -3)])
    striae(canvas, rng, 0.06, 0.24, 14)
    striae(canvas, rng, 0.75, 1.0, 10)


def thyroid(canvas: Canvas, rng: Generator) -> None:
    """Paint a thyroid lobe next to the trachea with a nodule (label 1)."""
    unit = canvas.unit
    neck(canvas, rng)
    side = 1 if rng.random() < 0.5 else -1
    x, y = canvas.at(0.5 + side * rng.uniform(0.0, 0.06), rng.uniform(0.46, 0.54))
    trachea = x - side * 0.52 * unit, y + 0.08 * unit
    isthmus = arc((x, y - 0.08 * unit), (trachea[0], trachea[1] - 0.22 * unit), 0)
    canvas.fill(ribbon(isthmus, 0.1 * unit), rng.uniform(2, 5), grain=1, fine=True)
    airway = ellipse(*trachea, 0.16 * unit, 0.2 * unit)
    canvas.fill(airway, -14, grain=1, shadow=30)
    # Rings of cartilage reflect towards the probe; the air behind them causes reverberations.
    front = airway[airway[:, 1] < trachea[1] - 0.02 * unit]
    for turn_number, level in enumerate((16, 9, 4)):
        canvas.stroke(np.add(front, (0, 0.06 * unit * turn_number)), level, 0.02 * unit, sides=0.1)
    artery = x + side * 0.42 * unit, y + 0.06 * unit
    canvas.fill(ellipse(*artery, 0.09 * unit, 0.09 * unit), -32, grain=1, shadow=-3)
    canvas.stroke(ellipse(*artery, 0.09 * unit, 0.09 * unit), 11, 0.012 * unit, closed=True, sides=0.25)
    a, b = unit * rng.uniform(0.32, 0.4), unit * rng.uniform(0.2, 0.25)
    canvas.fill(blob(rng, x, y, a, b, rng.uniform(-8, 8), 0.06), rng.uniform(3, 6), grain=1, fine=True)
    size = rng.uniform(0.4, 0.75) * b
    nx, ny = x + rng.uniform(-0.35, 0.35) * a, y + rng.uniform(-0.2, 0.2) * b
    outline = blob(rng, nx, ny, size * rng.uniform(1, 1.35), size, rng.uniform(-30, 30), rng.uniform(0.04, 0.14))
    canvas.fill(outline, rng.uniform(-19, -8), grain=2.5, fine=True, shadow=-3, label=1)
    canvas.stroke(outline, rng.uniform(4, 9), 0.01 * unit, closed=True, sides=0.5)
