"""Which image answers which rows, and what is known of a row before its image is opened."""

import pytest
from support.listed import Listed

from aurora.predict.request import Job, Request
from aurora.rows import Row
from aurora.tasks import OFFICIAL, TYPES, Task, TaskType, registry
from inference.plan import Plan

SEGMENTATION, CLASSIFICATION, DETECTION, REGRESSION = TYPES
WEIGHTS = registry([Task("cls", CLASSIFICATION, 3), Task("seg", SEGMENTATION, 4), Task("det", DETECTION, 1)])


def row(task_id: str, kind: TaskType, count: int | None = None, image: str = "../1.png") -> Row:
    return Row(task_id, kind, count, image, None, "a.csv:2", {})


def plan(rows: list[Row], limit: int | None = None) -> list[Job]:
    return list(Plan(Listed(rows), WEIGHTS, limit).jobs())


def request(task_id: str, kind: TaskType, count: int | None = None) -> Request:
    (job,) = plan([row(task_id, kind, count)])
    return job.requests[0]


def test_an_image_is_one_job_in_the_order_in_which_it_first_occurs() -> None:
    rows = [row("cls", CLASSIFICATION, image=image) for image in ("../b.png", "../a.png", "../b.png", "../c.png")]
    jobs = plan(rows)
    assert [job.requests[0].row.image_path for job in jobs] == ["../b.png", "../a.png", "../c.png"]
    assert [request.row for request in jobs[0].requests] == [rows[0], rows[2]]


def test_no_row_is_lost_whatever_the_order() -> None:
    rows = [row(f"{n}", CLASSIFICATION, image=f"../{n % 7}.png") for n in range(50)]
    assert sorted(int(r.row.task_id) for job in plan(rows) for r in job.requests) == list(range(50))


@pytest.mark.parametrize(("stated", "count"), [(None, 3), (3, 3), (2, 2), (9, 9)])
def test_the_rows_own_number_of_classes_goes_before_the_weights(stated: int | None, count: int) -> None:
    assert request("cls", CLASSIFICATION, stated).count == count


@pytest.mark.parametrize(("stated", "odd"), [(None, False), (3, False), (2, True), (9, True)])
def test_another_number_of_classes_than_the_weights_have_is_answered_with_a_warning(
    stated: int | None, odd: bool
) -> None:
    found = request("cls", CLASSIFICATION, stated)
    assert found.rejection is None
    assert (found.warning is not None) == odd


def test_a_box_has_no_number_of_classes_to_differ_in() -> None:
    assert request("det", DETECTION, 7).warning is None


@pytest.mark.parametrize("task_id", [" cls", "cls\t"])
def test_blanks_around_a_task_do_not_hide_it(task_id: str) -> None:
    assert request(task_id, CLASSIFICATION).rejection is None


@pytest.mark.parametrize("kind", TYPES)
def test_an_unknown_task_is_refused_by_name_and_still_has_a_count(kind: TaskType) -> None:
    found = request("new", kind)
    assert "no task 'new'" in (found.rejection or "")
    assert found.count == TYPES[kind].default_count


def test_an_official_task_that_the_weights_lack_keeps_its_number() -> None:
    found = request("fetal_plane_cls", CLASSIFICATION)
    assert found.rejection
    assert found.count == OFFICIAL["fetal_plane_cls"].num_classes


def test_a_task_of_another_type_is_refused_with_both() -> None:
    found = request("cls", REGRESSION)
    assert "as classification, the row asks for Regression" in (found.rejection or "")
    assert found.count == TYPES[REGRESSION].default_count


def test_a_job_needs_the_model_if_any_of_its_rows_does() -> None:
    jobs = plan([row("new", DETECTION), row("cls", CLASSIFICATION), row("new", DETECTION, image="../2.png")])
    assert [job.needs_model for job in jobs] == [True, False]


@pytest.mark.parametrize("start", [0, 1, 6, 7, 99])
def test_jobs_may_be_taken_from_any_one_on(start: int) -> None:
    rows = [row("cls", CLASSIFICATION, image=f"../{n % 7}.png") for n in range(50)]
    whole = plan(rows)
    found = Plan(Listed(rows), WEIGHTS)
    assert len(found) == len(whole) == 7
    assert list(found.jobs(start)) == whole[start:]


def test_only_the_first_rows_are_planned_where_there_is_a_limit() -> None:
    rows = [row(f"{n}", CLASSIFICATION, image=f"../{n % 3}.png") for n in range(50)]
    assert [[r.row.task_id for r in job.requests] for job in plan(rows, limit=5)] == [["0", "3"], ["1", "4"], ["2"]]
    assert len(plan(rows, limit=99)) == 3
