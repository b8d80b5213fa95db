"""Grey values change as machines change them, and nothing moves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import intensity
from training.augment.intensity import Chances, add_decibels, augment_intensity, echo_levels
from training.augment.overlays import OVERLAYS, draw_overlays

FRAMES = pytest.mark.parametrize("frame", [(128, 128), (128, 192), (192, 128), (64, 256)])
SEEDS = st.integers(0, 10_000)
DOWN = (np.arange(64)[:, None] + 0.5) / 64


def noise(frame: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*frame, 3), dtype=np.uint8)


@FRAMES
def test_form_stays_and_something_changes(frame: tuple[int, int]) -> None:
    image, before = noise(frame), noise(frame)
    for seed in range(20):  # enough that each change is drawn
        changed = augment_intensity(image, np.random.default_rng(seed))
        assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
        assert not np.array_equal(changed, image)
    np.testing.assert_array_equal(image, before)


@FRAMES
@pytest.mark.parametrize("blurred", [False, True])
@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_dot_stays_where_it_is(frame: tuple[int, int], blurred: bool, seed: int) -> None:
    """A changed pixel changes itself and no other, or those that the blur reaches."""
    rng, reach = np.random.default_rng(seed), 6 * blurred
    y, x = rng.integers(10, frame[0] - 10), rng.integers(10, frame[1] - 10)
    image, dotted = noise(frame), noise(frame)
    dotted[y - 3 : y + 4, x - 3 : x + 4] ^= 128
    chances = Chances(blur=float(blurred))
    one, other = (augment_intensity(i, np.random.default_rng(seed), chances) for i in (image, dotted))
    rows, columns = np.nonzero((one != other).any(-1))
    for low, high, middle in ((rows.min(), rows.max(), y), (columns.min(), columns.max(), x)):
        assert middle - 3 - reach <= low <= middle - 2
        assert middle + 2 <= high <= middle + 3 + reach


def test_blur_is_drawn() -> None:
    changes = []
    for chance in (0.0, 1.0):
        chances = Chances(blur=chance)
        seen = [augment_intensity(noise((64, 64)), np.random.default_rng(seed), chances) for seed in range(20)]
        changes.append(np.mean([np.abs(np.diff(image.astype(int), axis=1)).mean() for image in seen]))
    assert changes[1] < 0.6 * changes[0]


@FRAMES
def test_a_shadow_is_where_its_formula_says_to_less_than_half_a_pixel(frame: tuple[int, int]) -> None:
    chances = Chances(time_gain=0, attenuation=0, shadow=1, speckle=0)
    height, width = frame
    shifts = [(dy, dx) for dy in (-0.5, 0, 0.5) for dx in (-0.5, 0, 0.5)]
    errors = dict.fromkeys(shifts, 0.0)
    for seed in range(20):
        levels = echo_levels(frame, np.random.default_rng(seed), chances)
        assert levels is not None
        for dy, dx in shifts:
            rng = np.random.default_rng(seed)
            rng.random(3)  # whether time gain, attenuation and shadow are drawn
            down, across = (np.arange(height)[:, None] + 0.5 + dy) / height, (np.arange(width)[None] + 0.5 + dx) / width
            errors[dy, dx] += float(((levels + intensity.shadow(across, down, rng)) ** 2).sum())
    assert min(errors, key=errors.__getitem__) == (0, 0)


@pytest.mark.parametrize("name", ["time_gain", "attenuation", "shadow", "speckle"])
def test_each_change_is_drawn_with_its_own_chance(name: str) -> None:
    never = dict.fromkeys(("time_gain", "attenuation", "shadow", "speckle"), 0.0)
    assert echo_levels((64, 64), np.random.default_rng(0), Chances(**never)) is None
    levels = echo_levels((64, 64), np.random.default_rng(0), Chances(**(never | {name: 1.0})))
    assert levels is not None
    assert levels.std() > 0


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_blur_is_centred(seed: int) -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    seen = intensity.blur(image, np.random.default_rng(seed))
    np.testing.assert_array_equal(seen, seen[::-1, ::-1])
    assert seen[20, 20, 0] == seen.max()
    assert seen[20, 21, 0] > 0


def test_six_decibels_of_sixty_are_a_tenth_of_the_grey_scale() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    changed = add_decibels(image, np.array([[6, -6, 0]], np.float32), 60.0)
    np.testing.assert_allclose(changed[0, :, 0], [125.5, 74.5, 100], atol=0.5)


def test_black_stays_black_and_nothing_wraps_round() -> None:
    image = np.array([[[0] * 3, [10] * 3, [250] * 3]], np.uint8)
    assert add_decibels(image, np.full((1, 3), 100, np.float32), 50.0)[0, :, 0].tolist() == [0, 20, 255]
    assert add_decibels(image, np.full((1, 3), -100, np.float32), 50.0)[0, :, 0].tolist() == [0, 0, 0]


@given(seed=SEEDS)
def test_attenuation_is_none_above_its_origin_and_linear_in_decibels_below(seed: int) -> None:
    loss = intensity.attenuation(DOWN, np.random.default_rng(seed))[:, 0]
    below = loss > 0
    low, high = intensity.ATTENUATION_DB
    np.testing.assert_allclose(np.diff(loss[below], 2), 0, atol=1e-5)
    assert low / 64 <= np.diff(loss[below]).mean() * (1 + 1e-4) <= high / 64 * (1 + 2e-4)
    assert not loss[: int(np.argmax(below))].any()


@given(seed=SEEDS)
def test_a_shadow_is_a_loss_that_lasts_to_the_bottom_and_widens(seed: int) -> None:
    loss = intensity.shadow(np.linspace(-9, 10, 9001)[None, :], DOWN, np.random.default_rng(seed))
    deepest = loss.max(axis=1)
    np.testing.assert_allclose(deepest[48:], loss.max(), rtol=0.02)
    assert 0 <= loss.min() <= intensity.SHADOW_DB[0] <= loss.max() <= intensity.SHADOW_DB[1]
    assert np.diff(deepest).min() > -0.02 * loss.max()
    width = loss.sum(axis=1) / deepest.clip(1e-9)
    assert width[63] > width[44] > 0


@given(seed=SEEDS)
def test_time_gain_keeps_to_its_range(seed: int) -> None:
    assert np.abs(intensity.time_gain(DOWN, np.random.default_rng(seed))).max() <= intensity.MAX_TIME_GAIN_DB


def test_speckle_has_the_spread_of_a_log_compressed_rayleigh_amplitude() -> None:
    """An exponentially distributed power spreads by pi / sqrt(6) nepers of power, 5.57 dB."""
    assert intensity.RAYLEIGH_DB.mean() == pytest.approx(0, abs=1e-5)
    assert intensity.RAYLEIGH_DB.std() == pytest.approx(10 / np.log(10) * np.pi / np.sqrt(6), rel=0.02)


@FRAMES
def test_speckle_is_grain_of_several_pixels(frame: tuple[int, int]) -> None:
    grain = np.mean(
        [np.abs(np.diff(intensity.speckle(frame, np.random.default_rng(s)), axis=1)).mean() for s in range(30)]
    )
    spread = np.mean([intensity.speckle(frame, np.random.default_rng(s)).std() for s in range(30)])
    assert 0.3 < spread < 5.57 * intensity.SPECKLE_STRENGTH[1]
    assert grain < spread


@given(seed=SEEDS)
def test_a_grey_curve_never_turns_the_order_round(seed: int) -> None:
    curve = intensity.grey_curve(np.random.default_rng(seed)).astype(int)
    assert np.diff(curve).min() >= 0
    assert curve[0] <= 255 * intensity.MAX_BRIGHTNESS + 1
    assert curve[-1] > 150


@FRAMES
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_draw_a_little_of_their_colour(frame: tuple[int, int], overlay: type) -> None:
    for seed in range(10):
        image = np.zeros((*frame, 3), np.uint8)
        overlay(image, (200, 180, 60), np.random.default_rng(seed))
        assert 0 <= (image > 0).any(-1).mean() < 0.25
    assert image.any()


@FRAMES
def test_overlays_leave_the_input_as_it_is(frame: tuple[int, int]) -> None:
    image, before = noise(frame), noise(frame)
    drawn = [draw_overlays(image, np.random.default_rng(seed), chance=1.0) for seed in range(20)]
    np.testing.assert_array_equal(image, before)
    assert all((one.shape, one.dtype) == (image.shape, image.dtype) for one in drawn)
    assert sum(not np.array_equal(one, image) for one in drawn) > 17
