"""What a report counts of a run's answers."""

import numpy as np

from aurora.kinds import Facts, segmentation
from aurora.rows import Row
from aurora.tasks import TYPES, TaskType
from inference.output.journal import RowOutcome
from inference.report.record import BINS, GRID, ClassCount, TaskRecord
from inference.report.tally import Tally

SEGMENTATION, CLASSIFICATION, DETECTION, REGRESSION = TYPES


def tallied(kind: TaskType, *outcomes: RowOutcome) -> TaskRecord:
    tally = Tally()
    for outcome in outcomes:
        tally.take(Row("task", kind, 2, "../1.png", None, "a.csv:2", {}), outcome)
    (record,) = tally.records()
    return record


def test_classes_and_confidence_are_counted() -> None:
    predictions = [RowOutcome(facts=Facts([(1, None)]), confidence=confidence) for confidence in (1.0, 0.42)]
    record = tallied(CLASSIFICATION, *predictions)
    assert record.classes == [ClassCount(label=1, rows=2)]
    assert (record.confidence[8], record.confidence[-1], sum(record.confidence)) == (1, 1, 2)


def test_regions_are_counted_with_their_shares() -> None:
    masks = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    masks[0][:5], masks[1][0] = 1, 2
    record = tallied(SEGMENTATION, *(RowOutcome(mask="1", facts=segmentation.facts(mask)) for mask in masks))
    assert [(count.label, count.rows) for count in record.classes] == [(0, 2), (1, 1), (2, 1)]
    assert [count.share for count in record.classes] == [0.7, 0.5, 0.1]
    assert (record.areas[2], record.areas[10], len(record.areas)) == (1, 1, BINS)


def test_boxes_are_counted_where_their_centres_are() -> None:
    record = tallied(DETECTION, RowOutcome(facts=Facts(area=0.125, positions=[(0.75, 0.125)])))
    (grid,) = record.places
    assert grid[GRID // 8][3 * GRID // 4] == 1
    assert sum(map(sum, grid)) == 1
    assert record.areas[int(BINS * 0.125)] == 1


def test_landmarks_are_counted_each_on_its_own() -> None:
    record = tallied(REGRESSION, *[RowOutcome(facts=Facts(positions=[(0.0, 0.0), (1.0, 1.0)]))] * 3)
    assert (record.places[0][0][0], record.places[1][-1][-1], len(record.places)) == (3, 3, 2)


def test_fallbacks_are_counted_and_left_out_of_the_rest() -> None:
    record = tallied(CLASSIFICATION, RowOutcome(facts=Facts([(0, None)]), fallback="no image"))
    assert (record.rows, record.fallbacks, record.classes, record.confidence) == (1, 1, [], [])


def test_what_could_not_be_written_is_not_counted() -> None:
    tally = Tally()
    tally.take(Row("task", SEGMENTATION, 2, "../1.png", None, "a.csv:2", {}), RowOutcome(unwritten="blank"))
    assert tally.records() == []


def test_tasks_come_by_type() -> None:
    tally = Tally()
    for kind in (DETECTION, SEGMENTATION):
        tally.take(Row(kind, kind, 2, "../1.png", None, "a.csv:2", {}), RowOutcome(fallback="no image"))
    assert [record.type for record in tally.records()] == [SEGMENTATION, DETECTION]
