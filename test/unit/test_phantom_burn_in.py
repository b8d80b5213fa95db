"""Burned-in text and graphics: a layout per scanner, outside the field of view, independent of the anatomy."""

import cv2
import numpy as np
import pytest

from aurora.tasks import OFFICIAL
from training.phantom import SCANNERS, Scanner
from training.phantom.anatomy import organs
from training.phantom.phantom import make_phantom
from training.phantom.scanner.burn_in import draw_burn_in
from training.phantom.tasks.classification import CLASSIFICATION
from training.phantom.tasks.segmentation import SEGMENTATION

EVERY = pytest.mark.parametrize("scanner", SCANNERS.values(), ids=lambda s: s.name)
SIZE = (220, 290)


def written(scanner: Scanner, seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """What is written on a black picture whose field of view is grey 77."""
    field = scanner.geometry(*size).field()
    image = np.where(field, np.uint8(77), np.uint8(0))
    draw_burn_in(image, field, scanner, np.random.default_rng(seed))
    return image


@EVERY
@pytest.mark.parametrize("size", [SIZE, (290, 260), (110, 280), (40, 40), (900, 1200)])
def test_nothing_is_written_within_the_field_of_view(scanner: Scanner, size: tuple[int, int]) -> None:
    field = scanner.geometry(*size).field()
    for seed in range(5):
        assert (written(scanner, seed, size)[field] == 77).all()


@EVERY
def test_most_pictures_carry_text_and_some_are_clean(scanner: Scanner) -> None:
    outside = ~scanner.geometry(*SIZE).field()
    ink = np.array([(written(scanner, seed)[outside] > 0).sum() for seed in range(100)])
    assert 8 <= (ink == 0).sum() <= 35
    assert ink[ink > 0].min() > 300


def test_each_scanner_has_its_own_layout() -> None:
    ink = [np.max([written(s, seed) for seed in range(12)], axis=0) > 90 for s in SCANNERS.values()]
    for i in range(4):
        for other in ink[:i]:
            assert (ink[i] & other).sum() < 0.35 * (ink[i] | other).sum()


@EVERY
def test_text_changes_from_case_to_case(scanner: Scanner) -> None:
    pictures = [written(scanner, seed) for seed in range(12)]
    assert len({picture.tobytes() for picture in pictures}) > 8


@pytest.mark.parametrize(("name", "step"), [("linear_premium", 5), ("linear_portable", 5)])
def test_the_ruler_measures_the_depth(name: str, step: int) -> None:
    scanner = SCANNERS[name]
    rows, columns = scanner.geometry(*SIZE).window
    x = columns.stop + 4 if scanner.burn_in.side == "right" else columns.start - 4
    ink = np.max([written(scanner, seed) for seed in range(6)], axis=0)
    ticks = [rows.start + k * step / scanner.depth * (rows.stop - rows.start - 1) for k in range(1, 7)]
    assert all(ink[round(y), x] > 100 for y in ticks)
    assert all(ink[round(y) + 8, x] == 0 for y in ticks)


def test_the_writing_does_not_depend_on_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    task, scanner = OFFICIAL["organ_cls"], SCANNERS["curved_abdominal"]
    for index in range(4):
        seen = []
        for draw in (organs.liver, organs.kidney):
            monkeypatch.setitem(CLASSIFICATION, task.id, lambda canvas, rng, label, draw=draw: draw(canvas, rng))
            seen.append(make_phantom(task, index, seed=0, split="train", scanner=scanner).image)
        field = scanner.geometry(*seen[0].shape).field()
        np.testing.assert_array_equal(seen[0][~field], seen[1][~field])
        assert not np.array_equal(seen[0][field], seen[1][field])


@EVERY
def test_no_mask_reaches_into_the_writing(scanner: Scanner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEGMENTATION, "lung", lambda canvas, rng: canvas.mask.fill(1))
    case = make_phantom(OFFICIAL["lung"], 0, seed=2, split="train", scanner=scanner)
    np.testing.assert_array_equal(case.mask, scanner.geometry(*case.image.shape).field())


def test_a_linear_probe_leaves_its_margins_black() -> None:
    for name in ("linear_premium", "linear_portable"):
        field = SCANNERS[name].geometry(*SIZE).field()
        assert 0.75 < field.mean() < 0.95
        assert cv2.connectedComponents(field.astype(np.uint8))[0] == 2
