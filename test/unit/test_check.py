"""The report of `check` on an input folder."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from aurora.errors import InputError
from inference.check.check import check
from inference.check.report import as_json, as_text

HEAD = "task_id,task_name,num_classes,image_path,mask_path\n"


def folder(root: Path, *rows: str) -> Path:
    (root / "csv_files").mkdir()
    (root / "csv_files" / "a.csv").write_text(HEAD + "".join(f"{row}\n" for row in rows))
    for name, shape in (("small.png", (10, 20)), ("large.jpg", (30, 40))):
        cv2.imwrite(str(root / name), np.zeros((*shape, 3), np.uint8))
    return root


def test_rows_formats_and_sizes_are_gathered_by_task(tmp_path: Path) -> None:
    root = folder(tmp_path, "lung,segmentation,2,../small.png,../1.png", "lung,segmentation,2,../large.jpg,../2.png")
    (task,) = check(root).tasks
    assert (task.task_id, task.rows, task.num_classes) == ("lung", 2, [2])
    assert task.formats == {".png": 1, ".jpg": 1}
    assert (task.smallest, task.largest) == ((10, 20), (30, 40))


def test_every_problem_is_named_with_its_row(tmp_path: Path) -> None:
    root = folder(
        tmp_path,
        "lung,segmentation,2,../small.png,../m.png",
        "lung,segmentation,2,../large.jpg,../m.png",
        "lung,segmentation,2,../small.png,/etc/passwd",
        "new,classification,2,../absent.png,",
        "new,classification,2,../absent.png,",
    )
    report = check(root)
    assert [problem.source for problem in report.shared_masks] == ["a.csv:3"]
    assert [problem.source for problem in report.unsafe_masks] == ["a.csv:4"]
    assert [problem.source for problem in report.unreadable] == ["a.csv:5"]
    assert report.unknown_tasks == {"new": 1}
    assert report.duplicates == 1


def test_an_image_over_the_pixel_cap_counts_as_unreadable(tmp_path: Path) -> None:
    header = np.array([0x4D42, 0, 0, 0, 0, 54, 0, 40, 0, 20000, 0, 20000, 0], "<u2").tobytes()
    (tmp_path / "bomb.bmp").write_bytes(header + bytes(60))
    report = check(folder(tmp_path, "lung,segmentation,2,../bomb.bmp,../m.png"))
    assert "20000x20000" in report.unreadable[0].message
    assert not report.usable


def test_without_opening_images_only_the_rows_are_judged(tmp_path: Path) -> None:
    report = check(folder(tmp_path, "lung,segmentation,2,../absent.png,../m.png"), open_images=False)
    assert report.unreadable == []
    assert report.usable
    assert report.tasks[0].smallest is None


def test_the_text_shows_ten_examples_and_counts_the_rest(tmp_path: Path) -> None:
    rows = [f"lung,segmentation,2,../small.png,../{i}.jpg" for i in range(13)]
    text = as_text(check(folder(tmp_path, *rows)))
    assert "masks whose names ask for a format that isn't written: 13" in text
    assert text.count("name it .png") == 10
    assert "and 3 more" in text


def test_unreadable_images_are_counted_by_reason(tmp_path: Path) -> None:
    rows = [f"lung,segmentation,2,../absent{i}.png,../{i}.png" for i in range(7)]
    rows += [f"lung,segmentation,2,..\\{name},../{name}" for name in ("small.png", "large.jpg")]
    text = as_text(check(folder(tmp_path, *rows)))
    assert "images that can't be read (their rows get fallbacks): 9" in text
    assert "  images (7): can't be opened (No such file or directory) [a.csv:2 ../absent0.png, " in text
    assert "  images (2): can't be opened (No such file or directory): expected / between folders" in text


def test_masks_under_another_spelling_are_counted_by_it(tmp_path: Path) -> None:
    names = ["..\\1.png", "..\\2.png", "/home/me/3.png", "../4.png"]
    root = folder(tmp_path, *[f"mine,segmentation,2,../{i}.jpg,{name}" for i, name in enumerate(names)])
    for number in range(1, 4):
        cv2.imwrite(str(root / f"{number}.png"), np.eye(9, dtype=np.uint8))
    for number in range(4):
        cv2.imwrite(str(root / f"{number}.jpg"), np.eye(9, dtype=np.uint8))
    text = as_text(check(root))
    assert (
        "masks that aren't found (2): expected / between folders, found \\; replace \\ by / [a.csv:2 ..\\1.png, "
        in text
    )
    assert "masks that aren't found (1): expected a path from csv_files, found an absolute one; " in text
    assert "  a.csv:5 expected a mask at ../4.png, found none; add it or remove the row" in text
    assert text.endswith("; fit refuses the data: 4 rows")


def test_the_json_form_holds_everything(tmp_path: Path) -> None:
    report = check(folder(tmp_path, "lung,segmentation,2,../absent.png,../m.png"))
    values = json.loads(json.dumps(as_json(report)))
    assert values["rows"] == 1
    assert values["usable"] is False
    assert values["unreadable"][0]["source"] == "a.csv:2"
    reason = {"text": "can't be opened (No such file or directory)", "rows": 1, "examples": ["a.csv:2 ../absent.png"]}
    assert (values["reasons"], values["warnings"]) == ([reason], [])


def test_a_folder_without_rows_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="csv_files"):
        check(tmp_path)


def test_the_real_images_are_all_readable(realus: Path) -> None:
    report = check(realus / "val")
    assert report.rows > 0
    assert report.unreadable == []
    assert report.problems == []


def test_labels_are_judged_and_the_verdict_says_what_fit_refuses(tmp_path: Path) -> None:
    root = folder(tmp_path, "mine,segmentation,2,../small.png,../1.png", "mine,segmentation,2,../large.jpg,../2.png")
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((10, 20), np.uint8))
    cv2.imwrite(str(tmp_path / "2.png"), np.zeros((30, 40), np.uint8))
    report = check(root)
    assert "task mine: expected masks of class ids above 0, found all masks black" in as_text(report)
    assert as_text(report).endswith("usable, with 1 problem named above; fit refuses the data: 1 label problem")
    assert (report.exit_code, report.usable, as_json(report)["trainable"]) == (3, True, False)
    cv2.imwrite(str(tmp_path / "2.png"), np.ones((30, 40), np.uint8))
    report = check(root)
    assert [problem.message for problem in report.labels] == [
        "1 of 2 masks are all black; make sure that their images show nothing"
    ]
    assert (report.exit_code, as_json(report)["trainable"]) == (0, True)


def test_without_pixels_masks_need_only_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path, "mine,segmentation,3,../small.png,../1.png", "mine,segmentation,3,../large.jpg,../2.png")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    (tmp_path / "1.png").write_bytes(b"<html>")
    report = check(root, pixels=False)
    assert [problem.source for problem in report.refused_rows] == ["a.csv:3"]


def test_rows_without_labels_are_not_judged(tmp_path: Path) -> None:
    root = folder(tmp_path, "lung,classification,2,../small.png,", "lung,segmentation,2,../small.png,../no.png")
    assert check(root).labels == []


def test_what_is_unusual_about_images_is_counted(tmp_path: Path) -> None:
    root = folder(tmp_path, "lung,segmentation,2,../large.jpg,../1.png", "heart,segmentation,2,../large.jpg,../2.png")
    path = tmp_path / "large.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    text = as_text(check(root))
    assert "images (1): truncated: the end of the file is missing [a.csv:2 ../large.jpg]" in text
