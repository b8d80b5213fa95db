"""The summary that a run prints."""

from pathlib import Path

import pytest

from aurora.rows import Problem, Row, RowIndex, Rows
from aurora.runtime.notes import EXAMPLES, OTHERS, TEXTS
from aurora.tasks import TaskType
from inference.output.journal import RowOutcome
from inference.report.console import Summary, as_text


def row(number: int, task_id: str = "a_rather_long_task", kind: TaskType = TaskType.SEGMENTATION) -> Row:
    return Row(task_id, kind, 2, "../1.png", None, f"a.csv:{number}", {})


def text(summary: Summary, total: int = 9, **made: Path) -> list[str]:
    return as_text(summary, Path("out"), made, total=total, seconds=2.0).splitlines()


def test_tasks_are_counted_in_an_aligned_table() -> None:
    summary = Summary()
    summary.predicted(row(2), None)
    summary.predicted(row(3), "no image")
    summary.predicted(row(4, "IUGC", TaskType.REGRESSION), None)
    lines = text(summary)[:3]
    assert [line.split()[-2:] for line in lines] == [["rows", "fallbacks"], ["2", "1"], ["1", "0"]]
    assert len({line.index(cell) for line, cell in zip(lines, ("type", "segm", "Regr"), strict=True)}) == 1


def test_two_types_of_one_task_are_counted_apart() -> None:
    summary = Summary()
    summary.predicted(row(2, "heart"), None)
    summary.predicted(row(3, "heart", TaskType.REGRESSION), "no image")
    assert [line.split() for line in text(summary)[1:3]] == [
        ["heart", "segmentation", "1", "0"],
        ["heart", "Regression", "1", "1"],
    ]


def test_the_last_line_says_how_many_rows_are_predicted_and_where() -> None:
    summary = Summary()
    summary.predicted(row(2), None)
    summary.predicted(row(3), "no image")
    assert text(summary)[-1] == "predicted 2 of 9 rows, 1 of them by a fallback in 2.0 s (1 rows/s); predictions: out"


def test_a_row_that_was_not_written_is_named_and_not_counted_as_predicted() -> None:
    summary = Summary()
    summary.not_written(row(5), "mask_path is blank")
    assert "unwritten (1): mask_path is blank [a.csv:5 ../1.png]" in text(summary)
    assert text(summary)[-1].startswith("predicted 0 of 9 rows in")


def test_an_outcome_is_counted_with_all_that_was_noted() -> None:
    summary = Summary()
    summary.take(row(2), RowOutcome(mask="1.png", fallback="no image", warnings=("odd", "odd")))
    summary.take(row(3), RowOutcome(unwritten="blank", fallback="no image"))
    counts = [notes.counts for notes in (summary.fallbacks, summary.unwritten, summary.warnings)]
    assert (summary.rows, *counts) == (1, {"no image": 1}, {"blank": 1}, {"odd": 2})


@pytest.mark.parametrize(("count", "more"), [(EXAMPLES, ""), (EXAMPLES + 1, ", ...")])
def test_many_of_a_kind_are_one_line_with_a_few_examples(count: int, more: str) -> None:
    summary = Summary()
    for number in range(count):
        summary.predicted(row(number), "no image")
    (line,) = [line for line in text(summary) if line.startswith("fallbacks")]
    named = ", ".join(f"a.csv:{number} ../1.png" for number in range(EXAMPLES))
    assert line == f"fallbacks ({count}): no image [{named}{more}]"


def test_too_many_different_texts_are_one_line() -> None:
    summary = Summary()
    for number in range(3 * TEXTS):
        summary.warn(f"odd in its own way, {number}", "a.csv")
    assert len(text(summary)) == TEXTS + 3
    assert f"warnings ({2 * TEXTS}): {OTHERS} [a.csv, a.csv, a.csv, a.csv, a.csv, ...]" in text(summary)


def test_what_is_most_frequent_comes_first() -> None:
    summary = Summary()
    for source, message in (("a.csv:2", "rare"), ("a.csv:3", "common"), ("b.csv", "common")):
        summary.warn(message, source)
    assert text(summary)[1:3] == ["warnings (2): common [a.csv:3, b.csv]", "warnings (1): rare [a.csv:2]"]


def test_other_files_that_were_written_are_named() -> None:
    assert text(Summary(), preview=Path("p.png"), report=Path("r.html"))[1:3] == ["preview: p.png", "report: r.html"]
    assert len(text(Summary())) == 2


@pytest.mark.parametrize("complete", [True, False])
def test_problems_of_reading_are_counted_and_the_last_line_mentions_skipped_rows(complete: bool) -> None:
    summary = Summary()
    summary.input_problems(Rows(RowIndex(), [Problem("a.csv:2", "odd")], 0, complete, ""))
    assert summary.flawless == complete
    assert "warnings (1): odd [a.csv:2]" in text(summary)
    assert ("without the rows that the warnings say were skipped" in text(summary)[-1]) != complete
