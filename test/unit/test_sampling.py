"""The sampler follows its formula; the balance rescales classification and detection only."""

import numpy as np
import pytest
import torch

from aurora.tasks import OFFICIAL, TYPES, Task, TaskType
from training.fit.losses import LossBalance
from training.fit.sampler import TaskSampler


def test_probabilities_by_hand() -> None:
    sampler = TaskSampler({"large": 100, "small": 4})
    weights = np.array([11.0, 3.0]) ** (1 / 0.7)
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum())


def test_the_exponent_says_how_much_the_loss_counts() -> None:
    sampler = TaskSampler({"hard": 100, "easy": 100}, loss_exponent=0.5)
    sampler.losses = {"hard": 4.0, "easy": 0.25}
    weights = np.array([21.0, 6.0]) ** (1 / 0.7)
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum())


@pytest.mark.parametrize(("size_exponent", "expected"), [(0.0, [1 / 3, 1 / 3, 1 / 3]), (0.7, [0.6, 0.3, 0.1])])
def test_the_sizes_may_count_for_nothing_or_in_full(size_exponent: float, expected: list[float]) -> None:
    sampler = TaskSampler({"a": 60_000, "b": 30_000, "c": 10_000}, size_exponent, 0.0)
    sampler.losses = {"a": 4.0, "b": 0.25, "c": 1.0}
    np.testing.assert_allclose(sampler.probabilities(), expected, atol=1e-3)


def test_visits_follow_the_probabilities() -> None:
    sampler = TaskSampler({"a": 7400, "b": 180, "c": 900})
    drawn = sampler.draw(20_000, np.random.default_rng(0))
    found = [drawn.count(name) / len(drawn) for name in sampler.names]
    np.testing.assert_allclose(found, sampler.probabilities(), atol=0.015)


def official_sizes() -> dict[str, int]:
    """The official tasks with the sizes that are published: two of them, and 40,388 rows in all."""
    known = {"fetal_plane_cls": 7400, "fetal_heart": 180}
    others = [name for name in OFFICIAL if name not in known]
    share, rest = divmod(40_388 - sum(known.values()), len(others))
    return known | {name: share + (place < rest) for place, name in enumerate(others)}


def test_on_the_official_sizes_the_visits_match_the_formula() -> None:
    sizes = official_sizes()
    sampler = TaskSampler(sizes)
    sampler.update(dict.fromkeys(sizes, 0.5) | {"fetal_heart": 30.0})
    drawn = sampler.draw(200_000, np.random.default_rng(0))
    losses = {name: 0.98 + 0.02 * (30.0 if name == "fetal_heart" else 0.5) for name in sizes}
    weights = {name: (sizes[name] ** 0.5 * losses[name] + 1) ** (1 / 0.7) for name in sizes}
    for name, weight in weights.items():
        assert drawn.count(name) / len(drawn) == pytest.approx(weight / sum(weights.values()), rel=0.1)
    # 41 times the rows are about 7 times the visits: the rare task is not drowned.
    assert 6 < drawn.count("fetal_plane_cls") / drawn.count("fetal_heart") < 8


def test_a_task_whose_loss_rises_is_visited_more() -> None:
    sampler = TaskSampler({"a": 50, "b": 50})
    for _ in range(20):
        sampler.update({"a": 5.0, "b": 1.0})
    a, b = sampler.probabilities()
    assert a > 1.5 * b


def test_only_classification_and_detection_are_rescaled() -> None:
    averages = dict(zip(TYPES, (1.0, 4.0, 0.0, 3.0), strict=True))
    one = torch.tensor(1.0), torch.tensor(0.25), torch.tensor(0.25)
    losses = {Task(kind, kind, 2): one for kind in TYPES}
    # the mean of the averages is 2: c is scaled by (4 / 2)^0.5, d held at the lower clamp, the others left
    expected = (1 + 2**0.5 + 0.25 + 1) / 4
    assert LossBalance()(losses, averages).item() == pytest.approx(expected)


def test_all_types_or_none_are_rescaled_if_wanted() -> None:
    averages = dict(zip(TYPES, (1.0, 4.0, 0.0, 3.0), strict=True))
    one = torch.tensor(1.0), torch.tensor(0.25), torch.tensor(0.25)
    losses = {Task(kind, kind, 2): one for kind in TYPES}
    assert LossBalance("none")(losses, averages).item() == pytest.approx(1.0)
    assert list(LossBalance("none").parameters()) == []
    expected = (0.5**0.5 + 2**0.5 + 0.25 + 1.5**0.5) / 4
    assert LossBalance("all")(losses, averages).item() == pytest.approx(expected)


def test_the_learned_uncertainty_receives_a_gradient() -> None:
    balance = LossBalance()
    one = torch.tensor(1.0)
    balance({Task("c", TaskType.CLASSIFICATION, 2): (torch.tensor(2.0), one, one)}, {"c": 1.0}).backward()
    assert balance.log_variance["classification"].grad == pytest.approx(-1.0)
