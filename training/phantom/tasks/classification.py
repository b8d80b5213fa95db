"""The nine classification tasks. Each function paints the anatomy of a class, 0 to num_classes - 1."""

from collections.abc import Callable

import numpy as np

from training.phantom.anatomy import chest, fetal, organs, tissue
from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import blob, ellipse, polar
from training.phantom.tasks.segmentation import cervix, fetal_head

Generator = np.random.Generator
# Classes of the two position tasks are directions in steps of 45 degrees.
STEP = 45
DIRECTIONS = tuple(f"{STEP * label} deg" for label in range(8))
# The meaning of each label.
CLASSES: dict[str, tuple[str, ...]] = {
    "breast_2cls": ("benign", "malignant"),
    "breast_3cls": ("normal", "benign", "malignant"),
    "fetal_head_pos_cls": DIRECTIONS,
    "fetal_plane_cls": ("abdomen", "brain", "femur", "thorax", "cervix", "other"),
    "fetal_sacral_pos_cls": DIRECTIONS,
    "liver_lesion_2cls": ("benign", "malignant"),
    "lung_2cls": ("healthy", "diseased"),
    "lung_disease_3cls": ("A-lines", "B-lines", "consolidation"),
    "organ_cls": ("bladder", "bowel", "gallbladder", "kidney", "liver", "spleen"),
}


def breast_2cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a breast with a lesion: benign (0) or malignant (1)."""
    tissue.breast(canvas, rng)
    x, y = canvas.at(rng.uniform(0.36, 0.64), rng.uniform(0.42, 0.6))
    tissue.lesion(canvas, rng, x, y, canvas.unit * rng.uniform(0.09, 0.17), malignant=label == 1)


def breast_3cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a breast: normal (0), or with a benign (1) or malignant (2) lesion."""
    if label:
        breast_2cls(canvas, rng, label - 1)
    else:
        tissue.breast(canvas, rng)


def fetal_head_pos_cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a fetal head whose back points in the direction of `label` times 45 degrees, clockwise from the right."""
    unit = canvas.unit
    fetal.womb(canvas, rng)
    x, y = canvas.at(rng.uniform(0.47, 0.53), rng.uniform(0.53, 0.57))
    a = unit * rng.uniform(0.3, 0.36)
    b, angle = a * rng.uniform(0.78, 0.86), STEP * label + rng.uniform(-12, 12)
    fetal.fluid(canvas, rng, x, y, 1.15 * a, 1.25 * b)
    fetal.skull(canvas, rng, ellipse(x, y, a, b, angle))
    canvas.stroke(np.array([polar(x, y, -0.3 * a, angle), polar(x, y, 0.85 * a, angle)]), 10, 0.014 * unit, sides=0.7)
    for side in (-1, 1):
        lobe = polar(*polar(x, y, 0.55 * a, angle), side * 0.2 * a, angle + 90)
        canvas.fill(ellipse(*lobe, 0.17 * a, 0.15 * a, angle, 32), -3, grain=1, fine=True)
        orbit = polar(*polar(x, y, -0.62 * a, angle), side * 0.3 * a, angle + 90)
        canvas.fill(ellipse(*orbit, 0.19 * a, 0.19 * a, 0, 32), -34, grain=1)
        canvas.stroke(ellipse(*orbit, 0.19 * a, 0.19 * a, 0, 32), 15, 0.016 * unit, closed=True, sides=0.8)


def fetal_plane_cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a plane: abdomen (0), brain (1), femur (2), thorax (3), cervix (4) or another (5)."""
    unit = canvas.unit
    if label == 1:
        return fetal_head(canvas, rng)
    if label == 4:
        return cervix(canvas, rng)
    fetal.womb(canvas, rng)
    x, y = canvas.at(rng.uniform(0.46, 0.54), rng.uniform(0.52, 0.58))
    if label == 2:
        fetal.femur(canvas, rng, x, y, unit * rng.uniform(0.36, 0.56), rng.uniform(-40, 40))
    elif label == 5:
        (fetal.placenta if rng.random() < 0.6 else fetal.hand)(canvas, rng, x, y)
    else:
        radius, base = unit * rng.uniform(0.3, 0.37), rng.uniform(0, 360)
        fetal.abdomen(canvas, rng, x, y, radius, radius * rng.uniform(0.86, 0.98))
        fetal.spine(canvas, *polar(x, y, 0.74 * radius, base), 0.055 * unit, base)
        if label == 0:
            fetal.stomach_and_vein(canvas, rng, x, y, radius, base)
        else:
            axis = base + 180 + rng.uniform(20, 55)
            fetal.four_chambers(canvas, rng, *polar(x, y, 0.15 * radius, axis), rng.uniform(0.42, 0.52) * radius, axis)


