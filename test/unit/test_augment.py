"""Image and label move together, and tasks that know left from right are never mirrored."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aurora.transform import to_fractions, to_square
from training.augment import jitter, random_affine, warp_image, warp_masks, warp_points

SIDE = 128


@given(seed=st.integers(0, 10_000), width=st.integers(60, 300), height=st.integers(60, 300), sided=st.booleans())
@settings(max_examples=40, deadline=None)
def test_image_mask_and_point_stay_in_register(seed: int, width: int, height: int, sided: bool) -> None:
    rng = np.random.default_rng(seed)
    x, y = int(width * rng.uniform(0.35, 0.65)), int(height * rng.uniform(0.35, 0.65))
    image = np.zeros((height, width, 3), np.uint8)
    image[y - 5 : y + 6, x - 5 : x + 6] = 255
    matrix = random_affine(rng, (height, width), SIDE, sided=sided)
    point = warp_points(to_fractions(np.array([[x, y]]), (height, width)), matrix, SIDE)[0]
    warped = warp_image(to_square(image, SIDE), matrix)[..., 0].astype(float)
    shares = warp_masks((image[..., 0] > 0).astype(np.uint8), 2, matrix, SIDE, 4)
    for field in (warped, shares[1]):
        # half a pixel of the square image, plus what resampling moves the centre of mass by
        np.testing.assert_allclose(centre_of_mass(field), point, atol=0.75 / SIDE)


def centre_of_mass(field: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(field.shape)
    weight = field.sum()
    return (
        ((columns + 0.5) * field).sum() / weight / field.shape[1],
        ((rows + 0.5) * field).sum() / weight / field.shape[0],
    )


@given(seed=st.integers(0, 10_000))
def test_sided_tasks_are_never_mirrored(seed: int) -> None:
    matrix = random_affine(np.random.default_rng(seed), (100, 150), SIDE, sided=True)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_others_are_mirrored_now_and_then() -> None:
    rng = np.random.default_rng(0)
    signs = [np.linalg.det(random_affine(rng, (100, 150), SIDE, sided=False)[:, :2]) > 0 for _ in range(200)]
    assert 60 < sum(signs) < 140


def test_shares_sum_to_one() -> None:
    mask = np.random.default_rng(0).integers(0, 4, (90, 70), dtype=np.uint8)
    shares = warp_masks(mask, 4, np.eye(2, 3), SIDE, 4)
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)


def test_jitter_keeps_the_form_and_does_something() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    changed = jitter(image, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
    assert not np.array_equal(changed, image)
