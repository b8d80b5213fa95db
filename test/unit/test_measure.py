"""Measurements of shapes whose values are known, with square and with other pixels."""

import math

import numpy as np
import pytest

from aurora.api.measure import (
    angle_of_progression,
    ellipse_circumference,
    equivalent_ellipse,
    longest_diameter,
    measure_box,
    measure_mask,
    measure_points,
    perimeter,
)
from training.phantom.anatomy.canvas import Canvas
from training.phantom.tasks import segmentation

SPACINGS = pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.15, 0.15), (0.1, 0.25)])
#: Lengths in pixels: half the major and half the minor axis.
ELLIPSES = pytest.mark.parametrize("axes", [(90.0, 90.0), (110.0, 70.0), (130.0, 40.0)])
ANGLES = pytest.mark.parametrize("angle", [0, 17, 45, 90, 133])


def ellipse(axes: tuple[float, float], angle: float, spacing: tuple[float, float]) -> np.ndarray:
    """A filled ellipse whose half axes are these lengths times the mean side of a pixel."""
    unit = math.sqrt(spacing[0] * spacing[1])
    extent = [2 * round(1.1 * max(axes) * unit / side) for side in spacing]
    y, x = (np.indices(extent).T - (np.array(extent) - 1) / 2).T * np.array(spacing)[:, None, None]
    turn = math.radians(angle)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return ((along / (axes[0] * unit)) ** 2 + (across / (axes[1] * unit)) ** 2 <= 1).astype(np.uint8)


@SPACINGS
@ELLIPSES
@ANGLES
def test_an_ellipse_has_its_axes_area_and_circumference(
    spacing: tuple[float, float], axes: tuple[float, float], angle: float
) -> None:
    unit = math.sqrt(spacing[0] * spacing[1])
    values = {item.name: item for item in measure_mask(ellipse(axes, angle, spacing), spacing)}
    major, minor = (2 * unit * axis for axis in axes)
    circumference = ellipse_circumference(major, minor)
    assert values["area"].value == pytest.approx(math.pi * major * minor / 4, rel=0.003)
    assert values["ellipse's major axis"].value == pytest.approx(major, rel=0.003)
    assert values["ellipse's minor axis"].value == pytest.approx(minor, rel=0.003)
    assert values["ellipse's circumference"].value == pytest.approx(circumference, rel=0.003)
    assert values["longest diameter"].value == pytest.approx(major, rel=0.01)
    assert values["perimeter"].value == pytest.approx(circumference, rel=0.005 if spacing[0] == spacing[1] else 0.015)
    assert {item.unit for item in values.values()} == {"mm", "mm2"}
    assert {item.structure for item in values.values()} == {1}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spacing", [(0.6, 0.6), (0.5, 0.7)])
def test_the_head_of_a_phantom_has_the_axes_and_circumference_that_were_drawn(
    monkeypatch: pytest.MonkeyPatch, seed: int, spacing: tuple[float, float]
) -> None:
    heads = []

    def recorded(x: float, y: float, a: float, b: float, angle: float) -> np.ndarray:
        heads.append((a, b, math.radians(angle)))
        return ellipse_outline(x, y, a, b, angle)

    ellipse_outline = segmentation.ellipse
    monkeypatch.setattr(segmentation, "ellipse", recorded)
    rng = np.random.default_rng(seed)
    canvas = Canvas(256, 320, rng)
    segmentation.fetal_head(canvas, rng)
    ((a, b, angle),) = heads
    # The shape of the drawn ellipse in mm: scaling by the spacing changes its axes and their direction.
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    minor, major = np.sort(np.linalg.svd(np.diag(spacing[::-1]) @ turn @ np.diag([a, b]))[1] * 2)
    values = {item.name: item.value for item in measure_mask(canvas.mask, spacing)}
    assert values["ellipse's major axis"] == pytest.approx(major, rel=0.01)
    assert values["ellipse's minor axis"] == pytest.approx(minor, rel=0.01)
    assert values["ellipse's circumference"] == pytest.approx(ellipse_circumference(major, minor), rel=0.01)


@pytest.mark.parametrize(("major", "minor", "exact"), [(2, 2, 2 * math.pi), (2, 0, 4.0), (4, 2, 9.688448220547675)])
def test_the_circumference_of_an_ellipse(major: float, minor: float, exact: float) -> None:
    # The last value is 4 a E(e) with the complete elliptic integral of the second kind, for a = 2 and b = 1.
    assert ellipse_circumference(major, minor) == pytest.approx(exact, rel=5e-4)


@SPACINGS
def test_a_rectangle(spacing: tuple[float, float]) -> None:
    mask = np.zeros((120, 150), np.uint8)
    mask[20:100, 30:130] = 2
    height, width = 80 * spacing[0], 100 * spacing[1]
    values = {item.name: item.value for item in measure_mask(mask, spacing)}
    assert values["area"] == pytest.approx(height * width)
    assert values["longest diameter"] == pytest.approx(math.hypot(height, width), rel=1e-5)
    assert values["perimeter"] == pytest.approx(2 * (height + width), rel=0.02)


def test_a_hole_has_an_outline_too() -> None:
    ring, hole = ellipse((80, 80), 0, (1, 1)), ellipse((40, 40), 0, (1, 1))
    margin = (len(ring) - len(hole)) // 2
    ring -= np.pad(hole, margin)
    assert perimeter(ring) == pytest.approx(2 * math.pi * 120, rel=0.006)


def test_without_a_pixel_size_the_unit_is_the_pixel() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 4] = 1
    assert {item.unit for item in measure_mask(mask)} == {"px", "px2"}
    assert longest_diameter(mask) == pytest.approx(math.sqrt(2))
    assert equivalent_ellipse(mask) == pytest.approx([2 / math.sqrt(3)] * 2)
    assert measure_mask(np.zeros((9, 9), np.uint8)) == []


def test_each_class_is_measured_on_its_own() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:10, 5:15], mask[20:30, 20:30] = 1, 3
    areas = {item.structure: item.value for item in measure_mask(mask) if item.name == "area"}
    assert areas == {1: 50, 3: 100}


def test_boxes_and_landmarks() -> None:
    assert [item[:3] for item in measure_box([10, 20, 40, 60], (0.5, 0.1))] == [
        ("width", 3.0, "mm"),
        ("height", 20.0, "mm"),
    ]
    points = np.array([[0, 0], [30, 40], [0, 40]])
    assert [(item.name, item.value) for item in measure_points(points)] == [
        ("distance 1-2", 50.0),
        ("distance 1-3", 40.0),
        ("distance 2-3", 30.0),
    ]
    assert [item.value for item in measure_points(points[:2], (2.0, 1.0))] == [pytest.approx(math.hypot(30, 80))]
    assert len(measure_points(np.zeros((6, 2)))) == 5


@pytest.mark.parametrize("angle", [35.0, 90.0, 121.0, 179.0])
@pytest.mark.parametrize("mirrored", [1, -1])
def test_the_angle_of_progression(angle: float, mirrored: int) -> None:
    turn = math.radians(angle)
    lower = np.array([50.0, 60.0])
    points = np.array([lower - [20, 0], lower, lower + 70 * np.array([-math.cos(turn), math.sin(turn)])])
    points[:, 0] *= mirrored
    assert angle_of_progression(points) == pytest.approx(angle)
    # In pixels that aren't square the angle is that of the body, not of the picture.
    found = measure_points(points / (0.2, 0.5), (0.5, 0.2), progression=True)[-1]
    assert found[:3] == ("angle of progression", pytest.approx(angle), "deg")
