"""From folders to training and validation cases: checked, split without a leak, and told about."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from aurora.errors import ImageError, InputError
from training.config import FitConfig
from training.data import prepare as prepare_module
from training.data.cases import task_registry
from training.data.prepare import prepare
from training.phantom import generate

TASKS = ["fetal_head", "breast_2cls"]
CONFIG = FitConfig(steps=1, val_share=0.25)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generate(tmp_path / "data", cases=8, seed=1, tasks=TASKS, size_scale=0.3)
    return tmp_path / "data"


def break_image(root: Path) -> str:
    """Make one image unreadable; its row's place."""
    next((root / "Classification").rglob("*00003.*")).write_bytes(b"<html>")
    return "breast_2cls.csv:5"


def test_data_without_a_validation_folder_is_split(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = prepare(CONFIG, [data], [])
    assert (len(train), len(val)) == (12, 4)
    assert {case.row.source for case in train} & {case.row.source for case in val} == set()
    assert {case.task.id for case in val} == set(TASKS)
    assert "12 rows to train on, 4 to choose the weights by" in capsys.readouterr().out


def test_no_share_no_validation(data: Path) -> None:
    train, val = prepare(CONFIG.model_copy(update={"val_share": 0}), [data], [])
    assert (len(train), val) == (16, [])


def test_a_validation_folder_with_trained_images_is_warned_of(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path / "val", cases=4, seed=9, tasks=["breast_2cls"], size_scale=0.3, split="val")
    assert len(prepare(CONFIG, [data], [tmp_path / "val"])[1]) == 4
    assert "warning" not in capsys.readouterr().out
    leak = next((data / "Classification").rglob("*00000.*"))
    shutil.copy(leak, next((tmp_path / "val" / "Classification").rglob("*00002.*")))
    prepare(CONFIG, [data], [tmp_path / "val"])
    assert "warning: 1 of 4 validation rows share an image or a patient" in capsys.readouterr().out


def test_a_patient_of_both_folders_is_warned_of(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate(tmp_path / "val", cases=4, seed=9, tasks=["breast_2cls"], size_scale=0.3, split="val")
    for root, first in ((data, 0), (tmp_path / "val", 5)):
        table = root / "csv_files" / "breast_2cls.csv"
        head, *rows = table.read_text().splitlines()
        rows = [f"{row},p{first + number}" for number, row in enumerate(rows)]
        table.write_text("\n".join([f"{head},patient_id", *rows]) + "\n")
    prepare(CONFIG, [data], [tmp_path / "val"])
    # Of p0 to p7 and p5 to p8.
    assert "warning: 3 of 4 validation rows share an image or a patient" in capsys.readouterr().out


def test_a_case_that_cannot_be_used_is_an_error(data: Path) -> None:
    break_image(data)
    with pytest.raises(ImageError):
        prepare(CONFIG, [data], [])


def test_or_it_is_left_out_and_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_image(data)
    train, val = prepare(CONFIG.model_copy(update={"on_bad_case": "skip"}), [data], [])
    assert len(train) + len(val) == 15
    assert "1 of 16 rows left out" in capsys.readouterr().out


def test_only_the_configured_tasks_are_trained(data: Path) -> None:
    train, _ = prepare(CONFIG.model_copy(update={"tasks": ["fetal_head"], "val_share": 0}), [data], [])
    assert {case.task.id for case in train} == {"fetal_head"}


def test_a_configured_task_without_rows_is_named(data: Path) -> None:
    with pytest.raises(InputError, match=r"rows of the task IUGC, named in tasks, found none; there are breast_2cls"):
        prepare(CONFIG.model_copy(update={"tasks": ["fetal_head", "IUGC"]}), [data], [])


def test_a_task_may_be_said_to_know_left_from_right(data: Path) -> None:
    train, val = prepare(CONFIG.model_copy(update={"fixed_laterality": ["breast_2cls"]}), [data], [data])
    for cases in (train, val):
        assert {case.task.id: case.task.left_right for case in cases} == {"fetal_head": False, "breast_2cls": True}
    assert task_registry(train)["breast_2cls"].left_right
    with pytest.raises(InputError, match="rows of the task IUGC, named in fixed_laterality, found none"):
        prepare(CONFIG.model_copy(update={"fixed_laterality": ["IUGC"]}), [data], [])


def test_labels_that_can_only_be_wrong_end_the_run_before_images_are_read(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = data / "csv_files" / "breast_2cls.csv"
    table.write_text(table.read_text().replace("breast_2cls", "lung"))
    monkeypatch.setattr(prepare_module, "check_label", lambda case: pytest.fail("read"))
    with pytest.raises(InputError, match="task lung: expected segmentation, as the challenge's task of this name is"):
        prepare(CONFIG, [data], [])
    with pytest.raises(pytest.fail.Exception):
        prepare(CONFIG.model_copy(update={"tasks": ["fetal_head"]}), [data], [])


def black(root: Path, number: int) -> None:
    """Blacken the mask of a fetal head."""
    path = next(path for path in (root / "Segmentation").rglob(f"*{number:05}*") if path.parent.name == "MASKS")
    cv2.imwrite(str(path), np.zeros_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def test_black_masks_are_counted_and_refused_if_there_are_no_others(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    black(data, 3)
    prepare(CONFIG, [data], [])
    assert "task fetal_head: 1 of 8 masks are all black" in capsys.readouterr().out
    for number in range(8):
        black(data, number)
    with pytest.raises(InputError, match="task fetal_head: expected masks of class ids above 0, found all masks black"):
        prepare(CONFIG, [data], [])


def test_a_mask_that_cannot_be_used_is_found_before_training(data: Path) -> None:
    path = next(path for path in (data / "Segmentation").rglob("*00003*") if path.parent.name == "MASKS")
    cv2.imwrite(str(path), np.full_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 255))
    with pytest.raises(InputError, match="expected a mask of class ids below 2, found one with 255"):
        prepare(CONFIG, [data], [])
    train, val = prepare(CONFIG.model_copy(update={"on_bad_case": "skip"}), [data], [])
    assert len(train) + len(val) == 15


def test_several_masks_of_an_image_are_merged_or_kept_if_the_configuration_says_so(data: Path) -> None:
    table = data / "csv_files" / "fetal_head.csv"
    head, *rows = table.read_text().splitlines()
    more = next(path for path in (data / "Segmentation").rglob("*00001*") if path.parent.name == "MASKS")
    masks = [row.replace(f"MASKS/{more.name}", "MASKS/more.png") for row in rows if more.name in row]
    shutil.copy(more, more.with_name("more.png"))
    table.write_text("\n".join([head, *rows, *masks]) + "\n")
    with pytest.raises(InputError, match=r"task fetal_head: 1 image has two masks .* merge them with merge_masks=true"):
        prepare(CONFIG, [data], [])
    counts = []
    for merge in (True, False):
        train, val = prepare(CONFIG.model_copy(update={"merge_masks": merge, "tasks": ["fetal_head"]}), [data], [])
        counts.append((len(train) + len(val), sum(len(case.row.more_masks) for case in (*train, *val))))
    assert counts == [(8, 1), (9, 0)]


def test_what_is_unusual_about_images_is_counted(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        path = next(path for path in (data / "Segmentation").rglob(f"*{number:05}*") if path.parent.name == "IMAGES")
        turn(path)
    for config in (CONFIG, CONFIG.model_copy(update={"val_share": 0})):
        prepare(config, [data], [])
        said = capsys.readouterr().out
        assert "task fetal_head: 2 images are turned by EXIF (fetal_head.csv:3, ...)" in said
        assert "warnings (2): EXIF orientation 3 was applied, as OpenCV does [fetal_head.csv:3 " in said


def turn(path: Path) -> None:
    """Give an image the EXIF orientation of one turned by 180 degrees."""
    exif = PIL.Image.Exif()
    exif[0x112] = 3
    with PIL.Image.open(path) as image:
        image.convert("RGB").save(path, "PNG" if path.suffix == ".png" else "JPEG", exif=exif)
