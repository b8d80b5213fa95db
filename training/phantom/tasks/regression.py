"""The three landmark tasks. Each painter returns its points, (N, 2) x, y in pixels, in the order of the labels."""

from collections.abc import Callable

import numpy as np

from training.phantom.anatomy import fetal, pelvis
from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import Curve

Generator = np.random.Generator


def fugc(canvas: Canvas, rng: Generator) -> Curve:
    """The inner and the outer end of the cervical canal, left first."""
    return pelvis.cervix(canvas, rng, (None, None))


def iugc(canvas: Canvas, rng: Generator) -> Curve:
    """The symphysis' upper and lower end, and where the tangent from the lower end touches the head.

    The angle of progression lies at the lower end, between the symphysis and that tangent; the head lies inside
    it, so of the two tangents it is the one further from the symphysis.
    """
    ends, head = pelvis.birth_canal(canvas, rng)
    lower = ends[1]
    along = np.arctan2(*(ends[0] - lower)[::-1])
    ways = head - lower
    # Turning from the symphysis over the head: image y points down, so the angle falls.
    turned = (along - np.arctan2(ways[:, 1], ways[:, 0])) % (2 * np.pi)
    return np.vstack([ends, head[turned.argmax()]])


def fetal_femur(canvas: Canvas, rng: Generator) -> Curve:
    """The two ends of the femur's shaft, left first."""
    unit = canvas.unit
    fetal.womb(canvas, rng)
    x, y = canvas.at(rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.64))
    return fetal.femur(canvas, rng, x, y, unit * rng.uniform(0.36, 0.58), rng.uniform(-40, 40))


REGRESSION: dict[str, Callable[[Canvas, Generator], Curve]] = {
    "FUGC": fugc,
    "IUGC": iugc,
    "fetal_femur": fetal_femur,
}
