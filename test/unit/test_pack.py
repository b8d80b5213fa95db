"""A whole set of answers becomes the zip of an upload; any other is refused with what is wrong."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.files import png_header

from aurora.errors import InputError, OutputError, UsageError
from inference.pack import pack
from inference.plan import RunSettings
from inference.run import run

CLASSES, BOXES, POINTS = (f"{kind}_predictions.json" for kind in ("classification", "detection", "regression"))


@pytest.fixture(scope="module")
def answered(sample_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("answered")
    assert run(RunSettings(input=sample_cases, output=out, engine="onnx", device="cpu")) == 0
    return out


@pytest.fixture
def answers(answered: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(answered, tmp_path / "answers"))


def edited(name: str, change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Path], None]:
    def damage(answers: Path) -> None:
        entries = json.loads((answers / name).read_text())
        change(entries)
        (answers / name).write_text(json.dumps(entries))

    return damage


def halve_probabilities(entries: list[dict[str, Any]]) -> None:
    entries[0]["predicted_probs"] = [value / 2 for value in entries[0]["predicted_probs"]]


def a_mask(answers: Path) -> Path:
    return min(answers.rglob("*.png"))


def test_the_zip_holds_what_is_inside_the_folder_and_nothing_else(
    sample_cases: Path, answers: Path, tmp_path: Path
) -> None:
    whole = sorted(str(path.relative_to(answers)) for path in answers.rglob("*") if path.is_file())
    (answers / "notes.txt").write_text("mine")
    assert pack(sample_cases, answers, tmp_path / "a.zip") == len(whole)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == whole
        assert archive.testzip() is None
        assert all(archive.read(name) == (answers / name).read_bytes() for name in whole)
    pack(sample_cases, answers, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda answers: (answers / BOXES).unlink(), "detection_predictions.json is missing, with [0-9]+ rows"),
        (lambda answers: (answers / POINTS).write_text("{}"), "Expected one JSON list in .*regression"),
        (lambda answers: (answers / POINTS).write_text("[{"), "can't be read"),
        (lambda answers: a_mask(answers).unlink(), r"the mask .*\.png is missing"),
        (lambda answers: a_mask(answers).write_bytes(b"x"), "expected an image"),
        (lambda answers: cv2.imwrite(str(a_mask(answers)), np.zeros((3, 5), np.uint8)), "pixels, found 5x3"),
        (lambda answers: cv2.imwrite(str(a_mask(answers)), cv2.imread(str(a_mask(answers)), 0) * 0 + 9), "found 9"),
        (lambda answers: (answers / ".aurora-run.part").write_text(""), "continue with 'inference run --resume'"),
        (edited(CLASSES, lambda entries: entries.pop()), "has no prediction"),
        (edited(CLASSES, lambda entries: entries.append(entries[0])), "is predicted again"),
        (edited(CLASSES, lambda entries: entries.append(entries[0] | {"task_id": "x"})), "belong to no row"),
        (edited(CLASSES, lambda entries: entries[0].pop("predicted_class")), "predicted_class: Field required"),
        (edited(CLASSES, lambda entries: entries[0].update(predicted_class=99)), "expected a class below"),
        (edited(CLASSES, lambda entries: entries[0]["predicted_probs"].append(0.0)), "probabilities, found"),
        (edited(CLASSES, halve_probabilities), r"sum to 1, found 0\.500"),
        (edited(BOXES, lambda entries: entries[0]["bbox_pixels"].reverse()), "x1 <= x2"),
        (edited(BOXES, lambda entries: entries[0]["bbox_normalized"].pop()), "bbox_normalized: List should have"),
        (edited(BOXES, lambda entries: entries[0].update(bbox_normalized=[0, 0, 2, 2])), "less than or equal to 1"),
        (edited(POINTS, lambda entries: entries[0]["predicted_points_pixels"].pop()), "numbers for the points"),
        (edited(CLASSES, lambda entries: entries[0].update(predicted_class="0")), "predicted_class: .*valid integer"),
        (edited(BOXES, lambda entries: entries[0].update(bbox_pixels=["0", 0, 1, 1])), "bbox_pixels.0: .*valid number"),
    ],
)  # fmt: skip
def test_a_damaged_set_is_rejected(
    sample_cases: Path, answers: Path, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(answers)
    with pytest.raises(InputError, match=said):
        pack(sample_cases, answers, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_many_problems_are_counted_and_the_first_named(sample_cases: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"found \d+ problems \(classification_predictions\.json is missing") as caught:
        pack(sample_cases, tmp_path / "nothing", tmp_path / "a.zip")
    assert len(str(caught.value)) < 5000


def test_a_zip_that_cannot_be_written_is_said(sample_cases: Path, answered: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").mkdir()
    with pytest.raises(OutputError, match="name another place with --out"):
        pack(sample_cases, answered, tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["file/a.zip", f"{'x' * 300}.zip"])
def test_a_place_where_no_zip_can_be_is_said(sample_cases: Path, answered: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="name another place with --out"):
        pack(sample_cases, answered, tmp_path / name)


def test_the_fallback_of_an_image_too_large_for_a_mask_is_packed(tmp_path: Path) -> None:
    (tmp_path / "in" / "csv_files").mkdir(parents=True)
    (tmp_path / "in" / "csv_files" / "lung.csv").write_text(
        "task_id,task_name,num_classes,image_path,mask_path\nlung,segmentation,2,../i.png,../m.png\n"
    )
    (tmp_path / "in" / "i.png").write_bytes(png_header(40000, 40000))
    settings = RunSettings(input=tmp_path / "in", output=tmp_path / "out", engine="onnx", device="cpu")
    assert run(settings) == 0
    pack(tmp_path / "in", tmp_path / "out", tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert "m.png" in archive.namelist()


def test_answers_are_not_written_over_the_labels(tmp_path: Path) -> None:
    (tmp_path / "in" / "csv_files").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    settings = RunSettings(input=tmp_path / "in", output=tmp_path / "link", engine="onnx", device="cpu")
    with pytest.raises(UsageError, match=r"expected an output folder that isn't the input, found .*link for both"):
        run(settings)
    assert list((tmp_path / "in").iterdir()) == [tmp_path / "in" / "csv_files"]
