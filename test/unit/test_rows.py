"""Rows of well-formed CSV files, their labels and their paths."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora.errors import ImageError, InputError
from aurora.rows import (
    Row,
    box_label,
    class_label,
    image_file,
    mask_files,
    points_label,
    predicted_mask_path,
    read_rows,
)
from aurora.tasks import TaskType


def row(**given: object) -> Row:
    fields = {
        "task_id": "t",
        "type": TaskType.SEGMENTATION,
        "num_classes": 2,
        "image_path": "../Segmentation/Two/i.png",
        "mask_path": "../Segmentation/Two/m.png",
        "source": "a.csv:2",
        "labels": {},
    }
    return Row(**(fields | given))  # type: ignore[arg-type]


def folder(root: Path, **files: str) -> Path:
    (root / "csv_files").mkdir(exist_ok=True)
    for name, text in files.items():
        (root / "csv_files" / f"{name}.csv").write_text(text)
    return root


def test_a_row_carries_every_column_and_its_line(tmp_path: Path) -> None:
    text = "task_id,task_name,num_classes,image_path,mask_path\nlung,segmentation,2,../S/i.png,../S/m.png\n"
    result = read_rows(folder(tmp_path, a=text))
    assert list(result.rows) == [Row("lung", TaskType.SEGMENTATION, 2, "../S/i.png", "../S/m.png", "a.csv:2", {})]
    assert result.problems == []


def test_files_are_read_in_the_order_of_their_names_and_columns_in_any_order(tmp_path: Path) -> None:
    later = "image_path,num_classes,task_name,task_id\n../2.png,1,detection,d\n"
    sooner = "task_id,task_name,num_classes,image_path\nr,Regression,3,../1.png\n"
    result = read_rows(folder(tmp_path, b=later, a=sooner))
    assert [(r.source, r.type, r.num_classes) for r in result.rows] == [
        ("a.csv:2", TaskType.REGRESSION, 3),
        ("b.csv:2", TaskType.DETECTION, 1),
    ]


def test_labels_hold_only_the_label_columns_that_are_given(tmp_path: Path) -> None:
    text = "task_id,task_name,num_classes,image_path,mask,x_min\nc,classification,2,../1.png,1,\n"
    assert read_rows(folder(tmp_path, a=text)).rows[0].labels == {"mask": "1"}


@pytest.mark.parametrize("name", ["SEGMENTATION", " segmentation ", "Segmentation"])
def test_task_names_match_in_any_case(tmp_path: Path, name: str) -> None:
    result = read_rows(folder(tmp_path, a=f"task_id,task_name,num_classes,image_path\nt,{name},2,../1.png\n"))
    assert result.rows[0].type == TaskType.SEGMENTATION
    assert result.problems == []


def test_class_label() -> None:
    assert class_label(row()) is None
    assert class_label(row(labels={"mask": "3.0"})) == 3
    with pytest.raises(InputError, match=r"a\.csv:2.*mask"):
        class_label(row(labels={"mask": "benign"}))


def test_box_label() -> None:
    box = {"x_min": "1", "y_min": "2.5", "x_max": "3", "y_max": "4"}
    assert box_label(row()) is None
    assert box_label(row(labels=box)) == (1, 2.5, 3, 4)
    with pytest.raises(InputError, match="y_max"):
        box_label(row(labels=box | {"y_max": "inf"}))
    del box["x_min"]
    with pytest.raises(InputError, match="x_min"):
        box_label(row(labels=box))


def test_points_come_in_the_order_of_their_numbers() -> None:
    labels = {f"point_{k}_xy": f"[{k}, {k}.5]" for k in (10, 2, 1, 3, 4, 5, 6, 7, 8, 9)}
    assert points_label(row(labels=labels)) == [(k, k + 0.5) for k in range(1, 11)]
    assert points_label(row()) is None


@pytest.mark.parametrize("cell", ["1, 2", "[1]", "[1, 2, 3]", '["a", 1]', "[NaN, 1]", "5", "null", "[[1], 2]"])
def test_a_point_that_is_no_pair_of_numbers_is_refused(cell: str) -> None:
    with pytest.raises(InputError, match="point_1_xy"):
        points_label(row(labels={"point_1_xy": cell}))


def test_a_gap_between_points_is_refused() -> None:
    with pytest.raises(InputError, match="point_2_xy"):
        points_label(row(labels={"point_1_xy": "[1, 2]", "point_3_xy": "[1, 2]"}))


def test_paths_are_relative_to_csv_files(tmp_path: Path) -> None:
    assert image_file(tmp_path, row()) == tmp_path / "Segmentation/Two/i.png"
    assert mask_files(tmp_path, row()) == [tmp_path / "Segmentation/Two/m.png"]
    with pytest.raises(ImageError, match="mask_path is blank"):
        mask_files(tmp_path, row(mask_path=None))


def test_a_predicted_mask_loses_one_leading_step_up_and_keeps_its_suffix() -> None:
    assert predicted_mask_path(row(mask_path="../Segmentation/a b,ü.JPG")) == "Segmentation/a b,ü.JPG"
    assert predicted_mask_path(row(mask_path="./Segmentation//m.png")) == "Segmentation/m.png"


@given(st.text("./\\ :aC\0", max_size=12))
def test_no_predicted_mask_is_ever_outside_the_output_folder(path: str) -> None:
    out = Path("/out")
    try:
        target = predicted_mask_path(row(mask_path=path))
    except ValueError:
        return
    assert ".." not in Path(target).parts
    assert out in (out / target).parents


def test_a_row_has_its_patient(tmp_path: Path) -> None:
    text = "task_id,task_name,num_classes,image_path,patient_id\n" + "".join(
        f"t,detection,1,../{n}.png,{patient}\n" for n, patient in enumerate(["p 1", " 7 ", "", "nan"])
    )
    result = read_rows(folder(tmp_path, a=text))
    assert [row.patient for row in result.rows] == ["p 1", "7", None, None]
    assert (result.problems, result.rows[0].labels) == ([], {})


def test_a_link_to_itself_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "csv_files").mkdir()
    (tmp_path / "csv_files" / "a.csv").symlink_to("a.csv")
    (tmp_path / "csv_files" / "b.csv").write_text(
        "task_id,task_name,num_classes,image_path\nbreast_2cls,classification,2,../i.png\n"
    )
    result = read_rows(tmp_path)
    assert [row.task_id for row in result.rows] == ["breast_2cls"]
    assert [problem.source for problem in result.problems] == ["a.csv"]
    assert not result.complete
