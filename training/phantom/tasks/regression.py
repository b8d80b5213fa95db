"""The three landmark tasks. Each function returns its points, (N, 2) of x, y in pixels, in the labels' order."""

from collections.abc import Callable

import numpy as np

from training.phantom.anatomy import fetal, pelvis
from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import Curve

Generator = np.random.Generator


def fugc(canvas: Canvas, rng: Generator) -> Curve:
    """Paint a cervix; return the inner and the outer end of its canal, left first."""
    return pelvis.cervix(canvas, rng, (None, None))


def iugc(canvas: Canvas, rng: Generator) -> Curve:
    """Paint a birth canal; return the upper and the lower end of the symphysis and a point of the fetal head.

    The tangent from the lower end touches the head at that point. The angle of progression at the lower end, between
    the symphysis and the tangent, contains the head, so of the two tangents it is the one farther from the symphysis.
    """
    ends, head = pelvis.birth_canal(canvas, rng)
    lower = ends[1]
    symphysis_angle = np.arctan2(*(ends[0] - lower)[::-1])
    to_head = head - lower
    # Rotating from the symphysis across the head, the angle decreases, because y points down.
    rotations = (symphysis_angle - np.arctan2(to_head[:, 1], to_head[:, 0])) % (2 * np.pi)
    return np.vstack([ends, head[rotations.argmax()]])


def fetal_femur(canvas: Canvas, rng: Generator) -> Curve:
    """Paint a femur; return the two ends of its shaft, left first."""
    unit = canvas.unit
    fetal.womb(canvas, rng)
    x, y = canvas.at(rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.64))
    return fetal.femur(canvas, rng, x, y, unit * rng.uniform(0.36, 0.58), rng.uniform(-40, 40))


REGRESSION: dict[str, Callable[[Canvas, Generator], Curve]] = {
    "FUGC": fugc,
    "IUGC": iugc,
    "fetal_femur": fetal_femur,
}