def fetal_sacral_pos_cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a fetal sacrum in the direction of `label` times 45 degrees, clockwise from the right."""
    unit = canvas.unit
    fetal.womb(canvas, rng)
    x, y = canvas.at(rng.uniform(0.47, 0.53), rng.uniform(0.53, 0.57))
    radius, angle = unit * rng.uniform(0.3, 0.36), STEP * label + rng.uniform(-12, 12)
    fetal.abdomen(canvas, rng, x, y, radius, radius * rng.uniform(0.9, 1))
    fetal.spine(canvas, *polar(x, y, 0.68 * radius, angle), 0.09 * unit, angle)
    for side in (-1, 1):
        ala = polar(x, y, 0.62 * radius, angle + side * 52)
        canvas.fill(ellipse(*ala, 0.22 * radius, 0.09 * radius, angle + side * 62, 24), 11, shadow=6)
    bladder = polar(x, y, 0.45 * radius, angle + 180)
    canvas.fill(blob(rng, *bladder, 0.22 * radius, 0.17 * radius, angle, 0.08), -34, grain=1, shadow=-3)


def liver_lesion_2cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a liver with a sharp cyst or bright haemangioma (0) or dark-rimmed irregular malignant masses (1)."""
    organs.liver(canvas, rng)
    unit = canvas.unit
    if label == 0:
        x, y = canvas.at(rng.uniform(0.4, 0.6), rng.uniform(0.42, 0.62))
        size = unit * rng.uniform(0.07, 0.15)
        cyst = rng.random() < 0.5
        outline = blob(rng, x, y, size, size * rng.uniform(0.8, 1), rng.uniform(0, 180), 0.04)
        level = rng.uniform(-36, -26) if cyst else rng.uniform(6, 10)
        canvas.fill(outline, level, grain=1, fine=True, shadow=-rng.uniform(6, 9) if cyst else -2)
        return
    count = int(rng.integers(1, 4))
    for x in np.linspace(0.5 - 0.11 * count, 0.5 + 0.11 * count, 2 * count + 1)[1::2]:
        spot = canvas.at(x + rng.uniform(-0.02, 0.02), rng.uniform(0.38, 0.6))
        size, angle = unit * rng.uniform(0.07, 0.11), rng.uniform(0, 180)
        canvas.fill(blob(rng, *spot, 1.3 * size, 1.2 * size, angle, 0.22), rng.uniform(-17, -12), grain=1)
        canvas.fill(blob(rng, *spot, 0.9 * size, 0.8 * size, angle, 0.22), rng.uniform(-7, 3), grain=4, fine=True,
                    shadow=3)  # fmt: skip


def lung_2cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a lung: healthy with A-lines (0), or diseased with B-lines or a consolidation (1)."""
    lung_disease_3cls(canvas, rng, int(rng.integers(1, 3)) if label else 0)


def lung_disease_3cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a lung with A-lines (0), B-lines (1) or a consolidation with air bronchograms (2)."""
    pleura = chest.chest_wall(canvas, rng)
    if label == 0:
        chest.a_lines(canvas, rng, pleura)
    elif label == 2:
        chest.consolidation(canvas, rng, pleura)
    canvas.stroke(pleura, rng.uniform(17, 21), rng.uniform(0.02, 0.03) * canvas.unit)
    if label == 1:
        chest.b_lines(canvas, rng, pleura, int(rng.integers(2, 5)))
    chest.ribs(canvas, rng, pleura)


def organ_cls(canvas: Canvas, rng: Generator, label: int) -> None:
    """Paint a bladder (0), bowel (1), gallbladder (2), kidney (3), liver (4) or spleen (5)."""
    painters = (organs.bladder, organs.bowel, organs.gallbladder, organs.kidney, organs.liver, organs.spleen)
    painters[label](canvas, rng)


CLASSIFICATION: dict[str, Callable[[Canvas, Generator, int], None]] = {
    painter.__name__: painter
    for painter in (
        breast_2cls, breast_3cls, fetal_head_pos_cls, fetal_plane_cls, fetal_sacral_pos_cls, liver_lesion_2cls,
        lung_2cls, lung_disease_3cls, organ_cls,
    )
}  # fmt: skip
