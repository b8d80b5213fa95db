"""CSV files and rows with the faults of real data."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aurora.errors import ImageError, InputError
from aurora.rows import Row, Rows, image_file, predicted_mask_path, read_rows
from aurora.tasks import TaskType

HEAD = "task_id,task_name,num_classes,image_path,mask_path\n"
GOOD = "lung,segmentation,2,../S/é 1.png,../S/m1.png\n"


def read(root: Path, content: str | bytes, name: str = "a.csv") -> Rows:
    (root / "csv_files").mkdir(exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    (root / "csv_files" / name).write_bytes(data)
    return read_rows(root)


def said(rows: Rows) -> str:
    return "\n".join(f"{problem.source} {problem.message}" for problem in rows.problems)


def masked(path: str | None) -> Row:
    return Row("lung", TaskType.SEGMENTATION, 2, "../i.png", path, "a.csv:2", {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_encoding_that_shows_itself_is_read_without_a_warning(tmp_path: Path, encoding: str) -> None:
    rows = read(tmp_path, (HEAD + GOOD).encode(encoding))
    assert rows.rows[0].image_path == "../S/é 1.png"
    assert rows.problems == []


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_an_encoding_that_is_guessed_is_read_with_a_warning(tmp_path: Path, encoding: str) -> None:
    rows = read(tmp_path, (HEAD + GOOD).encode(encoding))
    assert rows.rows[0].image_path == "../S/é 1.png"
    assert "isn't UTF-8" in said(rows)


def test_bytes_that_cp1252_lacks_are_still_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, HEAD.encode() + b"lung,segmentation,2,../\x81.png,../m.png\n").rows) == 1


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_guessed_with_a_warning(tmp_path: Path, delimiter: str) -> None:
    rows = read(tmp_path, (HEAD + "lung,segmentation,2,../i.png,../m.png\n").replace(",", delimiter))
    assert rows.rows[0].mask_path == "../m.png"
    assert "delimiter" in said(rows)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n\n"])
def test_line_ends_of_all_kinds(tmp_path: Path, end: str) -> None:
    rows = read(tmp_path, (HEAD + GOOD).replace("\n", end))
    assert rows.rows[0].mask_path == "../S/m1.png"
    assert rows.problems == []


def test_names_are_kept_byte_for_byte(tmp_path: Path) -> None:
    name = "../D/ spaced, 2,245/日本\u2028\x85'" + "x" * 300 + ".png "
    rows = read(tmp_path, HEAD + f'" lung ",segmentation,2,"{name}",../m.png\n' + '"a""q",detection,1,../i.png,\n')
    assert [(row.task_id, row.image_path) for row in rows.rows] == [(" lung ", name), ('a"q', "../i.png")]


def test_a_nul_byte_is_reported_with_its_line(tmp_path: Path) -> None:
    rows = read(tmp_path, HEAD + GOOD + "lung,segmentation,2,../b\0.png,../m2.png\n")
    assert "a.csv:3 holds a NUL byte" in said(rows)
    with pytest.raises(ImageError, match="NUL"):
        image_file(tmp_path, rows.rows[1])


def test_ragged_rows_are_reported_with_their_lines_and_still_answered(tmp_path: Path) -> None:
    rows = read(tmp_path, HEAD + "lung,segmentation,2,../1.png\n" + GOOD + "lung,segmentation,2,../2.png,../m,1,2\n")
    assert [row.image_path for row in rows.rows] == ["../1.png", "../S/é 1.png", "../2.png"]
    assert "a.csv:2 has 4 cells where the header has 5" in said(rows)
    assert "a.csv:4 has 7 cells where the header has 5" in said(rows)


def test_an_unclosed_quote_loses_only_its_own_row(tmp_path: Path) -> None:
    rows = read(tmp_path, HEAD + 'lung,segmentation,2,"../1.png,../m1.png\n' + GOOD + GOOD.replace("1", "2"))
    assert [row.source for row in rows.rows] == ["a.csv:2", "a.csv:3", "a.csv:4"]
    assert rows.rows[1].mask_path == "../S/m1.png"
    assert "a.csv:2 has 4 cells" in said(rows)


@pytest.mark.parametrize(("cell", "value"), [("2", 2), ("2.0", 2), (" 3 ", 3)])
def test_integral_class_counts_are_accepted(tmp_path: Path, cell: str, value: int) -> None:
    rows = read(tmp_path, HEAD + f"lung,segmentation,{cell},../1.png,../m.png\n")
    assert rows.rows[0].num_classes == value
    assert rows.problems == []


@pytest.mark.parametrize("cell", ["", "nan", "2.5", "two", "0", "-1", "inf", "1e9"])
def test_other_class_counts_are_unknown_and_reported(tmp_path: Path, cell: str) -> None:
    rows = read(tmp_path, HEAD + f"lung,segmentation,{cell},../1.png,../m.png\n")
    assert rows.rows[0].num_classes is None
    assert "a.csv:2 has the num_classes" in said(rows)


@pytest.mark.parametrize("name", ["", "nan", "segmentatoin"])
def test_a_wrong_task_name_is_mended_from_a_known_task(tmp_path: Path, name: str) -> None:
    rows = read(tmp_path, HEAD + f"IUGC,{name},3,../1.png,\n")
    assert rows.rows[0].type == TaskType.REGRESSION
    assert "a.csv:2 has the task_name" in said(rows)


def test_a_row_of_unknown_type_is_reported_and_left_out(tmp_path: Path) -> None:
    rows = read(tmp_path, HEAD + "mystery,guess,3,../1.png,\n" + GOOD)
    assert [row.task_id for row in rows.rows] == ["lung"]
    assert "a.csv:2" in said(rows)
    assert "is left out" in said(rows)


@pytest.mark.parametrize("cells", [",segmentation,2,../1.png,../m.png", "lung,segmentation,2,,../m.png"])
def test_a_blank_id_or_path_is_reported_and_the_row_kept(tmp_path: Path, cells: str) -> None:
    rows = read(tmp_path, HEAD + cells + "\n")
    assert len(rows.rows) == 1
    assert "a.csv:2 has a blank" in said(rows)


def test_an_unknown_task_keeps_its_own_type_and_class_count(tmp_path: Path) -> None:
    rows = read(tmp_path, HEAD + "new_task,classification,7,../1.png,\n").rows
    assert (rows[0].type, rows[0].num_classes) == (TaskType.CLASSIFICATION, 7)


def test_exact_duplicates_are_kept_once_and_counted_in_one_problem(tmp_path: Path) -> None:
    rows = read(tmp_path, HEAD + GOOD * 40 + GOOD.replace("m1", "m2"))
    assert [row.mask_path for row in rows.rows] == ["../S/m1.png", "../S/m2.png"]
    assert rows.duplicates == 39
    assert len(rows.problems) == 1
    assert "and 29 more" in said(rows)


LABELLED = "task_id,task_name,num_classes,image_path,mask,x_min\n"
ONE = "t,classification,2,../1.png,1,\n"


@pytest.mark.parametrize("other", [ONE.replace(",1,", ",0,"), ONE.replace(",1,", ",,")])
def test_labels_that_contradict_each_other_are_kept_apart_for_training(tmp_path: Path, other: str) -> None:
    read(tmp_path, LABELLED + ONE.replace("1.png", "2.png") + ONE)
    rows = read(tmp_path, LABELLED + other, "b.csv")
    assert [row.source for row in rows.rows] == ["a.csv:2", "a.csv:3"]
    assert (rows.duplicates, rows.contradictory) == (1, ())
    rows = read_rows(tmp_path, labelled=True)
    assert [row.source for row in rows.contradictory] == ["b.csv:2"]


def test_rows_that_repeat_their_label_too_are_kept_once_for_training(tmp_path: Path) -> None:
    read(tmp_path, LABELLED + ONE + ONE.replace("1.png", "2.png"))
    read(tmp_path, "mask,task_id,task_name,num_classes,image_path\n1,t,classification,2,../1.png\n", "b.csv")
    rows = read_rows(tmp_path, labelled=True)
    assert [row.source for row in rows.rows] == ["a.csv:2", "a.csv:3"]
    assert rows.duplicates == 1


def test_a_duplicate_in_another_file_is_one_too(tmp_path: Path) -> None:
    read(tmp_path, HEAD + GOOD)
    rows = read(tmp_path, HEAD + GOOD, "b.csv")
    assert (len(rows.rows), rows.duplicates) == (1, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (HEAD, "a header and no rows"),
        ("task_id,task_name,picture\nlung,segmentation,../1.png\n", "task_id, task_name, picture"),
    ],
)
def test_a_file_of_no_use_is_skipped_with_the_reason(tmp_path: Path, content: str, reason: str) -> None:
    read(tmp_path, HEAD + GOOD)
    rows = read(tmp_path, content, "b.csv")
    assert len(rows.rows) == 1
    assert "b.csv skipped" in said(rows)
    assert reason in said(rows)


def test_when_nothing_is_left_the_error_says_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv.*no column image_path.*columns found are: task_id, task_name"):
        read(tmp_path, "task_id,task_name\nlung,segmentation\n")


def test_without_csv_files_the_error_lists_the_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"csv_files/\*\.csv, found: images in"):
        read_rows(tmp_path)
    (tmp_path / "csv_files").mkdir()
    with pytest.raises(InputError, match="found: nothing in"):
        read_rows(tmp_path)
    with pytest.raises(InputError, match="can't be listed"):
        read_rows(tmp_path / "absent")


def test_a_folder_or_fifo_named_like_a_csv_file_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "csv_files" / "0.csv").mkdir(parents=True)
    os.mkfifo(tmp_path / "csv_files" / "1.csv")
    rows = read(tmp_path, HEAD + GOOD)
    assert len(rows.rows) == 1
    assert said(rows).count("isn't a regular file") == 2


@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        "/etc/passwd",
        "..//etc/passwd",
        "../../m.png",
        "../S/../m.png",
        "....//m.png",
        "../....//m.png",
        "../S/ .. /m.png",
        " ../m.png",
        "C:/m.png",
        "../C:m.png",
        "..\\..\\m.png",
        "../S\\m.png",
        "../m\0.png",
        "..",
        "../",
        "../S/",
        "../S/.",
        "../" + "x" * 300 + ".png",
    ],
)
def test_an_unsafe_mask_path_is_refused_with_the_reason(path: str | None) -> None:
    with pytest.raises(ValueError, match=r"mask_path .*(blank|NUL|backslash|absolute|folder|upwards|longer)"):
        predicted_mask_path(masked(path))


@pytest.mark.parametrize("path", ["../../x.png", "/etc/passwd", "../S/../../x.png", "../../../../../../etc/passwd"])
def test_an_image_path_out_of_the_input_folder_is_refused(tmp_path: Path, path: str) -> None:
    row = Row("lung", TaskType.SEGMENTATION, 2, path, None, "a.csv:7", {})
    with pytest.raises(ImageError, match=r"a\.csv:7.*leads out of"):
        image_file(tmp_path, row)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_no_content_makes_the_reader_fail_in_another_way(tmp_path: Path, data: bytes, headed: bool) -> None:
    try:
        rows = read(tmp_path, (HEAD.encode() if headed else b"") + data)
    except InputError:
        return
    assert all(isinstance(row.type, TaskType) for row in rows.rows)
