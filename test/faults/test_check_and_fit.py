"""`check` and `fit` agree: what one refuses, with which exit code, the other does too."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from faults.test_label_faults import CLASSIFICATION, GOOD, HEIGHT, MASKS, ROWS, SEGMENTATION, WIDTH
from support.files import JPEG, PNG

from aurora.errors import AuroraError
from inference.check.check import check
from inference.cli import main
from training.config import FitConfig
from training.data.prepare import prepare

CONFIG = FitConfig(steps=1)
SITUATIONS = sorted((Path(__file__).resolve().parents[3] / "shared" / "cases").glob("*/csv_files"))
Cells = Mapping[str, str]


def write(root: Path, rows: Sequence[Cells]) -> None:
    """Write an input root with a good image and mask for rows that name no other."""
    (root / "csv_files").mkdir(exist_ok=True)
    cv2.imwrite(str(root / "image.png"), np.full((HEIGHT, WIDTH), 90, np.uint8))
    if not (root / "mask.png").exists():
        cv2.imwrite(str(root / "mask.png"), np.eye(HEIGHT, WIDTH, dtype=np.uint8))
    (root / "empty.png").touch()
    filled = [{"image_path": "../image.png", "num_classes": "2"} | row for row in rows]
    with (root / "csv_files" / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in filled for key in row)))
        writer.writeheader()
        writer.writerows(filled)


def checked(root: Path, *flags: str) -> tuple[int, str]:
    """Return the exit code and the last line of `check`."""
    result = CliRunner().invoke(main, ["check", "--input", str(root), *flags])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output.splitlines()[-1]


def fitted(root: Path, **settings: object) -> int:
    """Return the exit code of `fit`, up to where it has read all data once."""
    try:
        prepare(CONFIG.model_copy(update=settings), [root], [])
    except AuroraError as error:
        return error.exit_code
    return 0


def agree(root: Path, expected: int) -> None:
    code, last = checked(root)
    assert (code, fitted(root)) == (expected, expected)
    assert ("fit refuses the data" in last or "not usable" in last) == (code != 0)


# A good row beside a bad one, because a folder without any label is there to be predicted.
LABELLED = CLASSIFICATION | {"mask": "0", "task_id": "mine"}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_makes_no_sense(tmp_path: Path, name: str) -> None:
    write(tmp_path, [ROWS[name][0], LABELLED])
    agree(tmp_path, 3)


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_row_that_makes_sense(tmp_path: Path, name: str) -> None:
    write(tmp_path, [GOOD[name], LABELLED])
    agree(tmp_path, 0)


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_that_makes_no_sense(tmp_path: Path, name: str) -> None:
    content = MASKS[name][0]
    data = content if isinstance(content, bytes) else cv2.imencode(".png", content)[1].tobytes()
    (tmp_path / "mask.png").write_bytes(data)
    write(tmp_path, [SEGMENTATION])
    agree(tmp_path, 3)


MANY: dict[str, Sequence[Cells]] = {
    "no row states num_classes": [CLASSIFICATION | {"task_id": "mine", "num_classes": ""}],
    "rows that disagree on num_classes": [LABELLED, LABELLED | {"image_path": "../other.png", "num_classes": "3"}],
    "an official name of another type": [LABELLED | {"task_id": "lung"}],
    "two classes of one image": [LABELLED, LABELLED | {"mask": "1"}],
    "a mask under another spelling": [SEGMENTATION | {"mask_path": "..\\mask.png"}],
    "a mask by an absolute path of another machine": [SEGMENTATION | {"mask_path": "C:\\data\\mask.png"}],
    "an image under another spelling": [LABELLED | {"image_path": "..\\image.png"}],
    "rows without a label among others": [LABELLED, LABELLED | {"image_path": "../other.png", "mask": ""}],
}


@pytest.mark.parametrize("name", MANY)
def test_rows_that_make_no_sense_together(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.png").write_bytes(PNG)
    write(tmp_path, MANY[name])
    agree(tmp_path, 3)


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (WIDTH, HEIGHT)])
def test_two_masks_of_an_image(tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path, [SEGMENTATION, SEGMENTATION | {"mask_path": "../second.png"}])
    cv2.imwrite(str(tmp_path / "second.png"), np.ones(size, np.uint8))
    agree(tmp_path, 3)
    expected = 0 if size == (HEIGHT, WIDTH) else 3
    for flag, merge in (("--merge-masks", True), ("--no-merge-masks", False)):
        assert checked(tmp_path, flag)[0] == fitted(tmp_path, merge_masks=merge) == expected


def test_an_image_that_only_decoding_shows_to_be_damaged(tmp_path: Path) -> None:
    write(tmp_path, [LABELLED, LABELLED | {"image_path": "../damaged.png"}])
    (tmp_path / "damaged.png").write_bytes(PNG[:-30] + bytes(30))
    agree(tmp_path, 3)
    assert checked(tmp_path, "--no-pixels")[0] == 0


def test_damage_that_leaves_pixels_is_named_and_not_refused(tmp_path: Path) -> None:
    write(tmp_path, [LABELLED, LABELLED | {"image_path": "../damaged.jpg"}])
    (tmp_path / "damaged.jpg").write_bytes(JPEG[:-25] + JPEG[-2:])
    agree(tmp_path, 0)
    assert checked(tmp_path)[1] == "usable, with 2 problems named above"


def test_rows_without_any_label_are_there_to_be_predicted(tmp_path: Path) -> None:
    write(tmp_path, [CLASSIFICATION | {"mask": ""}, SEGMENTATION | {"mask_path": "../masks/1.png"}])
    assert checked(tmp_path) == (0, "usable: no problems")


@pytest.mark.skipif(not SITUATIONS, reason="the folder shared/cases beside the repository is absent")
@pytest.mark.parametrize("root", [folder.parent for folder in SITUATIONS], ids=lambda root: root.name)
def test_what_people_really_have(root: Path) -> None:
    if check(root).labelled:
        assert checked(root)[0] == fitted(root)
