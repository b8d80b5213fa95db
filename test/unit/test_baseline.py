"""The trivial answers are the means of the training labels, at each image's own size."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from aurora.errors import InputError, OutputError, UsageError
from aurora.scoring.score import score
from training.baseline import write_baseline

HEAD = "task_id,task_name,num_classes,image_path,"


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def write_root(root: Path, tables: dict[str, str], sizes: list[tuple[int, int]]) -> Path:
    (root / "csv_files").mkdir(parents=True)
    for name, rows in tables.items():
        (root / "csv_files" / f"{name}.csv").write_text(HEAD + rows)
    for number, size in enumerate(sizes):
        write_png(root / "i" / f"{number}.png", np.zeros(size, np.uint8))
    return root


def load(path: Path) -> dict:
    return json.loads(path.read_text())[0]


def test_class_frequencies(tmp_path: Path) -> None:
    rows = "mask\n" + "".join(f"c,classification,3,../i/{i}.png,{label}\n" for i, label in enumerate((2, 0, 2, 2)))
    root = write_root(tmp_path / "train", {"cls": rows}, [(4, 4)] * 4)
    write_baseline(root, root, tmp_path / "out")
    found = load(tmp_path / "out" / "classification_predictions.json")
    assert (found["predicted_class"], found["predicted_probs"]) == (2, [0.25, 0, 0.75])


def test_the_mean_box_scales_with_the_image(tmp_path: Path) -> None:
    rows = "x_min,y_min,x_max,y_max\nd,detection,1,../i/0.png,0,10,20,30\nd,detection,1,../i/1.png,20,20,60,60\n"
    train = write_root(tmp_path / "train", {"det": rows}, [(40, 80), (80, 160)])
    data = write_root(tmp_path / "data", {"det": "x_min\nd,detection,1,../i/0.png,\n"}, [(400, 800)])
    write_baseline(train, data, tmp_path / "out")
    found = load(tmp_path / "out" / "detection_predictions.json")
    # The mean in fractions of the image is 1/16, 1/4, 5/16, 3/4; half a pixel more or less is the frame's own.
    assert found["bbox_pixels"] == pytest.approx([50, 100, 250, 300], abs=5)


def test_the_mean_points_keep_their_order(tmp_path: Path) -> None:
    rows = (
        'point_1_xy,point_2_xy\nr,Regression,2,../i/0.png,"[60, 10]","[20, 30]"\n'
        'r,Regression,2,../i/1.png,"[40, 20]","[0, 10]"\n'
    )
    root = write_root(tmp_path / "train", {"reg": rows}, [(40, 80)] * 2)
    write_baseline(root, root, tmp_path / "out")
    found = load(tmp_path / "out" / "regression_predictions.json")
    assert found["predicted_points_pixels"] == pytest.approx([50, 15, 10, 20])


def test_the_mean_mask_holds_what_most_masks_hold(tmp_path: Path) -> None:
    rows = "mask_path\n" + "".join(f"s,segmentation,3,../i/{i}.png,../m/{i}.png\n" for i in range(3))
    train = write_root(tmp_path / "train", {"seg": rows}, [(8, 8)] * 3)
    for number, labels in enumerate(([0, 1, 1, 2], [0, 1, 2, 2], [0, 0, 1, 2])):
        write_png(train / "m" / f"{number}.png", np.repeat(np.array([labels] * 8, np.uint8), 2, axis=1))
    data = write_root(tmp_path / "data", {"seg": rows}, [(20, 40)] * 3)
    write_baseline(train, data, tmp_path / "out")
    mask = cv2.imread(str(tmp_path / "out" / "m" / "2.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (20, 40)
    assert mask[10, 5::10].tolist() == [0, 1, 1, 2]


def test_a_task_without_training_labels_is_an_error(tmp_path: Path) -> None:
    rows = "mask\nc,classification,2,../i/0.png,1\n"
    train = write_root(tmp_path / "train", {"cls": rows}, [(4, 4)])
    data = write_root(tmp_path / "data", {"cls": rows.replace("\nc,", "\nother,")}, [(4, 4)])
    with pytest.raises(InputError, match="'other'"):
        write_baseline(train, data, tmp_path / "out")


def test_blanks_around_a_task_do_not_matter(tmp_path: Path) -> None:
    rows = "mask\nc,classification,2,../i/0.png,1\n"
    train = write_root(tmp_path / "train", {"cls": rows}, [(4, 4)])
    data = write_root(tmp_path / "data", {"cls": rows.replace("\nc,", "\n c ,")}, [(4, 4)])
    write_baseline(train, data, tmp_path / "out")
    assert load(tmp_path / "out" / "classification_predictions.json")["predicted_class"] == 1


@pytest.mark.parametrize(("rows", "message"), [
    ("mask\nc,classification,2,../i/0.png,2\n", "expected a class in 0..1"),
    ("mask\nc,classification,2,../i/0.png,\n", "found none"),
    ("mask\nc,classification,,../i/0.png,1\n", "num_classes"),
    ("x_min,y_min,x_max,y_max\nd,detection,1,../i/0.png,3,0,1,2\n", "expected x_min below x_max"),
    ('point_1_xy,point_2_xy\nr,Regression,2,../i/0.png,"[1, 1]",\n', "expected 2 points"),
    ("mask_path\ns,segmentation,2,../i/0.png,../absent.png\n", "expected a mask at"),
    ("mask_path\ns,segmentation,2,../i/0.png,../i/wide.png\n", "as large as its image"),
])  # fmt: skip
def test_a_label_that_makes_no_sense_is_named(tmp_path: Path, rows: str, message: str) -> None:
    root = write_root(tmp_path / "train", {"a": rows}, [(4, 4)])
    write_png(root / "i" / "wide.png", np.zeros((4, 9), np.uint8))
    with pytest.raises(InputError, match=message):
        write_baseline(root, root, tmp_path / "out")


def test_a_mask_without_a_place_is_named(tmp_path: Path) -> None:
    rows = "mask_path\ns,segmentation,2,../i/0.png,../i/0.png\n"
    train = write_root(tmp_path / "train", {"seg": rows}, [(4, 4)])
    data = write_root(tmp_path / "data", {"seg": rows.replace(",../i/0.png\n", ",\n")}, [(4, 4)])
    with pytest.raises(InputError, match=r"seg\.csv:2: mask_path is blank"):
        write_baseline(train, data, tmp_path / "out")


def test_labels_are_never_written_over(tmp_path: Path) -> None:
    rows = "mask_path\ns,segmentation,2,../i/0.png,../m/0.png\n"
    root = write_root(tmp_path / "train", {"seg": rows}, [(4, 4)])
    write_png(root / "m" / "0.png", np.eye(4, dtype=np.uint8))
    before = (root / "m" / "0.png").read_bytes()
    with pytest.raises(UsageError, match="--out"):
        write_baseline(root, root, root)
    assert (root / "m" / "0.png").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    root = write_root(tmp_path / "train", {"cls": "mask\nc,classification,2,../i/0.png,1\n"}, [(4, 4)])
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="another folder with --out"):
        write_baseline(root, root, tmp_path / "out")


@pytest.mark.slow
def test_they_score_on_real_data(realus: Path, tmp_path: Path) -> None:
    write_baseline(realus / "train", realus / "val", tmp_path / "out")
    scores = score(realus / "val", tmp_path / "out")
    assert all(task.predicted == task.rows for task in scores.tasks)
    assert 0.3 < scores.composite < 0.4


def test_what_is_unusual_about_labels_and_images_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "mask\n" + "".join(f"c,classification,3,../i/{i}.jpg,{i}\n" for i in range(2))
    root = write_root(tmp_path / "train", {"cls": rows}, [])
    for number in range(2):
        write_png(root / "i" / f"{number}.jpg", np.zeros((40, 40), np.uint8))
    path = root / "i" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-10])
    write_baseline(root, root, tmp_path / "out")
    said = capsys.readouterr().out
    assert "task c: class 2 occurs in no row" in said
    assert (
        "warnings (2): truncated: the end of the file is missing [cls.csv:3 ../i/1.jpg, cls.csv:3 ../i/1.jpg]" in said
    )
