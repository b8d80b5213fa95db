"""Coordinates and pixels map between the image and the model's input and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurora.images.transform import resize_to, to_fractions, to_pixels

FRAMES = [(64, 64), (64, 160), (96, 32)]
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
@pytest.mark.parametrize("frame", FRAMES)
def test_any_image_fills_the_input(size: tuple[int, int], frame: tuple[int, int]) -> None:
    pixels = resize_to(np.full((*size, 3), 77, np.uint8), frame)
    assert pixels.shape == (*frame, 3)
    assert (pixels == 77).all()


@pytest.mark.parametrize("frame", FRAMES)
def test_an_image_of_the_input_size_stays_as_it_is(frame: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*frame, 3), dtype=np.uint8)
    assert (resize_to(pixels, frame) == pixels).all()


def test_a_channel_keeps_its_place() -> None:
    assert resize_to(np.full((9, 7, 3), (1, 2, 3), np.uint8), (64, 64))[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("size", [(64, 64), (30, 50), (300, 500), (64, 333), (20, 700), (700, 20), (33, 1000)])
@pytest.mark.parametrize("frame", FRAMES)
def test_each_point_of_the_image_is_where_its_fraction_says(size: tuple[int, int], frame: tuple[int, int]) -> None:
    """An image whose values are its own coordinates still holds them after it is resized."""
    y, x = np.mgrid[: size[0], : size[1]]
    coordinates = to_fractions(np.stack([x, y], axis=-1), size).astype(np.float32)
    shown = resize_to(np.dstack([coordinates, coordinates[..., 0]]), frame)[..., :2]
    y, x = np.mgrid[: frame[0], : frame[1]]
    expected = to_fractions(np.stack([x, y], axis=-1), frame)
    inner = slice(4, -4)  # the outermost cells have no neighbours to be averaged with
    assert (np.abs(shown - expected)[inner, inner] * frame[::-1]).max() < 0.1


@pytest.mark.parametrize("size", [(40, 60), (200, 30), (96, 64), (64, 96), (300, 300)])
def test_a_grey_image_needs_one_channel_only(size: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    shown = np.broadcast_to(grey[..., None], (*size, 3))
    assert np.array_equal(resize_to(shown, (64, 96)), resize_to(np.ascontiguousarray(shown), (64, 96)))
