"""Bootstrap intervals: the same metrics as scikit-learn's on every resample, and intervals that cover."""

from dataclasses import replace

import numpy as np
import pytest

from aurora.kinds.classification import classification_scores
from aurora.rows import Row
from aurora.scoring import bootstrap
from aurora.scoring.bootstrap import Interval, bootstrap_metrics, interval, resampled_composite, task_statistics
from aurora.tasks import TaskType

DETECTION, CLASSIFICATION = TaskType.DETECTION, TaskType.CLASSIFICATION


def drawn_iou(values: np.ndarray, seed: int = 0, resamples: int = 400) -> np.ndarray:
    return bootstrap_metrics(DETECTION, {"iou": values}, resamples, np.random.default_rng(seed))["iou"]


def classified(cases: int, classes: int, seed: int) -> dict[str, np.ndarray]:
    """Random answers with ties among the probabilities; the last class is rare."""
    generator = np.random.default_rng(seed)
    probs = generator.integers(1, 5, (cases, classes)).astype(float)
    labels = np.minimum(generator.integers(0, classes + 2, cases), classes - 1) if classes > 2 else probs[:, 0] > 2
    return {"label": labels.astype(int), "predicted": probs.argmax(1), "probs": probs}


@pytest.mark.parametrize(("cases", "classes"), [(3, 2), (30, 2), (5, 3), (40, 8)])
def test_each_resample_has_scikit_learns_metrics(cases: int, classes: int) -> None:
    values = classified(cases, classes, seed=classes)
    found = bootstrap_metrics(CLASSIFICATION, values, 40, np.random.default_rng(5))
    counts = next(bootstrap._counts(cases, 40, np.random.default_rng(5), 1 << 20)).astype(int)
    for number, count in enumerate(counts):
        again = {name: np.repeat(own, count, axis=0) for name, own in values.items()}
        expected = classification_scores(again["label"], again["probs"], again["predicted"])
        assert {name: own[number] for name, own in found.items()} == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_resample_draws_as_many_cases_with_replacement() -> None:
    counts = next(bootstrap._counts(50, 2000, np.random.default_rng(1), 1 << 20))
    assert counts.shape == (2000, 50)
    assert (counts.sum(axis=1) == 50).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.15)
    assert counts.var() == pytest.approx(1 - 1 / 50, abs=0.03)  # of a binomial with 50 draws


def test_a_large_task_is_drawn_in_parts_of_the_same_resamples() -> None:
    columns = {"iou": np.arange(30.0)}
    parts, whole = (
        bootstrap_metrics(DETECTION, columns, 10, np.random.default_rng(0), cases_at_once=number)["iou"]
        for number in (100, 1000)
    )
    assert parts == pytest.approx(whole)
    assert len(parts) == 10


def test_all_metrics_of_a_resample_are_of_the_same_cases() -> None:
    values = np.random.default_rng(0).random(20)
    found = bootstrap_metrics(
        TaskType.REGRESSION, {"mre": values, "mre_score": 1 - values}, 50, np.random.default_rng(0)
    )
    assert found["mre"] + found["mre_score"] == pytest.approx(np.ones(50))


def test_intervals_cover_the_true_mean() -> None:
    generator = np.random.default_rng(7)
    found = [interval(drawn_iou(generator.beta(4, 2, 40), seed)) for seed in range(400)]
    assert 0.91 < np.mean([each.low <= 4 / 6 <= each.high for each in found]) < 0.975


def test_an_interval_is_as_wide_as_the_means_spread() -> None:
    values = np.random.default_rng(2).random(200)
    found = interval(drawn_iou(values, resamples=4000))
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.05)


def test_an_interval_holds_the_estimate_repeats_itself_and_shrinks_with_cases() -> None:
    values = np.random.default_rng(3).random(400)
    few, many = interval(drawn_iou(values[:25])), interval(drawn_iou(values))
    assert few.low < values[:25].mean() < few.high
    assert many.high - many.low < (few.high - few.low) / 2.5
    assert interval(drawn_iou(values)) == many != interval(drawn_iou(values, seed=1))


def test_resamples_without_a_value_are_left_out_and_counted() -> None:
    assert interval(np.array([np.nan, 1.0, 1.0, np.nan])) == Interval(1.0, 1.0, 2)
    assert np.isnan(interval(np.full(3, np.nan)).low)
    assert interval(np.full(3, np.nan)).undefined == 3


def test_the_composite_is_undefined_where_one_of_its_metrics_is() -> None:
    drawn = {"auc": np.array([0.9, np.nan]), "f1_macro": np.array([0.6, 0.5]), "mcc": np.array([0.3, 0.0])}
    some = resampled_composite(CLASSIFICATION, {"auc": 0.8, "f1_macro": 0.5, "mcc": 0.1}, drawn)
    assert some == pytest.approx([0.6, np.nan], nan_ok=True)
    never = resampled_composite(CLASSIFICATION, {"auc": np.nan, "f1_macro": 0.5, "mcc": 0.1}, drawn)
    assert never == pytest.approx([0.45, 0.25])


def test_intervals_depend_on_the_task_and_not_on_the_order_of_the_rows() -> None:
    rows = [Row("det", DETECTION, 1, f"../{number}.png", None, f"a.csv:{number}", {}) for number in range(30)]
    cases = [{"iou": np.array([value])} for value in np.random.default_rng(0).random(30)]
    order = np.random.default_rng(1).permutation(30)
    shuffled = [replace(rows[index], source=f"a.csv:{place}") for place, index in enumerate(order)]
    whole = task_statistics(DETECTION, "det", rows, cases)
    again = task_statistics(DETECTION, "det", shuffled, [cases[index] for index in order])
    assert again.intervals == whole.intervals
    assert (again.resampled == whole.resampled).all()
    assert task_statistics(DETECTION, "other", rows, cases).intervals != whole.intervals
