"""How sure the model is of its answers."""

import numpy as np
import pytest

from aurora.kinds import KINDS
from aurora.tasks import TYPES, TaskType

SEGMENTATION, CLASSIFICATION, DETECTION, REGRESSION = TYPES


def logits(probabilities: list[float]) -> np.ndarray:
    return np.log(np.array(probabilities, np.float32)) + 3


def test_a_class_is_as_sure_as_its_probability() -> None:
    assert KINDS[CLASSIFICATION].confidence(logits([0.1, 0.7, 0.2])) == pytest.approx(0.7)


def test_a_mask_is_as_sure_as_its_foreground() -> None:
    cells = [[0.99, 0.01], [0.4, 0.6], [0.2, 0.8]]
    raw = np.stack([logits(cell) for cell in cells], axis=1)[:, None]
    assert KINDS[SEGMENTATION].confidence(raw) == pytest.approx(0.7)
    assert KINDS[SEGMENTATION].confidence(raw[..., :1]) == pytest.approx(0.99)


def test_a_box_is_as_sure_as_its_best_cell() -> None:
    raw = np.zeros((5, 2, 2), np.float32)
    raw[0] = [[-4, 0], [np.log(3), -1]]
    assert KINDS[DETECTION].confidence(raw) == pytest.approx(0.75)


def test_landmarks_are_as_sure_as_their_heatmaps_are_narrow() -> None:
    raw = np.full((2, 40, 40), -30.0, np.float32)
    raw[0, 20, 20] = 30  # one cell has everything
    raw[1] = 0  # nothing is known
    wide = KINDS[REGRESSION].confidence(raw[1:])
    assert wide == pytest.approx(16 / 1600)  # 4 x 4 cells lie within a twentieth of the middle
    assert KINDS[REGRESSION].confidence(raw) == pytest.approx((1 + wide) / 2)


@pytest.mark.parametrize("kind", TYPES)
def test_extreme_outputs_stay_between_0_and_1(kind: TaskType) -> None:
    shape = (3,) if kind == CLASSIFICATION else (3, 4, 4)
    generator = np.random.default_rng(0)
    for values in ([-3e38], [0], [3e38], [-3e38, 3e38]):
        assert 0 <= KINDS[kind].confidence(generator.choice(values, shape).astype(np.float32)) <= 1 + 1e-9
