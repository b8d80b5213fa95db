"""Answers drawn on images."""

import numpy as np
import pytest

from aurora.kinds import KINDS, Drawing, Prediction
from aurora.kinds.classification import record as classification
from aurora.kinds.detection import record as detection
from aurora.kinds.landmarks import record as landmarks
from aurora.render.drawing import COLOURS, draw, draw_classes, draw_scale_bar, fitted
from aurora.rows import Row
from aurora.tasks import TaskType

SIZE = (100, 200)
ROW = Row("lung", TaskType.SEGMENTATION, 2, "../1.png", None, "a.csv:2", {})


def drawn(prediction: Prediction, task_type: TaskType = TaskType.SEGMENTATION) -> np.ndarray:
    shown, scale = fitted(np.zeros((*SIZE, 3), np.uint8), 220)
    draw(shown, KINDS[task_type].draw_prediction(prediction), scale)
    return shown


def coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The extent x1, y1, x2, y2 of a colour."""
    y, x = np.nonzero((picture == colour).all(axis=2))
    return int(x.min()), int(y.min()), int(x.max()), int(y.max())


def test_a_mask_is_outlined_in_a_colour_per_class() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[20:40, 20:60], mask[60:80, 100:180] = 1, 2
    assert coloured(drawn(mask), COLOURS[0]) == pytest.approx((22, 22, 66, 44), abs=2)
    assert coloured(drawn(mask), COLOURS[1]) == pytest.approx((110, 66, 198, 88), abs=2)


def test_a_hole_in_a_mask_is_outlined_too() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[10:90, 10:190] = 1
    full = drawn(mask)
    mask[40:60, 80:120] = 0
    assert (drawn(mask) == COLOURS[0]).all(axis=2).sum() > (full == COLOURS[0]).all(axis=2).sum()


def test_a_box_and_points_are_drawn_where_they_are_in_the_image() -> None:
    box = detection(ROW, np.array([0.25, 0.2, 0.5, 0.6]), SIZE)
    assert coloured(drawn(box, TaskType.DETECTION), COLOURS[0]) == pytest.approx((55, 22, 110, 66), abs=2)
    points = landmarks(ROW, np.array([[0.25, 0.5], [0.75, 0.5]]), SIZE)
    assert coloured(drawn(points, TaskType.REGRESSION), COLOURS[1]) == pytest.approx(
        (165 - 7, 55 - 7, 165 + 7, 55 + 7), abs=2
    )


def test_the_likeliest_classes_have_bars_as_long_as_they_are_likely() -> None:
    prediction = classification(ROW, np.array([0.25, 0.75]))
    picture = drawn(prediction, TaskType.CLASSIFICATION)
    first, second = coloured(picture, COLOURS[1]), coloured(picture, COLOURS[0])
    assert first[3] < second[1]
    assert (first[2] - first[0]) / (second[2] - second[0]) == pytest.approx(3, abs=0.2)


def test_no_more_than_four_classes_have_bars() -> None:
    shown = np.full((200, 200, 3), 99, np.uint8)
    draw_classes(shown, [0.125] * 8)
    assert (shown[60:] == 99).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 5)])
@pytest.mark.parametrize("probabilities", [[1.0], [0.5, 0.5]])
def test_images_of_any_shape_can_be_drawn_on(size: tuple[int, int], probabilities: list[float]) -> None:
    shown, scale = fitted(np.zeros((*size, 3), np.uint8), 220)
    assert max(shown.shape) == 220
    draw(shown, Drawing(mask=np.ones(size, np.uint8)), scale)
    draw(shown, Drawing(probabilities=probabilities), scale)
    draw(shown, Drawing(mask=np.ones(size, np.uint8)), scale, names=["background", "pubic symphysis"])
    draw(shown, Drawing(), scale)


def test_only_the_structures_of_a_mask_are_named_beside_their_colours() -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[150:190, 150:190] = 2
    shown = np.zeros((200, 200, 3), np.uint8)
    draw(shown, Drawing(mask=mask), 1.0, names=["background", "symphysis", "head"])
    corner = shown[:100, :100]
    assert (corner == COLOURS[1]).all(axis=2).any()
    assert not (corner == COLOURS[0]).all(axis=2).any()
    assert (corner == 255).all(axis=2).any()  # the name


def test_named_classes_have_bars_right_of_their_names() -> None:
    plain, named = np.zeros((2, 100, 300, 3), np.uint8)
    draw_classes(plain, [0.4, 0.6])
    draw_classes(named, [0.4, 0.6], ["benign", "malignant"])
    (left, *_), (shifted, *_) = coloured(plain, COLOURS[1]), coloured(named, COLOURS[1])
    assert shifted > left + 20


@pytest.mark.parametrize(("pixel_width", "length"), [(0.2, 20), (0.01, 1), (1.0, 100), (0.31, 20), (0.38, 50)])
def test_the_scale_bar_is_as_long_as_it_says(pixel_width: float, length: float) -> None:
    picture = np.full((200, 400, 3), 90, np.uint8)
    assert draw_scale_bar(picture, pixel_width) == pytest.approx(length)
    row = picture[200 - 9]  # above the lower edge of the bar
    assert (row == 255).all(axis=1).sum() == pytest.approx(length / pixel_width, abs=1.5)
    assert (picture[:150] == 90).all()
