"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import directed_hausdorff

from aurora.kinds import classification, detection, landmarks
from aurora.kinds.classification import classification_scores
from aurora.kinds.detection import box_iou
from aurora.kinds.landmarks import LandmarksLabel
from aurora.kinds.segmentation import case_metrics as segmentation_values
from aurora.kinds.segmentation import dice, hausdorff_distance
from aurora.scoring.metrics import composite_of, task_metrics
from aurora.tasks import TYPES, TaskType

EMPTY = np.zeros((3, 4), bool)


def region(*pixels: tuple[int, int]) -> np.ndarray:
    found = EMPTY.copy()
    found[tuple(zip(*pixels, strict=True))] = True
    return found


def test_dice_and_hausdorff_distance_by_hand() -> None:
    truth, answer = region((0, 0), (0, 1)), region((0, 1), (2, 1), (0, 2))
    assert dice(truth, answer) == pytest.approx(2 * 1 / 5)
    assert hausdorff_distance(truth, answer) == pytest.approx(2)


def test_the_hausdorff_distance_is_the_maximum_of_both_directions() -> None:
    near, far = region((0, 0)), region((0, 0), (2, 3))
    assert hausdorff_distance(near, far) == hausdorff_distance(far, near) == pytest.approx(math.hypot(2, 3))


def test_a_class_absent_from_both_is_right() -> None:
    assert (dice(EMPTY, EMPTY), hausdorff_distance(EMPTY, EMPTY)) == (1, 0)


@pytest.mark.parametrize("pair", [(EMPTY, region((1, 1))), (region((1, 1)), EMPTY)])
def test_a_class_absent_from_one_is_wrong_by_the_diagonal(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert (dice(*pair), hausdorff_distance(*pair)) == (0, 5)


@given(st.data(), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_the_hausdorff_distance_is_that_of_the_uncropped_sets(data: st.DataObject, shape: tuple[int, int]) -> None:
    truth, answer = (data.draw(arrays(bool, shape).filter(np.any)) for _ in range(2))
    sets = np.argwhere(truth), np.argwhere(answer)
    expected = max(directed_hausdorff(*sets)[0], directed_hausdorff(*sets[::-1])[0])
    assert hausdorff_distance(truth, answer) == pytest.approx(expected)


def test_segmentation_averages_over_images_and_classes() -> None:
    truth = np.array([[1, 1, 2, 0]])
    pairs = [(truth, truth), (truth, np.array([[1, 0, 0, 0]]))]
    scores = task_metrics(TaskType.SEGMENTATION, [segmentation_values(*pair, 3, hausdorff=True) for pair in pairs])
    assert scores["dsc"] == pytest.approx(((1 + 2 / 3) / 2 + (1 + 0) / 2) / 2)
    assert scores["hd"] == pytest.approx(((0 + 1) / 2 + (0 + math.hypot(1, 4)) / 2) / 2)


def test_the_distance_can_be_left_out() -> None:
    truth = np.array([[0, 1]])
    assert segmentation_values(truth, truth, 2, hausdorff=False) == {"dsc": [1]}


def test_masks_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        segmentation_values(np.zeros((2, 3)), np.zeros((3, 2)), 2, hausdorff=True)


def test_two_classes_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.2, 0.8]])
    scores = classification_scores([0, 0, 1, 1], probs)
    assert scores["accuracy"] == 0.75
    assert scores["auc"] == 0.75  # of the four pairs (0, 1) only .7 and .6 stand in the wrong order
    assert scores["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["f1_weighted"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["mcc"] == pytest.approx((1 * 2 - 1 * 0) / math.sqrt(3 * 2 * 2 * 1))


def test_macro_f1_counts_classes_and_weighted_f1_cases() -> None:
    scores = classification_scores([0, 0, 0, 1], np.eye(2)[[0, 0, 0, 0]])
    assert (scores["f1_macro"], scores["f1_weighted"]) == pytest.approx((3 / 7, 3 / 4 * 6 / 7))


def test_the_auc_of_many_classes_is_the_mean_of_each_against_the_rest() -> None:
    probs = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.1, 0.4]])
    expected = (1 + 1 + 1) / 3
    assert classification_scores([0, 1, 2], probs)["auc"] == pytest.approx(expected)
    assert classification_scores([2, 1, 0], probs)["auc"] == pytest.approx((0.5 + 1 + 0) / 3)


def test_a_class_that_does_not_occur_has_no_part_in_the_auc() -> None:
    probs = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    assert classification_scores([0, 1], probs)["auc"] == 1


