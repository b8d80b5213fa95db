"""Phantoms: the same seed gives the same files, and every label lies on the structure that it names."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aurora.errors import OutputError, UsageError
from aurora.tasks import OFFICIAL, TaskType, of_type
from training.phantom import SCANNERS, generate
from training.phantom.anatomy.canvas import Canvas
from training.phantom.phantom import make_phantom
from training.phantom.scanner.geometry import Geometry
from training.phantom.tasks.detection import DETECTION as DETECTION_PAINTERS

SEGMENTATION = [task.id for task in of_type(OFFICIAL, TaskType.SEGMENTATION)]
DETECTION = [task.id for task in of_type(OFFICIAL, TaskType.DETECTION)]
REGRESSION = [task.id for task in of_type(OFFICIAL, TaskType.REGRESSION)]
CLASSIFICATION = [task.id for task in of_type(OFFICIAL, TaskType.CLASSIFICATION)]


def cases(task_id: str, count: int, scanner: str | None = None, **options: float) -> list[Any]:
    profile = None if scanner is None else SCANNERS[scanner]
    return [
        make_phantom(OFFICIAL[task_id], i, seed=5, split="train", scanner=profile, **{"size_scale": 0.6} | options)
        for i in range(count)
    ]


def records(out: Path, task_id: str) -> list[dict[str, str]]:
    with (out / "csv_files" / f"{task_id}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labelled")
    assert generate(out, cases=2, seed=1, size_scale=0.5) == 2 * len(OFFICIAL)
    return out


def test_every_task_has_its_table_and_readable_images(labelled: Path) -> None:
    assert {p.stem for p in (labelled / "csv_files").iterdir()} == set(OFFICIAL)
    for task in OFFICIAL.values():
        for row in records(labelled, task.id):
            assert (row["task_id"], row["task_name"], int(row["num_classes"])) == (task.id, task.type, task.num_classes)
            assert row["image_path"].startswith("../")
            image = cv2.imread(str(labelled / "csv_files" / row["image_path"]), cv2.IMREAD_UNCHANGED)
            assert image is not None
            assert image.dtype == np.uint8
            assert image.ndim == 2
            assert image.std() > 8


def test_folders_are_the_challenge_s(labelled: Path) -> None:
    for folder in (
        "Segmentation/Five/fetal_abdomen_multi/IMAGES", "Segmentation/Two/lung/MASKS",
        "Classification/Eight/fetal_head_pos_cls", "Detection/One/thyroid_nodule_det",
        "Regression/Three/IUGC", "Regression/Two/FUGC",
    ):  # fmt: skip
        assert any((labelled / folder).iterdir())


def test_labels_in_the_tables_are_those_of_the_cases(labelled: Path) -> None:
    options: Any = {"seed": 1, "split": "train", "size_scale": 0.5}
    case: Any
    row, case = records(labelled, "IUGC")[1], make_phantom(OFFICIAL["IUGC"], 1, **options)
    assert [json.loads(row[f"point_{k}_xy"]) for k in (1, 2, 3)] == case.points.tolist()
    row, case = records(labelled, "uterine_fibroid_det")[0], make_phantom(OFFICIAL["uterine_fibroid_det"], 0, **options)
    assert tuple(int(row[k]) for k in ("x_min", "y_min", "x_max", "y_max")) == case.box
    assert [row["mask"] for row in records(labelled, "organ_cls")] == ["0", "1"]
    row, case = records(labelled, "cardiac_multi")[1], make_phantom(OFFICIAL["cardiac_multi"], 1, **options)
    mask = cv2.imread(str(labelled / "csv_files" / row["mask_path"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, case.mask)


def test_a_case_depends_on_neither_count_nor_other_tasks(tmp_path: Path) -> None:
    generate(tmp_path / "a", cases=2, seed=1, tasks=["lung", "FUGC"], size_scale=0.4)
    generate(tmp_path / "b", cases=1, seed=1, tasks=["FUGC"], size_scale=0.4)
    many, few = contents(tmp_path / "a"), contents(tmp_path / "b")
    images = [name for name in few if not name.endswith(".csv")]
    assert images
    assert all(few[name] == many[name] for name in images)
    assert records(tmp_path / "a", "FUGC")[:1] == records(tmp_path / "b", "FUGC")


def test_the_same_seed_gives_the_same_files(labelled: Path, tmp_path: Path) -> None:
    generate(tmp_path, cases=2, seed=1, size_scale=0.5)
    assert contents(tmp_path) == contents(labelled)


def test_seeds_and_splits_differ() -> None:
    task = OFFICIAL["breast_lesion"]
    first, seed, split = (
        make_phantom(task, 0, seed=s, split=p, size_scale=0.4) for s, p in ((1, "train"), (2, "train"), (1, "val"))
    )
    assert not np.array_equal(first.image, seed.image)
    assert not np.array_equal(first.image, split.image)


def test_the_test_split_has_no_labels(tmp_path: Path) -> None:
    generate(tmp_path, cases=1, seed=1, split="test", size_scale=0.4)
    assert not list(tmp_path.rglob("MASKS"))
    for task_id in OFFICIAL:
        row = records(tmp_path, task_id)[0]
        labels = {
            k: v for k, v in row.items() if k in ("mask", "x_min", "y_min", "x_max", "y_max") or k[:6] == "point_"
        }
        assert set(labels.values()) <= {""}
        assert bool(row.get("mask_path")) == (task_id in SEGMENTATION)
        assert bool(labels) == (task_id not in SEGMENTATION)


def test_a_data_set_folder_may_have_any_name(tmp_path: Path) -> None:
    name = "Ultraschall Größe_2,245/part 1"
    generate(tmp_path, cases=1, seed=1, tasks=["lung"], dataset=name, size_scale=0.4)
    row = records(tmp_path, "lung")[0]
    assert row["image_path"].startswith(f"../Segmentation/Two/{name}/IMAGES/")
    assert (tmp_path / "csv_files" / row["mask_path"]).is_file()


@pytest.mark.parametrize("task_id", SEGMENTATION)
def test_masks_hold_every_class_and_no_other(task_id: str) -> None:
    drawn = [set(np.unique(case.mask)) for case in cases(task_id, 8)]
    assert all(case <= set(range(OFFICIAL[task_id].num_classes)) for case in drawn)
    assert sum(case == set(range(OFFICIAL[task_id].num_classes)) for case in drawn) >= 7


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize(
    ("task_id", "dark"), [("breast_lesion", True), ("carotid_artery", True), ("lung", False), ("thyroid_nodule", True)]
)
def test_the_label_lies_on_the_structure(task_id: str, dark: bool, scanner: str) -> None:
    for case in cases(task_id, 3, scanner):
        inside = cv2.erode(case.mask, np.ones((3, 3), np.uint8)) > 0
        near = (cv2.dilate(case.mask, np.ones((25, 25), np.uint8)) > 0) & (case.mask == 0) & (case.image > 0)
        assert (case.image[inside].mean() < case.image[near].mean() - 10) == dark


@pytest.mark.parametrize("task_id", DETECTION)
def test_a_box_lies_in_the_image(task_id: str) -> None:
    for case in cases(task_id, 8):
        x1, y1, x2, y2 = case.box
        assert 0 <= x1 < x2 <= case.image.shape[1]
        assert 0 <= y1 < y2 <= case.image.shape[0]
        assert 0.002 < (x2 - x1) * (y2 - y1) / case.image.size < 0.4


def test_a_box_is_given_by_its_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    def paint(canvas: Canvas, rng: np.random.Generator) -> None:
        canvas.mask[40:60, 50:90] = 1

    monkeypatch.setitem(DETECTION_PAINTERS, "thyroid_nodule_det", paint)
    assert cases("thyroid_nodule_det", 1, "linear_premium")[0].box == (50, 40, 90, 60)


def test_a_box_ends_where_the_structure_ends() -> None:
    for case in cases("spinal_cord_injury_loc", 6, "linear_premium", size_scale=1.0):
        x1, y1, x2, y2 = case.box
        row = cv2.GaussianBlur(case.image, (9, 9), 0)[(y1 + y2) // 2].astype(float)
        for edge, inward in ((x1, 1), (x2, -1)):
            assert row[edge + inward * 8] > row[edge - inward * 8] + 15


@pytest.mark.parametrize("task_id", REGRESSION)
@pytest.mark.parametrize("scanner", SCANNERS)
def test_points_lie_in_the_field_of_view(task_id: str, scanner: str) -> None:
    profile = SCANNERS[scanner]
    for case in cases(task_id, 8, scanner):
        assert case.points.shape == (OFFICIAL[task_id].num_classes, 2)
        height, width = case.image.shape
        field = profile.geometry(height, width).field()
        assert all(field[round(y), round(x)] for x, y in case.points)


def test_a_femur_s_points_end_its_bright_line() -> None:
    for case in cases("fetal_femur", 6, "linear_premium", size_scale=1.0):
        first, last = case.points
        bright = cv2.GaussianBlur(case.image, (5, 5), 0).astype(float)
        along = (last - first) / np.hypot(*(last - first))
        for end, way in ((first, along), (last, -along)):
            on, off = end + 5 * way, end - 14 * way
            assert bright[round(on[1]), round(on[0])] > bright[round(off[1]), round(off[0])] + 30


@pytest.mark.parametrize("task_id", [*SEGMENTATION, *DETECTION, *REGRESSION])
def test_answers_are_not_constant(task_id: str) -> None:
    def answer(case: Any) -> np.ndarray:
        if case.points is not None:
            return case.points.mean(axis=0) / case.image.shape[::-1]
        if case.box is not None:
            return np.array(case.box[:2]) / case.image.shape[::-1]
        return np.argwhere(case.mask).mean(axis=0) / case.image.shape

    assert np.std([answer(case) for case in cases(task_id, 8)], axis=0).max() > 0.008


@pytest.mark.parametrize("task_id", CLASSIFICATION)
def test_classes_take_turns(task_id: str) -> None:
    number = OFFICIAL[task_id].num_classes
    assert [case.label for case in cases(task_id, 2 * number, size_scale=0.3)] == [*range(number)] * 2


def test_without_a_scanner_each_case_draws_one() -> None:
    assert {case.scanner for case in cases("lung", 24, size_scale=0.3)} == set(SCANNERS)


def test_scanners_see_the_same_anatomy_differently() -> None:
    linear, portable = (cases("carotid_artery", 1, name)[0] for name in ("linear_premium", "linear_portable"))
    np.testing.assert_array_equal(linear.mask, portable.mask)
    assert not np.array_equal(linear.image, portable.image)


@pytest.mark.parametrize(("half_angle", "face"), [(0, 0), (33, 0.4), (40, 0.15)])
@pytest.mark.parametrize("margin", [(0, 0, 0, 0), (0.1, 0.2, 0.05, 0)])
def test_scan_conversion_returns_what_the_beams_saw(half_angle: float, face: float, margin: Any) -> None:
    geometry = Geometry(120, 160, half_angle, face, margin)
    truth = cv2.GaussianBlur(np.random.default_rng(0).random((120, 160), np.float32), (0, 0), 5)
    shown = geometry.to_image(geometry.to_beams(np.dstack([truth] * 3))[..., 0])
    inside = cv2.erode(geometry.field().astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert np.abs(shown - truth)[inside].max() < 0.01


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_field_s_edge_is_where_it_ends(scanner: str, side: int) -> None:
    # Beyond the picture there is nothing to see.
    geometry = SCANNERS[scanner].geometry(220, 290)
    field = np.pad(geometry.field(), 3)
    for part in (0.05, 0.2, 0.4):
        x, y = geometry.edge(part, side)
        seen = [bool(field[round(y) + 3, round(x + step * side) + 3]) for step in (-2, 2)]
        assert seen == [True, False]


@pytest.mark.parametrize(
    "wrong", [{"cases": 0}, {"scanner": "toaster"}, {"split": "dev"}, {"tasks": ["knee"]}, {"size_scale": 0.0}]
)
def test_a_wrong_argument_is_a_usage_error(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        generate(tmp_path, **({"cases": 1, "seed": 1} | wrong))


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"can't write .*; name another folder with --out"):
        generate(tmp_path / "file" / "out", cases=1, seed=1, tasks=["lung"])
