"""What the labels of a task reveal only together: conventions, marks of missing labels, contradictions."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from aurora.images.labels import LabelledFiles, classes_in, judge_files, merged_mask
from aurora.rows import Row, read_rows
from aurora.rows.labels import LabelledRow, LabelProblem, judge_labels, merge_masks
from aurora.tasks import TaskType

HEADS = {
    "segmentation": "mask_path",
    "classification": "mask",
    "detection": "x_min,y_min,x_max,y_max",
    "Regression": "point_1_xy,point_2_xy",
}


def judged(
    root: Path, kind: str, labels: Sequence[str], task: str = "mine", counts: Sequence[str] = ("2",)
) -> list[LabelProblem]:
    """Judge a task whose rows name the images 0, 1, ..., or the image before a colon."""
    lines = [f"task_id,task_name,num_classes,image_path,{HEADS[kind]}"]
    for number, label in enumerate(labels):
        image, colon, cells = label.rpartition(":")
        place = image if colon else str(number)
        lines.append(f"{task},{kind},{counts[number % len(counts)]},../{place}.png,{cells}")
    (root / "csv_files").mkdir(exist_ok=True)
    (root / "csv_files" / "a.csv").write_text("\n".join(lines) + "\n")
    read = read_rows(root, labelled=True)
    rows, left_out = ([LabelledRow(root, row) for row in group] for group in (read.rows, read.contradictory))
    return judge_labels(rows, left_out)


FRACTIONS = "with no coordinate above 1; multiply fractions"
REFUSED = {
    "fractions for a box": ("detection", ["0.1,0.2,0.5,0.9", "0,0,1,1"], FRACTIONS),
    "centre and size in fractions": ("detection", ["0.5,0.5,0.2,0.2", "0.3,0.5,0.1,0.2"], FRACTIONS),
    "fractions for points": ("Regression", ['"[0.1, 0.2]","[0.5, 0.9]"'], FRACTIONS),
    "fractions beside missing points": ("Regression", ['"[0.1, 0.2]","[-1, -1]"', '"[0, 0]","[0, 0]"'], FRACTIONS),
    "width and height for the second corner": (
        "detection",
        ["100,80,30,20", "120,80,30,90", "10,10,40,40"],
        r"found 2 of 3 rows \(a.csv:2, a.csv:3\) otherwise, as if boxes were written as x, y, width and height",
    ),
    "classes from 1": ("classification", ["1", "2", "1"], "expected classes from 0 to 1, found 1 to 2; subtract 1"),
    "two classes of an image": (
        "classification",
        ["p:0", "p:1", "1"],
        r"1 image has two classes \(a.csv:2 and a.csv:3",
    ),
    "two boxes of an image": ("detection", ["p:1,2,30,40", "p:5,6,70,80"], "1 image has two boxes .*keep one row"),
    "two masks of an image": (
        "segmentation",
        ["p:../m.png", "./p:../n.png", "q:../o.png", "q:../p.png", "q:../r.png"],
        r"2 images have up to 3 masks \(a.csv:2 and a.csv:3, ...\); merge them with merge_masks=true",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_labels_that_can_only_be_wrong_are_refused(tmp_path: Path, name: str) -> None:
    kind, labels, expected = REFUSED[name]
    (problem,) = [problem for problem in judged(tmp_path, kind, labels) if problem.refused]
    assert problem.task_id == "mine"
    with pytest.raises(ValueError, match=expected):
        raise ValueError(problem.message)


NAMED = {
    "some fractions": ("detection", ["0.1,0.2,0.5,0.9", "10,20,50,90"], r"1 of 2 rows \(a.csv:2\) with no coord"),
    "boxes of no size": (
        "detection",
        ["0,0,0,0", "10,20,50,90"],
        r"1 of 2 rows \(a.csv:2\) with a box of no size",
    ),
    "points at the corner": (
        "Regression",
        ['"[0, 0]","[5, 9]"', '"[3, 4]","[5, 9]"'],
        r"1 of 2 rows .* point at \(",
    ),
    "points at -1": ("Regression", ['"[-1, -1]","[5, 9]"', '"[3, 4]","[5, 9]"'], "negative coordinates"),
    "a class without rows": ("classification", ["0", "0"], "class 1 occurs in no row"),
    "a mask of several images": (
        "segmentation",
        ["../m.png", "../n.png", "../m.png", ".././n.png", "../o.png"],
        r"4 images share a mask with another \(a.csv:2 and a.csv:4, ...\); give each image one of its own",
    ),
    "a class of one row": ("classification", ["0", "0", "1"], r"class 1 has one row \(a.csv:4\)"),
}


@pytest.mark.parametrize("name", NAMED)
def test_labels_that_may_be_right_are_named(tmp_path: Path, name: str) -> None:
    kind, labels, expected = NAMED[name]
    (problem,) = judged(tmp_path, kind, labels)
    assert not problem.refused
    with pytest.raises(ValueError, match=expected):
        raise ValueError(problem.message)


GOOD = {
    "pixels": ("detection", ["1,2,30,40", "0.5,0.5,99,0.75"]),
    "one impossible box, which its own row names": ("detection", ["30,2,1,40", *["1,2,30,40"] * 9]),
    "points slightly outside": ("Regression", ['"[-0.5, 3]","[0, 9]"']),
    "every class twice": ("classification", ["0", "1", "1", "0"]),
    "one mask of an image in two rows": ("segmentation", ["p:../m.png", "./p:../m.png"]),
    "a label that its own row names": ("classification", ["0", "0", "1", "1", "benign"]),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_labels_are_passed_over(tmp_path: Path, name: str) -> None:
    assert judged(tmp_path, *GOOD[name]) == []


def test_rows_that_disagree_on_the_number_of_classes_are_refused(tmp_path: Path) -> None:
    problems = judged(tmp_path, "classification", ["0", "1", "0", "1"], counts=("2", "3"))
    assert [problem.message for problem in problems if problem.refused] == [
        "expected the same num_classes in all rows, found 2 (a.csv:2) and 3 (a.csv:3); write one number in all of them"
    ]
    assert judged(tmp_path, "segmentation", ["../m.png", "../n.png"], counts=("2", "")) == []


def test_an_official_name_keeps_its_type_and_number(tmp_path: Path) -> None:
    (problem,) = judged(tmp_path, "classification", ["0", "1"], task="lung")
    assert (problem.refused, "expected segmentation" in problem.message) == (True, True)
    (problem,) = judged(tmp_path, "segmentation", ["../m.png", "../n.png"], task="lung", counts=("3",))
    assert (problem.refused, "has 2, which counts" in problem.message) == (False, True)


def test_a_task_of_two_types_is_refused(tmp_path: Path) -> None:
    rows = [Row("t", kind, 2, f"../{kind}.png", None, f"{kind}.csv:2", {}) for kind in ("detection", "classification")]
    rows = [LabelledRow(tmp_path, row) for row in rows]
    (problem,) = judge_labels(rows)
    assert problem.refused
    assert "found detection (detection.csv:2) and classification (classification.csv:2)" in problem.message


def test_masks_of_one_image_are_merged_to_their_union(tmp_path: Path) -> None:
    masks = [np.array([[0, 1, 0], [0, 2, 0]], np.uint8), np.array([[0, 0, 1], [0, 1, 0]], np.uint8)]
    for name, mask in zip(("m", "n"), masks, strict=True):
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
    judged(tmp_path, "segmentation", ["p:../m.png", "q:../o.png", "./p:../n.png"])
    rows = [LabelledRow(tmp_path, row) for row in read_rows(tmp_path).rows]
    merged = merge_masks(rows)
    assert [(item.row.source, item.row.more_masks) for item in merged] == [("a.csv:2", ("../n.png",)), ("a.csv:3", ())]
    union = merged_mask([tmp_path / "m.png", tmp_path / "n.png"])
    assert union.tolist() == [[0, 1, 1], [0, 2, 0]]
    assert classes_in(union) == {0, 1, 2}
    assert judge_labels(merged) == []
    (problem,) = judge_labels(rows, several_masks=True)
    assert not problem.refused


def masked(*classes: set[int] | None, turned: int = 0) -> list[LabelProblem]:
    """Judge masks with these classes, the first of whose images are turned."""
    row = Row("mine", TaskType.SEGMENTATION, 3, "../1.png", "../m.png", "a.csv:2", {})
    files = [LabelledFiles(row, i < turned, None if ids is None else frozenset(ids)) for i, ids in enumerate(classes)]
    return judge_files(files)


def test_masks_that_are_all_black_are_refused() -> None:
    (problem,) = masked({0}, {0})
    assert (problem.refused, "found all masks black" in problem.message) == (True, True)
    assert [problem.message for problem in masked({0}, {0, 1, 2}) if not problem.refused] == [
        "1 of 2 masks are all black; make sure that their images show nothing"
    ]


def test_a_class_in_no_mask_is_named_and_so_is_what_was_not_read() -> None:
    (problem,) = masked({0, 1}, {0, 1}, None)
    assert (problem.refused, problem.message) == (
        False,
        "class 2 occurs in no mask of the 2 that were read, of 3, so nothing can be learnt of it",
    )
    assert masked({0, 1}, {2}) == []
    assert masked(None, None) == []


def test_labels_of_turned_images_are_named() -> None:
    (problem,) = masked({0, 1}, {2}, turned=1)
    assert (problem.refused, problem.message.startswith("1 image is turned by EXIF (a.csv:2); labels")) == (False, True)
