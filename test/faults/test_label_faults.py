"""Labels of training data that make no sense: named with their row before training starts, and when they are read."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from aurora.errors import ImageError, InputError
from training.data.cases import Case, check_label, load_cases, load_sample

WIDTH, HEIGHT = 80, 60
SEGMENTATION = {"task_id": "breast_lesion", "task_name": "segmentation", "mask_path": "../mask.png"}
CLASSIFICATION = {"task_id": "breast_2cls", "task_name": "classification", "mask": "1"}
BOX = ("x_min", "y_min", "x_max", "y_max")
POINTS = {"task_id": "fetal_femur", "task_name": "Regression"}


def box(*sides: float | str) -> dict[str, str]:
    return {"task_id": "thyroid_nodule_det", "task_name": "detection"} | dict(zip(BOX, map(str, sides), strict=True))


def points(*cells: str) -> dict[str, str]:
    return POINTS | {f"point_{k}_xy": cell for k, cell in enumerate(cells, start=1)}


#: What the row says, and what the error says after "labels.csv:2: ".
ROWS: dict[str, tuple[dict[str, str], str]] = {
    "mask path blank": (SEGMENTATION | {"mask_path": ""}, "mask_path is blank; expected the path of a mask"),
    "mask path outside": (SEGMENTATION | {"mask_path": "../../m.png"}, "mask_path leads out of the input folder"),
    "mask missing": (SEGMENTATION | {"mask_path": "../no.png"}, r"expected a mask at \.\./no\.png, found none"),
    "mask a folder": (SEGMENTATION | {"mask_path": "../csv_files"}, "expected a mask at .*, found none"),
    "mask empty": (SEGMENTATION | {"mask_path": "../empty.png"}, "expected a mask at .*, found an empty file"),
    "class absent": (CLASSIFICATION | {"mask": ""}, "expected a class in 0..1 in the column mask, found none"),
    "class too large": (CLASSIFICATION | {"mask": "2"}, "expected a class in 0..1 in the column mask, found 2"),
    "class negative": (CLASSIFICATION | {"mask": "-1"}, "expected a class number in the column mask, found -1"),
    "class a half": (CLASSIFICATION | {"mask": "0.5"}, "expected a class number in the column mask, found 0.5"),
    "class a word": (CLASSIFICATION | {"mask": "benign"}, "expected a number in the column mask, found 'benign'"),
    "box absent": (box("", "", "", ""), "expected x_min, y_min, x_max and y_max, found none"),
    "box incomplete": (box(1, 2, "", 20), "expected a number in the column x_max, found ''"),
    "box with NaN": (box(1, "nan", 30, 20), "expected a number in the column y_min, found ''"),
    "box with infinity": (box(1, 2, "inf", 20), "expected a number in the column x_max, found 'inf'"),
    "box without width": (box(30, 2, 30, 20), r"expected x_min below x_max .* found x 30\.\.30 and y 2\.\.20"),
    "box upside down": (
        box(1, 20, 30, 2),
        r"expected x_min below x_max and y_min below y_max, found x 1\.\.30 and y 20",
    ),
    "box mostly to the right": (box(60, 10, 120, 40), r"mostly in the image, 80 wide and 60 high, found x 60\.\.120"),
    "box mostly below": (box(10, 50, 40, 100), "expected a box that is mostly in the image"),
    "box mostly off a corner": (box(-20, -20, 30, 30), "expected a box that is mostly in the image"),
    "box all outside": (box(100, 70, 120, 90), "expected a box that is mostly in the image"),
    "points absent": (points("", ""), "expected 2 points, found 0"),
    "point missing": (points("[1, 2]"), "expected 2 points, found 1"),
    "point too many": (points("[1, 2]", "[3, 4]", "[5, 6]"), "expected 2 points, found 3"),
    "point before the last blank": (points("", "[3, 4]"), r"expected \[x, y\] in the column point_1_xy, found ''"),
    "point no list": (points("[1, 2]", "3; 4"), r"expected \[x, y\] in the column point_2_xy, found '3; 4'"),
    "point with three numbers": (points("[1, 2, 3]", "[3, 4]"), r"expected \[x, y\] in the column point_1_xy"),
    "point with NaN": (points("[1, NaN]", "[3, 4]"), r"expected \[x, y\] in the column point_1_xy"),
    "point with infinity": (points("[1, 2]", "[1e999, 4]"), r"expected \[x, y\] in the column point_2_xy"),
    "point far outside": (
        points("[1, 2]", "[91, 4]"),
        r"expected point_2_xy in .* 80 wide .* found \[91, 4\], 11.5 pixels",
    ),
    "point far off a corner": (points("[-8.5, -8.5]", "[1, 4]"), r"expected point_1_xy in .* found \[-8.5, -8.5\]"),
}

#: What the mask's file holds, and what the error says after "labels.csv:2: ".
MASKS: dict[str, tuple[np.ndarray | bytes, str]] = {
    "mask of another size": (
        np.zeros((WIDTH, HEIGHT), np.uint8),
        r"expected .*, 80 wide and 60 high, found one 60 wide and 80 high",
    ),
    "mask with a class too many": (
        np.full((HEIGHT, WIDTH), 2, np.uint8),
        "expected .* class ids below 2, found one with 2",
    ),
    "mask in 0 and 255": (np.full((HEIGHT, WIDTH), 255, np.uint8), "expected .* class ids below 2, found one with 255"),
    "mask in colours": (
        np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        "expected one channel of class ids, found a colour image",
    ),
    "mask no image": (b"<html>not found</html>", "is a web page"),
}

#: Odd, but labels that can be used.
GOOD: dict[str, dict[str, str]] = {
    "mask": SEGMENTATION,
    "class written as a float": CLASSIFICATION | {"mask": "1.0"},
    "box that hangs over slightly": box(-4, 10, 30, 63),
    "box of all the image": box(-0.5, -0.5, 79.5, 59.5),
    "point slightly outside": points("[-0.5, 30]", "[88, 4]"),
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[dict[str, str]], Case]:
    """Writes an input root of one row, with an image 80 wide and 60 high, a good mask and an empty one."""

    def one(cells: dict[str, str]) -> Case:
        (tmp_path / "csv_files").mkdir()
        cv2.imwrite(str(tmp_path / "image.png"), np.full((HEIGHT, WIDTH), 90, np.uint8))
        cv2.imwrite(str(tmp_path / "mask.png"), np.eye(HEIGHT, WIDTH, dtype=np.uint8))
        (tmp_path / "empty.png").touch()
        row = {"image_path": "../image.png", "num_classes": "2"} | cells
        with (tmp_path / "csv_files" / "labels.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerow(row)
        return load_cases([tmp_path])[0]

    return one


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_makes_no_sense_is_named_before_and_when_it_is_read(
    make: Callable[[dict[str, str]], Case], name: str
) -> None:
    cells, expected = ROWS[name]
    case = make(cells)
    with pytest.raises(InputError, match=rf"^labels\.csv:2: .*{expected}") as early:
        check_label(case)
    with pytest.raises(InputError) as late:
        load_sample([case], (64, 64), None)
    assert str(late.value) == str(early.value)


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_that_makes_no_sense_is_named_when_it_is_read(make: Callable[[dict[str, str]], Case], name: str) -> None:
    content, expected = MASKS[name]
    case = make(SEGMENTATION)
    if isinstance(content, bytes):
        (case.root / "mask.png").write_bytes(content)
    else:
        cv2.imwrite(str(case.root / "mask.png"), content)
    check_label(case)
    with pytest.raises(InputError, match=rf"^labels\.csv:2: .*{expected}"):
        load_sample([case], (64, 64), None)


@pytest.mark.parametrize("name", GOOD)
def test_odd_labels_that_make_sense_are_taken(make: Callable[[dict[str, str]], Case], name: str) -> None:
    case = make(GOOD[name])
    check_label(case)
    for seed in range(5):
        assert np.isfinite(load_sample([case], (64, 64), np.random.default_rng(seed)).targets[case.task]).all()


def test_what_hangs_over_is_cut_off_a_box(make: Callable[[dict[str, str]], Case]) -> None:
    case = make(box(-4, 10, 30, 63))
    np.testing.assert_allclose(load_sample([case], (64, 64), None).targets[case.task], [0, 10.5 / 60, 30.5 / 80, 1])


def test_no_pixel_is_decoded_by_the_check(
    make: Callable[[dict[str, str]], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make(SEGMENTATION)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    check_label(case)


@pytest.mark.parametrize("cells", [SEGMENTATION, CLASSIFICATION, box(1, 2, 30, 20), points("[1, 2]", "[3, 4]")])
def test_an_image_that_is_not_there_is_named_by_the_check(
    make: Callable[[dict[str, str]], Case], cells: dict[str, str]
) -> None:
    with pytest.raises(ImageError, match=r"no\.png"):
        check_label(make(cells | {"image_path": "../no.png"}))
