"""The reader accepts a good set and catches each violation of the output format."""

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

verify = runpy.run_path(str(Path(__file__).with_name("reader.py")))["verify"]

CLASSES, BOXES, POINTS = (f"{kind}_predictions.json" for kind in ("classification", "detection", "regression"))
MASK = "Segmentation/Three/a set/MASKS/ü, 1.png"
CSV = {
    "seg": ("seg", "segmentation", 3, "mask_path", f'"../{MASK}"'),
    "cls": ("cls", "classification", 3, "mask", "1"),
    "det": ("det", "detection", 1, "x_min", "3"),
    "reg": ("reg", "Regression", 2, "point_1_xy", '"[1, 2]"'),
}
GOOD = {
    CLASSES: {"task_id": "cls", "predicted_class": 1, "predicted_probs": [0.2, 0.5, 0.3]},
    BOXES: {"task_id": "det", "bbox_normalized": [0.1, 0.2, 0.5, 0.75], "bbox_pixels": [4, 4, 20, 15]},
    POINTS: {
        "task_id": "reg",
        "predicted_points_normalized": [0.25, 0.5, 1.0, 0.0],
        "predicted_points_pixels": [10.0, 10.0, 40.0, 0.0],
    },
}


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """An input of one row per type, all of one image 40 wide and 20 high, and a valid output."""
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "csv_files").mkdir(parents=True)
    (source / "images").mkdir()
    (source / "images" / "ä, 1.png").write_bytes(cv2.imencode(".png", np.zeros((20, 40, 3), np.uint8))[1].tobytes())
    for name, (task, kind, count, column, cell) in CSV.items():
        text = f'task_id,task_name,num_classes,image_path,{column}\n{task},{kind},{count},"../images/ä, 1.png",{cell}\n'
        (source / "csv_files" / f"{name}.csv").write_text(text, encoding="utf-8")
    write_mask(out, np.full((20, 40), 2, np.uint8))
    for name, entry in GOOD.items():
        write_entries(out, name, [entry | {"image_path": "../images/ä, 1.png"}])
    return source, out


def write_mask(out: Path, mask: np.ndarray) -> None:
    (out / MASK).parent.mkdir(parents=True, exist_ok=True)
    (out / MASK).write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def write_entries(out: Path, name: str, entries: Any) -> None:
    (out / name).write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")


def change(name: str, **values: Any) -> Callable[[Path], None]:
    def mutate(out: Path) -> None:
        entry = json.loads((out / name).read_text(encoding="utf-8"))[0]
        write_entries(out, name, [entry | values])

    return mutate


def repeat(name: str, times: int) -> Callable[[Path], None]:
    return lambda out: write_entries(out, name, json.loads((out / name).read_text(encoding="utf-8")) * times)


def mask(height: int, width: int, value: int, *channels: int, kind: type = np.uint8) -> Callable[[Path], None]:
    return lambda out: write_mask(out, np.full((height, width, *channels), value, kind))


