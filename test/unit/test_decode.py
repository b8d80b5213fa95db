"""Raw outputs with a known answer, and any raw output at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aurora.kinds import segmentation
from aurora.kinds.classification import softmax
from aurora.kinds.detection import decode_box
from aurora.kinds.landmarks import decode_points
from aurora.kinds.segmentation import decode_mask


def stripes(classes: int, cells: int, rows: int = 6) -> np.ndarray:
    """Logits (classes, rows, classes * cells) that are sure of one class per upright stripe."""
    return np.repeat(np.eye(classes, dtype=np.float32), cells, axis=1)[:, None].repeat(rows, axis=1)


def finite(*shape: int, low: float = -1e30) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, shape, elements=st.floats(float(np.float32(low)), float(np.float32(1e30)), width=32))


def box_maps(*cells: tuple[int, int, float, tuple[float, float, float, float]], columns: int = 8) -> np.ndarray:
    """Maps (5, 8, columns) with nothing but the given cells: row, column, objectness, distances to the sides."""
    maps = np.zeros((5, 8, columns), np.float32)
    maps[0] = -20
    for row, column, objectness, distances in cells:
        maps[:, row, column] = objectness, *distances
    return maps


@pytest.mark.parametrize(("classes", "cells"), [(2, 4), (3, 5), (5, 2)])
def test_borders_between_classes_fall_on_the_right_pixel_of_a_larger_image(classes: int, cells: int) -> None:
    mask = decode_mask(stripes(classes, cells), (33, classes * cells * 20))
    assert mask.dtype == np.uint8
    assert (mask == np.arange(classes).repeat(cells * 20)).all()


def test_borders_are_finer_than_a_cell() -> None:
    logits = np.zeros((2, 1, 4), np.float32)
    logits[1, 0] = -3, -3, 1, 1  # crosses 0 at three quarters of the way from cell 1 to cell 2
    assert decode_mask(logits, (1, 400)).argmax() == 150 + 75


def test_rows_and_columns_are_not_confused() -> None:
    assert (decode_mask(stripes(2, 4).transpose(0, 2, 1), (80, 30))[:40] == 0).all()
    assert (decode_mask(stripes(2, 4).transpose(0, 2, 1), (80, 30))[40:] == 1).all()


def test_a_smaller_image_than_the_logits_is_decoded_too() -> None:
    assert decode_mask(stripes(2, 32), (1, 2)).tolist() == [[0, 1]]


def test_a_huge_image_is_decoded_on_a_smaller_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "MAX_ARGMAX_PIXELS", 128)
    mask = decode_mask(stripes(2, 4), (40, 80))
    assert mask.shape == (40, 80)
    assert (mask == np.arange(2).repeat(40)).all()


def test_the_best_of_equal_classes_is_the_first() -> None:
    assert not decode_mask(np.ones((3, 4, 4), np.float32), (9, 9)).any()


@pytest.mark.parametrize(
    ("logits", "expected"), [([0, np.log(3)], [0.25, 0.75]), ([1e4, 0], [1, 0]), ([-1e4, -1e4], [0.5, 0.5]), ([7], [1])]
)
def test_softmax(logits: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(softmax(np.array(logits, np.float32)), expected, atol=1e-6)


@pytest.mark.parametrize("columns", [6, 8, 16])
def test_a_box_is_measured_from_the_centre_of_its_cell_in_fractions_of_each_side(columns: int) -> None:
    box = decode_box(box_maps((2, 5, 4.0, (0.1, 0.2, 0.05, 0.4)), columns=columns))
    x, y = 5.5 / columns, 2.5 / 8
    np.testing.assert_allclose(box, [x - 0.1, y - 0.2, x + 0.05, y + 0.4], atol=1e-6)


def test_cells_that_agree_vote_and_others_do_not() -> None:
    near = (3, 4, 3.0, (0.3, 0.2, 0.2, 0.2))
    unsure, elsewhere = (3, 5, 0.0, (0.4, 0.2, 0.2, 0.2)), (0, 0, 2.9, (0.05, 0.05, 0.05, 0.05))
    box = decode_box(box_maps((3, 3, 3.0, (0.2, 0.2, 0.2, 0.2)), near, unsure, elsewhere))
    mean = np.mean([[3.5 / 8 - 0.2, 3.5 / 8 + 0.2], [4.5 / 8 - 0.3, 4.5 / 8 + 0.2]], axis=0)
    np.testing.assert_allclose(box, [mean[0], 3.5 / 8 - 0.2, mean[1], 3.5 / 8 + 0.2], atol=1e-6)


def test_a_vote_weighs_as_much_as_it_is_sure() -> None:
    sure, less = (3, 3, 8.0, (0.2, 0.2, 0.2, 0.2)), (3, 4, np.log(19.0), (0.2, 0.2, 0.2, 0.2))
    first, second = 1 / (1 + np.exp(-8.0)), 0.95
    box = decode_box(box_maps(sure, less))
    assert box[0] + 0.2 == pytest.approx((first * 3.5 + second * 4.5) / (first + second) / 8)


def test_a_model_that_sees_nothing_anywhere_still_gives_a_box() -> None:
    maps = np.full((5, 4, 4), 0.1, np.float32)
    maps[0] = -1e4
    assert np.isfinite(decode_box(maps)).all()


@pytest.mark.parametrize(("x", "y"), [(8.0, 8.0), (5.25, 11.6), (7.5, 6.9)])
def test_points_are_found_between_cells(x: float, y: float) -> None:
    rows, columns = np.mgrid[:16, :16] + 0.5
    blob = -((columns - x) ** 2 + (rows - y) ** 2) / 2
    np.testing.assert_allclose(decode_points(blob[None].astype(np.float32)), [[x / 16, y / 16]], atol=1e-3)


def test_each_heatmap_gives_its_own_point() -> None:
    heatmaps = np.zeros((2, 4, 8), np.float32)
    heatmaps[0, 0, 7] = heatmaps[1, 3, 0] = 100
    np.testing.assert_allclose(decode_points(heatmaps), [[7.5 / 8, 0.5 / 4], [0.5 / 8, 3.5 / 4]])


@settings(deadline=None)
@given(finite(3, 5, 4), st.integers(1, 60), st.integers(1, 60))
def test_masks_hold_only_classes_at_the_size_asked_for(logits: np.ndarray, height: int, width: int) -> None:
    mask = decode_mask(logits, (height, width))
    assert mask.shape == (height, width)
    assert mask.max() < 3


@settings(deadline=None)
@given(finite(4))
def test_probabilities_sum_to_1_and_favour_the_best_logit(logits: np.ndarray) -> None:
    probabilities = softmax(logits)
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[logits.argmax()] == probabilities.max()


@settings(deadline=None)
@given(finite(1, 3, 4), finite(4, 3, 4, low=0.0))
def test_boxes_are_ordered_and_inside(objectness: np.ndarray, distances: np.ndarray) -> None:
    x1, y1, x2, y2 = decode_box(np.concatenate([objectness, distances]))
    assert -1e-12 < x1 <= x2 < 1 + 1e-12
    assert -1e-12 < y1 <= y2 < 1 + 1e-12


@settings(deadline=None)
@given(finite(2, 3, 4))
def test_points_are_inside(heatmaps: np.ndarray) -> None:
    points = decode_points(heatmaps)
    assert points.shape == (2, 2)
    assert ((points > 0) & (points < 1)).all()