def test_an_undefined_auc_is_left_out_of_the_composite() -> None:
    scores = classification_scores([1, 1], np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert math.isnan(scores["auc"])
    assert composite_of(TaskType.CLASSIFICATION, scores) == pytest.approx((1 / 3 + 0) / 2)


def test_the_class_answered_may_differ_from_the_most_probable() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert classification_scores([0, 1], probs, [1, 0])["accuracy"] == 0
    assert classification_scores([0, 1], probs, [1, 0])["auc"] == 1


def by_class(labels: np.ndarray, probs: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of the classes as columns, (C,)."""
    values = [classification.ClassValue(int(one), row) for one, row in zip(predicted, probs, strict=True)]
    pairs = zip(labels, values, strict=True)
    cases = [classification.case_metrics(int(label), value, probs.shape[1], hausdorff=True) for label, value in pairs]
    classes = classification.class_metrics(cases)
    return {name: np.array([classes[number][name] for number in classes]) for name in classes[0]}


def test_classes_by_hand() -> None:
    labels, predicted = np.array([0, 0, 1, 3]), np.array([0, 1, 1, 1])
    found = by_class(labels, np.eye(4)[predicted], predicted)
    nan = math.nan
    assert found["support"].tolist() == [2, 1, 0, 1]
    assert found["recall"] == pytest.approx([1 / 2, 1, nan, 0], nan_ok=True)
    assert found["precision"] == pytest.approx([1, 1 / 3, nan, nan], nan_ok=True)
    assert found["f1"] == pytest.approx([2 / 3, 1 / 2, nan, 0], nan_ok=True)
    assert found["auc"] == pytest.approx([3 / 4, 2 / 3, nan, 1 / 2], nan_ok=True)


def test_classes_average_to_the_tasks_metrics() -> None:
    generator = np.random.default_rng(0)
    labels, probs = generator.integers(0, 4, 50), generator.dirichlet(np.ones(5), 50)
    scores, found = classification_scores(labels, probs), by_class(labels, probs, probs.argmax(1))
    assert np.nanmean(found["f1"]) == pytest.approx(scores["f1_macro"])
    assert np.nanmean(found["auc"]) == pytest.approx(scores["auc"])
    assert np.nansum(found["recall"] * found["support"]) / 50 == pytest.approx(scores["accuracy"])


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_outside_the_classes_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        classification_scores([0, label], np.full((2, 2), 0.5))


def test_box_iou_by_hand() -> None:
    truth = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [3, 3, 3, 3]], float)
    answer = np.array([[1, 1, 3, 3], [2, 2, 3, 3], [3, 3, 3, 3]], float)
    assert box_iou(truth, answer).tolist() == pytest.approx([1 / 7, 0, 0])
    cases = [detection.case_metrics(*pair, 1, hausdorff=True) for pair in zip(truth, answer, strict=True)]
    assert task_metrics(TaskType.DETECTION, cases) == {"iou": pytest.approx(1 / 21)}


def test_radial_error_by_hand() -> None:
    labels = LandmarksLabel(np.zeros((2, 2)), 50.0), LandmarksLabel(np.zeros((1, 2)), 100.0)
    points = np.array([[3, 4], [0, 0]]), np.array([[0, 30]])
    cases = [landmarks.case_metrics(*pair, 2, hausdorff=True) for pair in zip(labels, points, strict=True)]
    scores = task_metrics(TaskType.REGRESSION, cases)
    assert scores["mre"] == pytest.approx((2.5 + 30) / 2)
    assert scores["mre_score"] == pytest.approx(((1 - 2.5 / 5) + 0) / 2)


def test_points_are_averaged_over_the_cases_that_have_them() -> None:
    two, one = (np.array([[3.0, 4.0], [0.0, 1.0]]), np.array([[0.0, 9.0]]))
    cases = [
        landmarks.case_metrics(LandmarksLabel(np.zeros_like(points), 50.0), points, 2, hausdorff=True)
        for points in (two, one)
    ]
    assert landmarks.class_metrics(cases) == {1: {"mre": 7}, 2: {"mre": 1}}


def test_another_number_of_points_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\), found \(1, 2\)"):
        landmarks.case_metrics(LandmarksLabel(np.zeros((2, 2)), 50.0), np.zeros((1, 2)), 2, hausdorff=True)


def test_the_composite_of_each_type() -> None:
    values = {"dsc": 0.1, "hd": 9.0, "auc": 0.9, "f1_macro": 0.6, "mcc": 0.3, "iou": 0.4, "mre": 7.0, "mre_score": 0.5}
    assert [composite_of(kind, values) for kind in TYPES] == pytest.approx([0.1, 0.6, 0.4, 0.5])


@pytest.mark.parametrize("kind", TYPES)
def test_no_answer_at_all_earns_nothing(kind: TaskType) -> None:
    assert composite_of(kind, task_metrics(kind, [])) == 0


def test_no_cases_are_no_answers() -> None:
    found = {name: value for kind in TYPES for name, value in task_metrics(kind, []).items()}
    assert math.isnan(found["mre"])
    assert found["dsc"] == found["iou"] == found["auc"] == 0
