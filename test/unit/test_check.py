"""The report of `check` on an input folder."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from aurora.errors import InputError
from inference.check import as_json, as_text, check

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
    rows = [f"lung,segmentation,2,../absent{i}.png,../{i}.png" for i in range(13)]
    text = as_text(check(folder(tmp_path, *rows)))
    assert "images that can't be read (their rows get fallbacks): 13" in text
    assert text.count("absent") == 10
    assert "and 3 more" in text


def test_the_json_form_holds_everything(tmp_path: Path) -> None:
    report = check(folder(tmp_path, "lung,segmentation,2,../absent.png,../m.png"))
    values = json.loads(json.dumps(as_json(report)))
    assert values["rows"] == 1
    assert values["usable"] is False
    assert values["unreadable"][0]["source"] == "a.csv:2"


def test_a_folder_without_rows_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="csv_files"):
        check(tmp_path)


def test_the_real_images_are_all_readable(realus: Path) -> None:
    report = check(realus / "val")
    assert report.rows > 0
    assert report.unreadable == []
    assert report.problems == []
