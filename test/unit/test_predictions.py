"""Every prediction has the challenge's form, whatever the model says."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import BaseModel

from aurora.images.reader import ModelInput
from aurora.kinds import KINDS, Prediction, prediction_files
from aurora.kinds.classification import ClassificationPrediction
from aurora.kinds.detection import DetectionPrediction
from aurora.kinds.landmarks import LandmarksPrediction
from aurora.predict.predictions import UNKNOWN_SIZE, PredictedRow, RawRow, fallback_size, predict_row
from aurora.predict.request import Request
from aurora.rows import Row
from aurora.tasks import TYPES, TaskType

SEGMENTATION, CLASSIFICATION, DETECTION, REGRESSION = TYPES
SIZE = (20, 40)
RAW = {
    SEGMENTATION: np.eye(3, dtype=np.float32).reshape(3, 1, 3),
    CLASSIFICATION: np.array([1, 2, 4], np.float32),
    DETECTION: np.full((5, 4, 4), 0.1, np.float32),
    REGRESSION: np.eye(3, 16, dtype=np.float32).reshape(3, 4, 4) * 50,
}


def row(kind: TaskType, task_id: str = "task") -> Row:
    return Row(task_id, kind, 2, "../images/ü, 1 .png", "../masks/1.png", "a.csv:2", {})


def predict(row: Row, kind: TaskType, count: int, raw: np.ndarray, size: tuple[int, int]) -> Prediction:
    return KINDS[kind].predict(row, count, raw, size)


def fallback(row: Row, kind: TaskType, count: int, size: tuple[int, int] | None) -> Prediction:
    return KINDS[kind].fallback(row, count, fallback_size(size))


def predicted_row(row: Row, raw: np.ndarray) -> PredictedRow:
    return predict_row(RawRow(Request(row, 2), ModelInput(None, SIZE), raw, None, None, last=True))


def predicted(kind: TaskType, count: int, raw: np.ndarray | None = None) -> dict:
    """The record of an answer as it will stand in the JSON file."""
    found = predict(row(kind), kind, count, RAW[kind] if raw is None else raw, SIZE)
    assert not isinstance(found, np.ndarray)
    return json.loads(found.model_dump_json())


@pytest.mark.parametrize("kind", prediction_files())
@pytest.mark.parametrize("task_id", [" padded\t", 'qu"ote\\', "日本,", "", "\u2028"])
def test_records_echo_path_and_task_byte_for_byte(kind: TaskType, task_id: str) -> None:
    for found in (
        predict(row(kind, task_id), kind, 2, RAW[kind], SIZE),
        fallback(row(kind, task_id), kind, 2, SIZE),
    ):
        assert not isinstance(found, np.ndarray)
        record = json.loads(found.model_dump_json().encode())
        assert (record["image_path"], record["task_id"]) == ("../images/ü, 1 .png", task_id)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_becomes_a_fallback(kind: TaskType, value: float) -> None:
    raw = RAW[kind].copy()
    assert predicted_row(row(kind), raw).fallback is None
    raw.flat[-1] = value
    found = predicted_row(row(kind), raw)
    assert (found.fallback, found.confidence) == ("the model's output is not finite", None)
    expected = fallback(row(kind), kind, 2, SIZE)
    assert np.array_equal(np.array(found.prediction), np.array(expected))


@pytest.mark.parametrize("record", [ClassificationPrediction, DetectionPrediction, LandmarksPrediction])
def test_no_record_holds_nan(record: type[BaseModel]) -> None:
    values = {name: [float("nan")] * 4 for name in record.model_fields if name.startswith(("bbox", "predicted_p"))}
    with pytest.raises(ValueError, match="finite"):
        record(image_path="i", task_id="t", **values, **({"predicted_class": 0} if len(values) == 1 else {}))


def test_a_mask_has_the_images_size_and_the_heads_classes() -> None:
    mask = predict(row(SEGMENTATION), SEGMENTATION, 3, RAW[SEGMENTATION], SIZE)
    assert isinstance(mask, np.ndarray)
    assert mask.shape == SIZE
    assert set(np.unique(mask)) == {0, 1, 2}


@pytest.mark.parametrize("count", [1, 2])
def test_a_mask_holds_no_class_beyond_the_number_asked_for(count: int) -> None:
    mask = predict(row(SEGMENTATION), SEGMENTATION, count, RAW[SEGMENTATION], SIZE)
    assert isinstance(mask, np.ndarray)
    assert mask.max() == count - 1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_probabilities_have_the_number_asked_for_and_sum_to_1(count: int) -> None:
    record = predicted(CLASSIFICATION, count)
    assert len(record["predicted_probs"]) == count
    assert sum(record["predicted_probs"]) == pytest.approx(1)
    assert record["predicted_class"] == min(count, 3) - 1


@pytest.mark.parametrize("count", [1, 3, 5])
def test_points_have_the_number_asked_for(count: int) -> None:
    record = predicted(REGRESSION, count)
    assert len(record["predicted_points_pixels"]) == len(record["predicted_points_normalized"]) == 2 * count
    assert record["predicted_points_pixels"][:2] == pytest.approx([40 / 8 - 0.5, 20 / 8 - 0.5])
    assert record["predicted_points_pixels"][6:] == pytest.approx([40 / 2 - 0.5, 20 / 2 - 0.5] * max(0, count - 3))


def test_normalised_values_are_pixels_divided_by_width_and_height() -> None:
    box = predicted(DETECTION, 1)
    np.testing.assert_allclose(np.multiply(box["bbox_normalized"], [40, 20, 40, 20]), box["bbox_pixels"])


def test_a_box_turned_inside_out_is_ordered() -> None:
    raw = np.full((5, 1, 1), -0.2, np.float32)
    x1, y1, x2, y2 = predicted(DETECTION, 1, raw)["bbox_pixels"]
    assert (x1, y1, x2, y2) == pytest.approx((0.3 * 40 - 0.5, 0.3 * 20 - 0.5, 0.7 * 40 - 0.5, 0.7 * 20 - 0.5))


@settings(deadline=None)
@given(
    arrays(np.float32, (5, 3, 2), elements=st.floats(-1e6, 1e6, width=32)),
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
)
def test_any_box_lies_ordered_in_the_image(raw: np.ndarray, size: tuple[int, int]) -> None:
    found = predict(row(DETECTION), DETECTION, 1, raw, size)
    assert isinstance(found, DetectionPrediction)
    x1, y1, x2, y2 = found.bbox_pixels
    assert 0 <= x1 <= x2 <= size[1]
    assert 0 <= y1 <= y2 <= size[0]


def test_neutral_answers_are_background_uniform_and_centred() -> None:
    mask, probs, box, points = (fallback(row(kind), kind, 4, SIZE) for kind in TYPES)
    assert isinstance(mask, np.ndarray)
    assert mask.shape == SIZE
    assert not mask.any()
    assert isinstance(probs, ClassificationPrediction)
    assert probs.predicted_probs == [0.25] * 4
    assert isinstance(box, DetectionPrediction)
    assert box.bbox_pixels == pytest.approx([9.5, 4.5, 29.5, 14.5])
    assert isinstance(points, LandmarksPrediction)
    assert points.predicted_points_pixels == pytest.approx([19.5, 9.5] * 4)


@pytest.mark.parametrize("size", [None, (2**31 - 1, 2**31 - 1), (1, 1_000_001), (40_000, 40_000)])
def test_a_mask_of_unknown_or_impossible_size_gets_a_plain_one(size: tuple[int, int] | None) -> None:
    mask = fallback(row(SEGMENTATION), SEGMENTATION, 2, size)
    assert isinstance(mask, np.ndarray)
    assert mask.shape == UNKNOWN_SIZE


@pytest.mark.parametrize("kind", prediction_files())
def test_an_unknown_size_leaves_no_record_out(kind: TaskType) -> None:
    assert fallback(row(kind), kind, 2, None)
