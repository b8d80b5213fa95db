"""Image and label move together, and tasks that know left from right are never mirrored."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.discs import centre, corners, disc, extent, pixels_off

from aurora.images.transform import resize_to, to_fractions
from training.augment.field_of_view import MARGIN_PIXELS, crop_field_of_view, random_field_of_view
from training.augment.geometry import random_affine, warp_box, warp_image, warp_masks, warp_points

FRAMES = pytest.mark.parametrize("frame", [(128, 128), (128, 192), (192, 128), (64, 256)])
SEEDS = st.integers(0, 10_000)


@FRAMES
@given(seed=SEEDS, width=st.integers(60, 600), height=st.integers(60, 600), sided=st.booleans())
@settings(max_examples=25, deadline=None)
def test_image_mask_box_and_point_stay_in_register(
    frame: tuple[int, int], seed: int, width: int, height: int, sided: bool
) -> None:
    rng = np.random.default_rng(seed)
    place, radii = np.round(rng.uniform(0.35, 0.65, 2) * (width, height)), rng.uniform(0.15, 0.3, 2) * (width, height)
    mask = disc((height, width), place, radii)
    box = to_fractions(np.array([place - radii, place + radii]), mask.shape)
    matrix = random_affine(rng, mask.shape, frame, sided=sided, keep=corners(box))
    moved = warp_box(box, matrix, frame)
    point = warp_points(to_fractions(place[None], mask.shape), matrix, frame)[0]
    image = warp_image(resize_to(np.dstack([255 * mask] * 3), frame), matrix)[..., 0]
    coarse = 0.5 * max(1.0, frame[0] / height, frame[1] / width)  # half a pixel of the image, where those are larger
    for field in (image, warp_masks(mask, 2, matrix, frame, 4)[1]):
        assert pixels_off(centre(extent(field)), point, frame) < 0.5
        assert pixels_off(extent(field), moved, frame) < coarse


@FRAMES
@given(seed=SEEDS, count=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_points_stay_in_the_field_of_view_with_a_margin(frame: tuple[int, int], seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    keep = rng.random((count, 2))
    outline = random_field_of_view(keep, frame, rng).astype(np.float32)
    for x, y in keep * frame[::-1]:
        assert cv2.pointPolygonTest(outline, (x, y), True) > MARGIN_PIXELS - 0.5


@FRAMES
def test_fields_of_view_are_cropped_now_a_little_now_much(frame: tuple[int, int]) -> None:
    white, rng = np.full((*frame, 3), 255, np.uint8), np.random.default_rng(0)
    keep = np.array([(0.5, 0.5)])
    shown = [(crop_field_of_view(white, keep, rng, chance=1.0) > 0).mean() for _ in range(100)]
    assert 0.15 < min(shown) < 0.4 < 0.75 < max(shown) <= 1


@FRAMES
@given(seed=SEEDS, count=st.integers(1, 6))
def test_what_is_kept_never_leaves_the_frame(frame: tuple[int, int], seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    keep = rng.random((count, 2))
    moved = warp_points(keep, random_affine(rng, (90, 250), frame, sided=False, keep=keep), frame)
    assert moved.min() > -1e-9
    assert moved.max() < 1 + 1e-9


@FRAMES
def test_a_turn_is_one_in_the_images_own_proportions(frame: tuple[int, int]) -> None:
    """Stretching and then turning keeps the axes at right angles; a turn in another frame would shear them."""
    matrix = random_affine(np.random.default_rng(0), (100, 150), frame, sided=False)
    pitch = np.array((150 / frame[1], 100 / frame[0]))
    own = pitch[:, None] * matrix[:, :2] / pitch
    assert abs(own[0, 1]) > 0.01
    assert own[:, 0] @ own[:, 1] == pytest.approx(0, abs=1e-12)


@FRAMES
def test_a_seed_moves_each_fraction_of_the_image_alike_in_any_frame(frame: tuple[int, int]) -> None:
    places = np.random.default_rng(0).random((5, 2))
    found, expected = (
        warp_points(places, random_affine(np.random.default_rng(1), (100, 150), size, sided=False), size)
        for size in (frame, (64, 64))
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


@given(seed=SEEDS)
def test_sided_tasks_are_never_mirrored(seed: int) -> None:
    matrix = random_affine(np.random.default_rng(seed), (100, 150), (128, 128), sided=True)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_others_are_mirrored_now_and_then() -> None:
    rng = np.random.default_rng(0)
    signs = [np.linalg.det(random_affine(rng, (100, 150), (128, 128), sided=False)[:, :2]) > 0 for _ in range(200)]
    assert 60 < sum(signs) < 140


@FRAMES
def test_shares_sum_to_one(frame: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).integers(0, 4, (90, 70), dtype=np.uint8)
    shares = warp_masks(mask, 4, np.eye(2, 3), frame, 4)
    assert shares.shape == (4, frame[0] // 4, frame[1] // 4)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)


@FRAMES
@pytest.mark.parametrize("size", [(768, 1024), (700, 1000), (1500, 500)])
def test_a_large_mask_is_averaged_over_its_cells(frame: tuple[int, int], size: tuple[int, int]) -> None:
    mask = disc(size, np.array([size[1] * 0.47, size[0] * 0.52]), np.array([size[1] * 0.3, size[0] * 0.2]))
    cells = frame[1] // 4, frame[0] // 4
    exact = cv2.resize(mask.astype(np.float32), cells, interpolation=cv2.INTER_AREA)
    assert np.abs(warp_masks(mask, 2, np.eye(2, 3), frame, 4)[1] - exact).max() < 0.035
