"""The first pass of labelling: what is exported, what is left out, and nothing that is half written."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from support.files import png_header
from support.first_pass import exported
from support.formats import left_out

from aurora.errors import InputError, UsageError
from aurora.images import encode_mask
from inference.cli import main
from inference.export import coco
from inference.export.formats import FORMATS
from inference.export.labelled import file_stem

LESION = "Segmentation/Two/breast_lesion"
MASKS = [f"{LESION}/MASKS/breast_lesion_test_0000{number}.png" for number in range(2)]
BOX_FILE, POINT_FILE, CLASS_FILE = (
    f"{kind}_predictions.json" for kind in ("detection", "regression", "classification")
)


@pytest.fixture
def data(sample_cases: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the sample cases and their predictions, which may be damaged."""
    root, predictions = tmp_path / "data", tmp_path / "predictions"
    shutil.copytree(sample_cases, root)
    shutil.copytree(sample_cases.parent / "golden", predictions)
    return root, predictions


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the first entry of a JSON file of predictions."""
    entries = json.loads(path.read_text())
    change(entries[0])
    path.write_text(json.dumps(entries))


def only(root: Path, *tasks: str) -> None:
    """Leave only the rows of some tasks."""
    for path in (root / "csv_files").iterdir():
        if path.stem not in tasks:
            path.unlink()


def test_the_command_says_what_it_wrote(data: tuple[Path, Path], tmp_path: Path) -> None:
    root, predictions = data
    only(root, "breast_lesion", "IUGC")
    out = tmp_path / "new" / "out"
    words = ["--input", root, "--predictions", predictions, "--format", "nnunet", "--out", out]
    result = CliRunner().invoke(main, ["export-predictions", *map(str, words)], catch_exceptions=False)
    assert result.output.splitlines() == [
        f"{out}/Dataset001_breast_lesion: task breast_lesion, segmentation of background, lesion: 2 images",
        "left out (2): the format nnunet holds no task of the type Regression "
        "[IUGC.csv:2 ../Regression/Three/IUGC/IUGC_test_00000.jpg, "
        "IUGC.csv:3 ../Regression/Three/IUGC/IUGC_test_00001.jpg]",
    ]
    (folder,) = out.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "imagesTr", "labelsTr"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_the_command_knows_every_format() -> None:
    (option,) = (option for option in main.commands["export-predictions"].params if option.name == "format_name")
    assert tuple(option.type.choices) == tuple(FORMATS)


@pytest.mark.parametrize("format_name", FORMATS)
def test_all_tasks_that_a_format_holds_are_written_with_relative_paths(
    sample_cases: Path, tmp_path: Path, format_name: str
) -> None:
    golden = sample_cases.parent / "golden"
    lines = exported(sample_cases, golden, tmp_path / "out", format_name)
    folders = sorted((tmp_path / "out").iterdir())
    assert len(folders) == (12 if format_name == "nnunet" else 27)
    written = sum(int(line.rpartition(": ")[2].removesuffix(" images")) for line in lines if "left out" not in line)
    assert written + sum(left_out(lines).values()) == 55
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix in (".json", ".xml", ".yaml", ".txt"):
            assert str(tmp_path) not in path.read_text()
            assert str(sample_cases) not in path.read_text()


@pytest.mark.parametrize("copy", [True, False])
def test_images_are_hard_links_or_copies(data: tuple[Path, Path], tmp_path: Path, copy: bool) -> None:
    exported(*data, tmp_path / "out", "coco", copy=copy)
    name = "Segmentation_Two_breast_lesion_IMAGES_breast_lesion_test_00000.png"
    source = data[0] / LESION / "IMAGES" / "breast_lesion_test_00000.png"
    assert os.path.samefile(source, tmp_path / "out" / "breast_lesion" / "images" / name) is not copy


def test_names_are_those_of_the_weights_or_numbers(data: tuple[Path, Path], tmp_path: Path, weights: Path) -> None:
    for path in (data[0] / "csv_files").glob("*_lesion.csv"):
        path.write_text(path.read_text().replace("breast_lesion,segmentation", "mine,segmentation"))
    lines = exported(*data, tmp_path / "out", "yolo", weights=weights)
    assert f"{tmp_path}/out/mine: task mine, segmentation of background, class 1: 2 images" in lines
    names = {name: yaml.safe_load((tmp_path / "out" / name / "data.yaml").read_text())["names"]
             for name in ("mine", "cardiac_multi", "thyroid_nodule_det")}  # fmt: skip
    assert names == {
        "mine": {0: "class 1"},
        "cardiac_multi": {0: "left ventricle", 1: "wall of left ventricle", 2: "left atrium"},
        "thyroid_nodule_det": {0: "nodule"},
    }
    classes = sorted(path.name for path in (tmp_path / "out" / "breast_3cls" / "train").iterdir())
    assert set(classes) <= {"0_normal", "1_benign", "2_malignant"}


def resized_mask(root: Path, predictions: Path) -> None:
    (predictions / MASKS[0]).write_bytes(encode_mask(np.ones((5, 7), np.uint8), "x.png"))


def higher_class(root: Path, predictions: Path) -> None:
    for path in (root / "csv_files").glob("breast_lesion.csv"):  # the row says no number, so the mask alone is valid
        path.write_text(path.read_text().replace("segmentation,2,", "segmentation,,"))
    mask = cv2.imread(str(predictions / MASKS[0]), cv2.IMREAD_UNCHANGED)
    (predictions / MASKS[0]).write_bytes(encode_mask(np.full_like(mask, 3), "x.png"))


def unreadable(root: Path, predictions: Path) -> None:
    path = root / LESION / "IMAGES" / "breast_lesion_test_00000.png"
    path.write_bytes(png_header(30, 20))
    (predictions / MASKS[0]).write_bytes(encode_mask(np.zeros((20, 30), np.uint8), "x.png"))


def fallback_box(entry: dict[str, Any]) -> None:
    size = (
        np.array(entry["bbox_pixels"])[2] / entry["bbox_normalized"][2],
        entry["bbox_pixels"][3] / entry["bbox_normalized"][3],
    )
    pixels = [side * share - 0.5 for share in (0.25, 0.75) for side in np.round(size)]
    entry["bbox_pixels"] = pixels
    entry["bbox_normalized"] = (np.reshape(pixels, (2, 2)) / np.round(size)).ravel().tolist()


@pytest.mark.parametrize(
    ("task", "damage", "reason"),
    [
        ("breast_lesion", lambda root, out: (out / MASKS[0]).unlink(), "the row has no prediction"),
        ("breast_lesion", resized_mask, "the mask is of another size than the image"),
        ("breast_lesion", higher_class, "the mask has a class that the task doesn't have"),
        ("breast_lesion", unreadable, "the image can't be used: "),
        ("breast_lesion", lambda root, out: (out / MASKS[0]).write_bytes(b"x"), "the mask can't be used: expected"),
        ("uterine_fibroid_det", lambda root, out: edit(out / BOX_FILE, lambda e: e.pop("bbox_pixels")),
         "the prediction can't be used: bbox_pixels: Field required"),
        ("uterine_fibroid_det", lambda root, out: edit(out / BOX_FILE, fallback_box), "the row got a fallback"),
        ("uterine_fibroid_det", lambda root, out: edit(out / BOX_FILE, lambda e: e.update(image_path="../x.png")),
         "the row has no prediction"),
        ("uterine_fibroid_det", lambda root, out: edit(out / BOX_FILE, lambda e: e.update(
            bbox_pixels=[2 * value for value in e["bbox_pixels"]])), "the image is of another size than when it was"),
        ("IUGC", lambda root, out: edit(out / POINT_FILE, lambda e: e.update(
            predicted_points_pixels=[1.0] * 6)), "the image is of another size than when it was predicted"),
        ("organ_cls", lambda root, out: edit(out / CLASS_FILE, lambda e: e.update(predicted_probs=[1 / 6] * 6)),
         "the row got a fallback"),
    ],
)  # fmt: skip
def test_a_row_without_a_usable_prediction_is_left_out_and_counted(
    data: tuple[Path, Path], tmp_path: Path, task: str, damage: Callable[[Path, Path], object], reason: str
) -> None:
    root, predictions = data
    only(root, task)
    for name in (BOX_FILE, POINT_FILE, CLASS_FILE):
        entries = [entry for entry in json.loads((predictions / name).read_text()) if entry["task_id"] == task]
        (predictions / name).write_text(json.dumps(entries))
    damage(root, predictions)
    (line,) = (line for line in exported(root, predictions, tmp_path / "out", "cvat") if line.startswith("left out"))
    assert line.startswith(f"left out (1): {reason}")
    assert (tmp_path / "out" / task / "annotations.xml").read_text().count("<image ") == 1


def test_an_empty_mask_is_kept_and_noted(data: tuple[Path, Path], tmp_path: Path) -> None:
    root, predictions = data
    only(root, "breast_lesion")
    path = predictions / MASKS[0]
    path.write_bytes(encode_mask(np.zeros_like(cv2.imread(str(path), 0)), "x.png"))
    lines = exported(root, predictions, tmp_path / "out", "yolo")
    assert [line.partition(" [")[0] for line in lines[1:]] == [
        "note (1): the mask is empty: the model found nothing, or gave a fallback"
    ]
    assert sorted(path.stat().st_size > 0 for path in (tmp_path / "out").rglob("*.txt")) == [False, True]


def test_an_image_with_two_rows_of_a_task_is_written_once(data: tuple[Path, Path], tmp_path: Path) -> None:
    root, predictions = data
    only(root, "breast_lesion")
    table = root / "csv_files" / "breast_lesion.csv"
    head, first, second = table.read_text().splitlines()
    table.write_text(
        "\n".join([head, first, second, second.replace("00001.png", "00000.png").replace("MASKS", "MORE")])
    )
    shutil.copytree(predictions / LESION / "MASKS", predictions / LESION / "MORE")
    reason = "another row of the task has the same image"
    assert left_out(exported(root, predictions, tmp_path / "out", "coco")) == {reason: 1}


@pytest.mark.parametrize("format_name", ["coco", "nnunet"])
def test_images_that_the_tools_do_not_read_become_png(
    data: tuple[Path, Path], tmp_path: Path, format_name: str
) -> None:
    root, predictions = data
    only(root, "breast_lesion")
    path = root / LESION / "IMAGES" / "breast_lesion_test_00000.png"
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    path.unlink()
    colours = np.dstack([grey, grey // 2, grey])
    cv2.imwrite(str(path.with_suffix(".tif")), colours)
    table = root / "csv_files" / "breast_lesion.csv"
    table.write_text(
        table.read_text().replace("IMAGES/breast_lesion_test_00000.png", "IMAGES/breast_lesion_test_00000.tif")
    )
    exported(root, predictions, tmp_path / "out", format_name)
    files = {file.name.partition("_test_")[2]: cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
             for file in (tmp_path / "out").rglob("*images*/*")}  # fmt: skip
    assert np.array_equal(files.get("00000.png", files.get("00000_0000.png")), colours)
    if format_name == "nnunet":  # which wants equally many channels in all images
        assert files["00001_0000.png"].shape[2:] == (3,)
        settings = json.loads(next((tmp_path / "out").rglob("dataset.json")).read_text())
        assert settings["channel_names"] == {"0": "R", "1": "G", "2": "B"}


def broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(coco, "json_array", fail)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("no"), OSError(28, "No space left on device")])
def test_nothing_is_left_of_an_export_that_fails(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    broken(monkeypatch, error)
    before = sorted(tmp_path.iterdir())
    with pytest.raises((KeyboardInterrupt, Exception)):
        exported(*data, tmp_path / "out", "coco")
    assert sorted(tmp_path.iterdir()) == before


def test_folders_that_cannot_be_used_are_refused(data: tuple[Path, Path], tmp_path: Path) -> None:
    root, predictions = data
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        exported(root, predictions, predictions, "coco")
    with pytest.raises(UsageError, match="expected an output folder that isn't the input"):
        exported(root, predictions, root, "coco")
    with pytest.raises(InputError, match="expected the output folder of 'inference run', found none at"):
        exported(root, tmp_path / "nowhere", tmp_path / "out", "coco")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"found none that can be exported: left out \(55\): the row has no prediction"
    ):
        exported(root, tmp_path / "empty", tmp_path / "out", "coco")
    (predictions / ".aurora-run.part").touch()
    with pytest.raises(InputError, match="expected the output of a finished run, found one that stopped, or a shard"):
        exported(root, predictions, tmp_path / "out", "coco")
    assert not list(tmp_path.glob("out*"))


def test_a_format_without_its_library_says_so(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="--format coco needs pycocotools, which isn't installed"):
        exported(*data, tmp_path / "out", "coco")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("images/a.png", "a"),
        ("Two/IMAGES/a b,1.png", "Two_IMAGES_a_b_1"),
        ("images/.hidden.png", "hidden"),
        ("x/heart.v2.nii.gz", "x_heart.v2"),
        ("Rückenmark/Ω.png", "Rückenmark_Ω"),
        ("images/....png", "image"),
        (f"images/{'ü' * 120}.png", "ü" * 100),
    ],
)
def test_images_are_named_after_their_paths(path: str, expected: str) -> None:
    assert file_stem(Path(path)) == expected
