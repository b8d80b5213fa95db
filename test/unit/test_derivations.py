"""A box or landmarks can come from another task's mask: proposed by labels, stored, and used by every run."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from aurora.errors import WeightsError
from aurora.kinds import KINDS, check_refinements
from aurora.kinds.detection import DetectionPrediction
from aurora.kinds.mask_geometry import bounding_box, ellipse_axes, largest_region
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.rows import Row
from aurora.tasks import OFFICIAL, Derivation, Task, TaskType, from_records, registry, to_records
from inference.cli import main as inference
from training.data.cases import load_cases
from training.phantom import generate
from training.tune.derivations import proposed_derivations
from training.tune.tune import tune

BOX = Task("head_box", TaskType.DETECTION, 1, derivation=Derivation("bounding-box", "fetal_head"))
ENDS = Task("head_ends", TaskType.REGRESSION, 4, True)


@pytest.mark.parametrize("angle", [0, 20, 75, 110, 179])
def test_an_ellipse_gives_the_ends_of_its_axes_in_order(angle: float) -> None:
    region = np.zeros((240, 320), np.uint8)
    cv2.ellipse(region, (150, 110), (90, 60), angle, 0, 360, 1, -1)
    turn = np.deg2rad(angle)
    major, minor = 90 * np.array([np.cos(turn), np.sin(turn)]), 60 * np.array([-np.sin(turn), np.cos(turn)])
    centre = np.array([150, 110])
    left, right = sorted((centre - major, centre + major), key=lambda point: point[0])
    upper, lower = sorted((centre - minor, centre + minor), key=lambda point: point[1])
    np.testing.assert_allclose(ellipse_axes(region), [left, right, upper, lower], atol=1.0)


def test_one_pixel_has_axes_of_no_length() -> None:
    region = np.zeros((5, 5), np.uint8)
    region[2, 3] = 1
    np.testing.assert_allclose(ellipse_axes(region), [[3, 2]] * 4)
    assert bounding_box(region).tolist() == [3, 2, 3, 2]


def test_the_largest_region_joins_the_classes() -> None:
    mask = np.zeros((6, 9), np.uint8)
    mask[0:2, 0:2], mask[2:4, 2:4], mask[0, 8] = 1, 2, 3
    assert bounding_box(largest_region(mask)).tolist() == [0, 0, 3, 3]  # type: ignore[arg-type]
    assert largest_region(np.zeros((6, 9), np.uint8)) is None


def test_a_box_ends_after_its_last_pixel() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 30:50] = 1
    row = Row("box", TaskType.DETECTION, 1, "a.png", None, "a.csv:2", {})
    box = KINDS[TaskType.DETECTION].DERIVATIONS["bounding-box"](row, 1, mask)
    assert isinstance(box, DetectionPrediction)
    assert box.bbox_pixels == pytest.approx([30, 10, 50, 20])


def test_another_number_of_landmarks_has_no_ellipse() -> None:
    row = Row("ends", TaskType.REGRESSION, 3, "a.png", None, "a.csv:2", {})
    assert KINDS[TaskType.REGRESSION].DERIVATIONS["ellipse-axes"](row, 3, np.ones((8, 8), np.uint8)) is None


def test_a_registry_keeps_a_derivation_and_refuses_one_without_a_mask() -> None:
    tasks = registry([OFFICIAL["fetal_head"], BOX])
    assert from_records(json.loads(json.dumps(to_records(tasks)))) == tasks
    with pytest.raises(ValueError, match="derivation of 'head_box': expected a segmentation task, found 'fetal_head'"):
        registry([BOX])
    unknown = replace(BOX, derivation=Derivation("circle", "fetal_head"))
    with pytest.raises(WeightsError, match="derive head_box by 'circle', expected one of bounding-box"):
        check_refinements(registry([OFFICIAL["fetal_head"], unknown]))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads with their masks, and of the same images the boxes, the axes' ends and a box that says nothing."""
    folder = tmp_path_factory.mktemp("data")
    generate(folder, cases=12, seed=1, tasks=["fetal_head"], size_scale=0.3)
    lists: dict[str, list[str]] = {"head_box": [], "anywhere": [], "head_ends": []}
    for case in load_cases([folder]):
        mask = cv2.imread(str(folder / "csv_files" / str(case.row.mask_path)), cv2.IMREAD_UNCHANGED)
        region = largest_region(mask)
        assert region is not None
        left, top, right, bottom = bounding_box(region)
        start = f"detection,1,{case.row.image_path}"
        lists["head_box"].append(f"head_box,{start},{left},{top},{right + 1},{bottom + 1}")
        lists["anywhere"].append(f"anywhere,{start},1,1,9,9")
        ends = ",".join(f'"{point}"' for point in ellipse_axes(region).tolist())
        lists["head_ends"].append(f"head_ends,Regression,4,{case.row.image_path},{ends}")
    for name, lines in lists.items():
        columns = (
            [f"point_{k}_xy" for k in range(1, 5)] if name == "head_ends" else ["x_min", "y_min", "x_max", "y_max"]
        )
        header = ",".join(["task_id", "task_name", "num_classes", "image_path", *columns])
        (folder / "csv_files" / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


def test_labels_that_follow_from_masks_propose_a_derivation(data: Path) -> None:
    cases = load_cases([data])
    tasks = {case.task.id: case.task for case in cases}
    assert proposed_derivations(cases, tasks) == {
        "head_box": Derivation("bounding-box", "fetal_head"),
        "head_ends": Derivation("ellipse-axes", "fetal_head"),
    }


@pytest.fixture
def model() -> Aurora:
    torch.manual_seed(0)
    others = [replace(BOX, derivation=None), replace(BOX, id="anywhere", derivation=None), ENDS]
    model = Aurora(PRESETS["micro"], registry([OFFICIAL["fetal_head"], *others]))
    last = model.heads[TaskType.SEGMENTATION].get_submodule("last")
    with torch.no_grad():  # a mask that depends on the image but is never empty
        last.get_parameter("bias").copy_(torch.tensor([0.0, 0.05]))
    return model


def test_tune_keeps_a_derivation_only_if_it_scores_better(data: Path, model: Aurora, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "model.safetensors", model, {})
    tasks = tune(tmp_path / "model.safetensors", [data], [data], tmp_path / "tuned.safetensors")
    # Untrained, the network has no idea of the boxes; a mask of nearly everything is a box of nearly everything.
    assert tasks["anywhere"].derivation is None
    assert tasks["head_box"].derivation in (None, Derivation("bounding-box", "fetal_head"))
    assert checkpoint.read_spec(tmp_path / "tuned.safetensors").tasks == tasks


def predicted(data: Path, model: Aurora, folder: Path, *flags: str) -> dict[tuple[str, str], dict]:
    """Run the weights; return the entries of boxes and points by task and image."""
    folder.mkdir()
    checkpoint.save(folder / "model.safetensors", model, {})
    places = ["--input", data, "--output", folder / "out", "--weights", folder / "model.safetensors"]
    command = ["run", *map(str, places), "--engine", "torch", *flags]
    assert CliRunner().invoke(inference, command, catch_exceptions=False).exit_code == 0
    files = [folder / "out" / f"{name}_predictions.json" for name in ("detection", "regression")]
    entries = [entry for file in files for entry in json.loads(file.read_text(encoding="utf-8"))]
    return {(entry["task_id"], entry["image_path"]): entry for entry in entries}


def test_a_run_answers_by_the_mask_that_it_writes(data: Path, model: Aurora, tmp_path: Path) -> None:
    plain = predicted(data, model, tmp_path / "plain")
    ends = replace(ENDS, derivation=Derivation("ellipse-axes", "fetal_head"))
    model.tasks = {**model.tasks, "head_box": BOX, "head_ends": ends}
    derived = predicted(data, model, tmp_path / "derived")
    for case in load_cases([data]):
        if case.task.type != TaskType.SEGMENTATION:
            continue
        name = Path(str(case.row.mask_path)).name
        (path,) = (tmp_path / "derived" / "out").rglob(name)
        region = largest_region(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        assert region is not None
        box = bounding_box(region) + np.array([0, 0, 1, 1])
        image = case.row.image_path
        assert derived["head_box", image]["bbox_pixels"] == pytest.approx(box.tolist())
        points = ellipse_axes(region).clip(0, region.shape[::-1]).ravel()
        assert derived["head_ends", image]["predicted_points_pixels"] == pytest.approx(points.tolist())
        assert derived["anywhere", image] == plain["anywhere", image]
    assert predicted(data, model, tmp_path / "fast", "--fast") == plain


def test_an_empty_mask_leaves_the_answer_to_the_tasks_own_channels(data: Path, model: Aurora, tmp_path: Path) -> None:
    with torch.no_grad():
        model.heads[TaskType.SEGMENTATION].get_submodule("last").get_parameter("bias").copy_(torch.tensor([9.0, 0.0]))
    plain = predicted(data, model, tmp_path / "plain")
    model.tasks = {**model.tasks, "head_box": BOX}
    assert predicted(data, model, tmp_path / "derived") == plain
