"""Confusion and reliability, by hand."""

import numpy as np
import pytest

from aurora.kinds import CaseMetrics
from inference.score.calibration import confusion, reliability


def case(label: int, probs: list[float]) -> CaseMetrics:
    return {"label": np.array(label), "predicted": np.argmax(probs), "probs": np.array(probs)}


def test_confusion_has_a_row_for_each_true_class_and_a_column_for_each_answer() -> None:
    cases = [case(0, [0.9, 0.1, 0]), case(0, [0.2, 0.8, 0]), case(1, [0.1, 0.9, 0])]
    assert confusion(cases) == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_reliability_compares_what_is_said_with_what_is_right() -> None:
    sure = [case(0, [0.95, 0.05])] * 3 + [case(1, [0.95, 0.05])]
    unsure = [case(0, [0.55, 0.45]), case(1, [0.58, 0.42])]
    found = reliability(sure + unsure)
    assert found
    assert found.count == [2, 4]
    assert found.stated == pytest.approx([0.565, 0.95])
    assert found.right == pytest.approx([0.5, 0.75])
    assert found.error == pytest.approx((2 * 0.065 + 4 * 0.2) / 6)


def test_the_bins_are_counted_as_they_are_averaged() -> None:
    """Probabilities on the very edges of the bins belong to the bins that they are averaged in."""
    cases = [case(0, [edge, 1 - edge]) for edge in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    found = reliability(cases)
    assert found
    assert sum(found.count) == len(cases)
    assert len(found.count) == len(found.stated)
    assert np.average(found.stated, weights=found.count) == pytest.approx(0.75)


def test_cases_without_usable_probabilities_are_left_out() -> None:
    unusable = case(0, [0.95, 0.05]) | {"probs": np.full(2, np.nan)}
    impossible = case(0, [0.95, 0.05]) | {"predicted": np.array(7)}
    found = reliability([case(0, [0.95, 0.05]), unusable, impossible])
    assert found
    assert found.count == [1]
    assert reliability([unusable, impossible]) is None
