"""Image and label move together, and tasks that know left from right are never mirrored."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurora.rows import Row
from aurora.tasks import Task, TaskType
from aurora.transform import to_fractions, to_frame
from training.augment import jitter, random_affine, warp_image, warp_masks, warp_points
from training.data import Case, Sample, load_sample

FRAMES = pytest.mark.parametrize("frame", [(128, 128), (128, 192), (192, 128)])


@FRAMES
@given(seed=st.integers(0, 10_000), width=st.integers(60, 300), height=st.integers(60, 300), sided=st.booleans())
@settings(max_examples=40, deadline=None)
def test_image_mask_and_point_stay_in_register(
    frame: tuple[int, int], seed: int, width: int, height: int, sided: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, y = int(width * rng.uniform(0.35, 0.65)), int(height * rng.uniform(0.35, 0.65))
    image = np.zeros((height, width, 3), np.uint8)
    image[y - 5 : y + 6, x - 5 : x + 6] = 255
    matrix = random_affine(rng, (height, width), frame, sided=sided)
    point = warp_points(to_fractions(np.array([[x, y]]), (height, width)), matrix, frame)[0]
    warped = warp_image(to_frame(image, frame), matrix)[..., 0].astype(float)
    shares = warp_masks((image[..., 0] > 0).astype(np.uint8), 2, matrix, frame, 4)
    for field in (warped, shares[1]):
        # half a pixel of the frame, plus what resampling moves the centre of mass by
        assert (np.abs(centre_of_mass(field) - point) * frame[::-1]).max() < 0.75


def centre_of_mass(field: np.ndarray) -> np.ndarray:
    """x and y in fractions of the field."""
    rows, columns = np.indices(field.shape)
    return to_fractions(np.array([(columns * field).sum(), (rows * field).sum()]) / field.sum(), field.shape)


@FRAMES
@pytest.mark.parametrize("seed", range(8))
def test_the_targets_of_every_type_stay_on_the_mark(tmp_path: Path, frame: tuple[int, int], seed: int) -> None:
    mark = np.zeros((120, 200), np.uint8)
    mark[40:61, 100:141] = 1
    cv2.imwrite(str(tmp_path / "image.png"), 255 * mark)
    cv2.imwrite(str(tmp_path / "mask.png"), mark)
    box = {"x_min": "100", "y_min": "40", "x_max": "140", "y_max": "60"}
    sample = load(tmp_path, TaskType.SEGMENTATION, {}, frame, seed)
    x1, y1, x2, y2 = load(tmp_path, TaskType.DETECTION, box, frame, seed).target
    point = load(tmp_path, TaskType.REGRESSION, {"point_1_xy": "[120, 50]"}, frame, seed).target[0]
    seen = (sample.image[..., 0] > 40).astype(float)
    for place in (centre_of_mass(seen), centre_of_mass(sample.target[1]), ((x1 + x2) / 2, (y1 + y2) / 2)):
        assert (np.abs(point - place) * frame[::-1]).max() < 1


def load(root: Path, kind: TaskType, labels: dict[str, str], frame: tuple[int, int], seed: int) -> Sample:
    task = Task("mark", kind, 2 if kind is TaskType.SEGMENTATION else 1, left_right=True)
    row = Row("mark", kind, None, "../image.png", "../mask.png", "a.csv:2", labels)
    return load_sample(Case(root, row, task), frame, np.random.default_rng(seed))


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


@given(seed=st.integers(0, 10_000))
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
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)


@FRAMES
def test_jitter_keeps_the_form_and_does_something(frame: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*frame, 3), dtype=np.uint8)
    for seed in range(20):  # enough that each change is drawn
        changed = jitter(image, np.random.default_rng(seed))
        assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
        assert not np.array_equal(changed, image)