MUTATIONS = {
    "no row": (change(CLASSES, image_path="../images/a, 1.png"), "answers no row"),
    "another task": (change(BOXES, task_id="reg"), "answers no row"),
    "unanswered": (repeat(POINTS, 0), "has no answer"),
    "twice": (repeat(CLASSES, 2), "answered twice"),
    "no file": (lambda out: (out / BOXES).unlink(), "is missing, with 1 rows"),
    "no list": (lambda out: write_entries(out, BOXES, {}), "not a list of objects"),
    "cut": (lambda out: (out / BOXES).write_text("[{"), "not strict JSON"),
    "NaN": (change(POINTS, predicted_points_pixels=[float("nan")] * 4), "holds NaN"),
    "Infinity": (change(BOXES, bbox_pixels=[float("inf")] * 4), "holds Infinity"),
    "overflow": (lambda out: (out / CLASSES).write_text(OVERFLOW, encoding="utf-8"), "not 3 numbers"),
    "another field": (change(BOXES, score=1), "has the fields"),
    "probabilities' number": (change(CLASSES, predicted_probs=[0.5, 0.5]), "not 3 numbers"),
    "probabilities' sum": (change(CLASSES, predicted_probs=[0.2, 0.5, 0.2]), "sum to"),
    "probability's range": (change(CLASSES, predicted_probs=[-0.2, 0.9, 0.3]), "outside 0..1"),
    "class's range": (change(CLASSES, predicted_class=3), "not in 0..2"),
    "class's type": (change(CLASSES, predicted_class=1.0), "not in 0..2"),
    "class's place": (change(CLASSES, predicted_class=0), "not the most probable"),
    "box's order": (change(BOXES, bbox_normalized=[0.5, 0.2, 0.1, 0.75], bbox_pixels=[20, 4, 4, 15]), "not ordered"),
    "box's range": (change(BOXES, bbox_normalized=[0.1, 0.2, 1.1, 0.75], bbox_pixels=[4, 4, 44, 15]), "outside 0..1"),
    "box's numbers": (change(BOXES, bbox_pixels=[4, 4, 20]), "not 4 numbers"),
    "box's frame": (change(BOXES, bbox_pixels=[2, 8, 10, 30]), "not the normalised values"),
    "points' numbers": (change(POINTS, predicted_points_normalized=[0.25, 0.5]), "not 4 numbers"),
    "points' frame": (change(POINTS, predicted_points_pixels=[10, 10, 38, 0]), "not the normalised values"),
    "no mask": (lambda out: (out / MASK).unlink(), "is missing"),
    "mask elsewhere": (lambda out: (out / MASK).rename(out / "Segmentation" / "1.png"), "does not belong"),
    "mask turned": (mask(40, 20, 1), "has the size"),
    "mask's value": (mask(20, 40, 3), "holds the value 3"),
    "mask in colour": (mask(20, 40, 1, 3), "not 8-bit single-channel"),
    "mask of 16 bits": (mask(20, 40, 1, kind=np.uint16), "not 8-bit single-channel"),
    "mask no image": (lambda out: (out / MASK).write_text("<html>"), "is no image"),
    "another file": (lambda out: (out / "Segmentation" / "log.txt").touch(), "does not belong"),
    "hidden file": (lambda out: (out / ".state").touch(), "does not belong"),
    "empty folder": (lambda out: (out / "Classification").mkdir(), "is empty"),
    "linked folder": (lambda out: (out / "linked").symlink_to("Segmentation"), "does not belong"),
}
OVERFLOW = (
    '[{"image_path": "../images/ä, 1.png", "task_id": "cls", "predicted_class": 0, "predicted_probs": [1e999, 0, 0]}]'
)


def test_a_valid_set_has_no_violation(roots: tuple[Path, Path]) -> None:
    assert verify(*roots) == []


@pytest.mark.parametrize(("mutate", "violation"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_each_violation_is_caught(roots: tuple[Path, Path], mutate: Callable[[Path], None], violation: str) -> None:
    mutate(roots[1])
    assert any(violation in found for found in verify(*roots)), verify(*roots)


def test_a_mask_path_that_leads_outside_asks_for_no_mask(roots: tuple[Path, Path]) -> None:
    source, out = roots
    table = source / "csv_files" / "seg.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("../Segmentation", "../../Segmentation"), "utf-8")
    assert verify(source, out) == [f"{MASK} does not belong into the output"]


def test_a_type_without_rows_needs_no_file(roots: tuple[Path, Path]) -> None:
    source, out = roots
    (source / "csv_files" / "det.csv").unlink()
    (out / BOXES).unlink()
    assert verify(source, out) == []


def test_places_count_in_the_frame_that_orientation_gives(roots: tuple[Path, Path]) -> None:
    from PIL import Image

    turned = Image.new("RGB", (20, 40))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(roots[0] / "images" / "ä, 1.png", exif=exif)
    assert verify(*roots) == []


def test_an_unreadable_image_asks_for_no_size(roots: tuple[Path, Path]) -> None:
    source, out = roots
    (source / "images" / "ä, 1.png").write_bytes(b"")
    shutil.rmtree(out / "Segmentation")
    mask(7, 9, 1)(out)
    assert verify(source, out) == []
