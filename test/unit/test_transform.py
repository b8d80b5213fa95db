"""The model's frame and the image's own agree on where things are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurora.transform import to_fractions, to_pixels, to_square

SIDE = 64
SIZES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@settings(deadline=None)
@given(SIZES, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9))
def test_to_pixels_inverts_to_fractions(size: tuple[int, int], places: list[tuple[float, float]]) -> None:
    points = np.array(places) * (size[1] - 1, size[0] - 1)
    np.testing.assert_allclose(to_pixels(to_fractions(points, size), size), points, atol=1e-9)


@settings(deadline=None)
@given(SIZES, st.floats(-10, 10), st.floats(-10, 10))
def test_pixels_never_leave_the_image(size: tuple[int, int], x: float, y: float) -> None:
    pixels = to_pixels(np.array([x, y]), size)
    assert (pixels >= 0).all()
    assert (pixels <= (size[1], size[0])).all()


def test_whole_numbers_are_the_centres_of_pixels() -> None:
    corners = to_fractions(np.array([[-0.5, -0.5], [39.5, 19.5], [0, 0]]), (20, 40))
    np.testing.assert_allclose(corners, np.array([[0, 0], [1, 1], [1 / 80, 1 / 40]]))


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (64, 64), (30, 50), (300, 500), (20, 700)])
def test_any_image_becomes_the_square(size: tuple[int, int]) -> None:
    square = to_square(np.full((*size, 3), 77, np.uint8), SIDE)
    assert square.shape == (SIDE, SIDE, 3)
    assert (square == 77).all()


def test_a_channel_keeps_its_place() -> None:
    assert to_square(np.full((9, 7, 3), (1, 2, 3), np.uint8), SIDE)[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("size", [(64, 64), (30, 50), (300, 500), (64, 333), (20, 700), (700, 20), (33, 1000)])
def test_the_square_shows_each_place_of_the_image_where_its_fraction_says(size: tuple[int, int]) -> None:
    """An image whose values are its own coordinates still holds them after it is resized."""
    y, x = np.mgrid[: size[0], : size[1]]
    coordinates = to_fractions(np.stack([x, y], axis=-1), size).astype(np.float32)
    square = to_square(np.dstack([coordinates, coordinates[..., 0]]), SIDE)[..., :2]
    y, x = np.mgrid[:SIDE, :SIDE]
    expected = to_fractions(np.stack([x, y], axis=-1), (SIDE, SIDE))
    inner = slice(4, -4)  # nothing lies beyond the edge that the outermost cells could be mixed with
    assert np.abs(square - expected)[inner, inner].max() * SIDE < 0.1
