"""Predictions that are exported and imported again give equal labels."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision
import torch
from pycocotools.coco import COCO
from support.first_pass import Answers, answer_with_labels, answers, exported, stem
from support.formats import HEIGHT, WIDTH, disc, imported, labels, left_out, write_coco, write_image, write_mask

from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.tasks import TaskType
from inference.plan import RunSettings
from inference.run import run
from training.config import FitConfig
from training.data.cases import load_cases, task_registry
from training.fit.distributed import ProcessGroup
from training.fit.loop import fit

SEGMENTATION, CLASSIFICATION = TaskType.SEGMENTATION, TaskType.CLASSIFICATION
DETECTION, REGRESSION = TaskType.DETECTION, TaskType.REGRESSION
HELD = [
    *(("coco", kind) for kind in (SEGMENTATION, CLASSIFICATION, DETECTION, REGRESSION)),
    *(("yolo", kind) for kind in (SEGMENTATION, CLASSIFICATION, DETECTION, REGRESSION)),
    ("nnunet", SEGMENTATION),
]
NAMES = ["lesion", "cyst"]


def ring(x: int, y: int) -> np.ndarray:
    """Return a mask of a ring, with a disc apart and a single pixel."""
    mask = disc(x, y, 9) - disc(x, y, 4)
    mask[2:5, 2:5] = mask[HEIGHT - 1, WIDTH - 1] = 1
    return mask.astype(bool)


def drawn_by_a_tool(folder: Path, format_name: str) -> Path:
    """Let the tool of a format write four images, each with an object of one of two classes."""
    paths, objects = [], {}
    for number in range(4):
        path = str(write_image(folder / "images" / f"{number}.png"))
        mask = disc(20 + 5 * number, 22, 8).astype(bool)[None]
        box = supervision.mask_to_xyxy(mask)
        paths.append(path)
        objects[path] = supervision.Detections(xyxy=box.astype(float), mask=mask, class_id=np.array([number % 2]))
    dataset = supervision.DetectionDataset(NAMES, paths, objects)
    source = folder / "source"
    if format_name == "coco":
        dataset.as_coco(str(source / "images"), str(source / "annotations.json"))
    elif format_name == "yolo":
        dataset.as_yolo(str(source / "images"), str(source / "labels"), str(source / "data.yaml"))
    else:  # nnU-Net has no tool that writes its raw data
        for path, found in objects.items():
            write_image(source / "imagesTr" / f"{Path(path).stem}_0000.png")
            write_mask(
                source / "labelsTr" / Path(path).name, (found.mask[0] * (found.class_id[0] + 1)).astype(np.uint8)
            )
        (source / "dataset.json").write_text('{"labels": {"background": 0, "lesion": 1, "cyst": 2}}')
    return source


def landmarks(folder: Path) -> Path:
    """Write a COCO file with two landmarks in each of two images."""
    for number in (1, 2):
        write_image(folder / f"{number}.png")
    category = {"id": 1, "name": "femur", "keypoints": ["left", "right"]}
    marks = [{"image_id": n, "category_id": 1, "keypoints": [3, 4.25, 2, 60.5, 40, 2]} for n in (1, 2)]
    return write_coco(folder / "marks.json", marks, categories=[category])


def by_image(found: Answers) -> dict[str, Any]:
    """Return labels by the name of the image, of which there is one task each."""
    assert len({name for _, name in found}) == len(found)
    return {stem(name): label for (_, name), label in found.items()}


def assert_equal(first: Answers, second: Answers) -> None:
    """Compare labels; coordinates may differ by the rounding of what is imported and of fractions, in pixels."""
    one, other = by_image(first), by_image(second)
    assert one.keys() == other.keys()
    for name, label in one.items():
        assert np.shape(label) == np.shape(other[name])
        coordinates = np.asarray(label).dtype.kind == "f"
        assert np.allclose(label, other[name], rtol=0, atol=1e-4 if coordinates else 0), name


def again(out: Path, target: Path, format_name: str, kind: TaskType) -> Answers:
    """Import every folder of an export, and return the labels."""
    classes = (format_name, kind) == ("yolo", CLASSIFICATION)
    found: Answers = {}
    for folder in out.iterdir():
        root = target / folder.name
        root.parent.mkdir(exist_ok=True)
        imported(folder, root, format_name="folders" if classes else format_name, kind=kind)
        found |= {(folder.name, name): label for (_, name), label in labels(root).items()}
    return found


@pytest.mark.parametrize(("format_name", "kind"), HELD)
def test_labels_of_a_tool_come_back_as_they_were(tmp_path: Path, format_name: str, kind: TaskType) -> None:
    source = landmarks(tmp_path) if kind == REGRESSION else drawn_by_a_tool(tmp_path, format_name)
    imported(source, tmp_path / "data", kind=kind)
    predictions = answer_with_labels(tmp_path / "data", tmp_path / "out")
    lines = exported(tmp_path / "data", predictions, tmp_path / "pass", format_name)
    assert left_out(lines) == {}
    assert_equal(labels(tmp_path / "data"), again(tmp_path / "pass", tmp_path / "new", format_name, kind))


@pytest.mark.parametrize("format_name", ["coco", "yolo", "nnunet"])
def test_holes_parts_and_single_pixels_come_back(tmp_path: Path, format_name: str) -> None:
    masks = {name: ring(x, 20) + 2 * disc(x, 20, 3) for name, x in (("a", 20), ("b", 41))}
    for name, mask in masks.items():
        write_image(tmp_path / "source" / "images" / f"{name}.png")
        write_mask(tmp_path / "source" / "masks" / f"{name}.png", mask)
    imported(tmp_path / "source", tmp_path / "data")
    predictions = answer_with_labels(tmp_path / "data", tmp_path / "out")
    exported(tmp_path / "data", predictions, tmp_path / "pass", format_name)
    found = by_image(again(tmp_path / "pass", tmp_path / "new", format_name, SEGMENTATION))
    assert {name: np.array_equal(mask, masks[name]) for name, mask in found.items()} == {"a": True, "b": True}


@pytest.mark.parametrize("format_name", ["coco", "yolo"])
def test_classes_that_are_never_predicted_keep_their_numbers(tmp_path: Path, format_name: str) -> None:
    names = ("cyst", "lesion", "normal")
    for name in names:
        write_image(tmp_path / "source" / name / f"{name}.png")
    imported(tmp_path / "source", tmp_path / "data")
    weights = micro_weights(tmp_path / "data", tmp_path / "w.safetensors")
    predictions = answer_with_labels(tmp_path / "data", tmp_path / "out")
    (tmp_path / "data" / "images" / "cyst" / "cyst.png").unlink()
    exported(tmp_path / "data", predictions, tmp_path / "pass", format_name, weights=weights)
    found = by_image(again(tmp_path / "pass", tmp_path / "new", format_name, CLASSIFICATION))
    assert found == {"lesion": 1, "normal": 2}


def micro_weights(root: Path, path: Path) -> Path:
    """Write random weights of the smallest preset for the tasks of an input root."""
    torch.manual_seed(3)
    checkpoint.save(path, Aurora(PRESETS["micro"], task_registry(load_cases([root]))), {})
    return path


def answered(root: Path, out: Path, weights: Path) -> Path:
    assert run(RunSettings(input=root, output=out, weights=weights, engine="torch", device="cpu")) == 0
    return out


@pytest.mark.parametrize(("format_name", "kind"), [pair for pair in HELD if pair[1] != CLASSIFICATION])
def test_what_a_run_wrote_comes_back(tmp_path: Path, format_name: str, kind: TaskType) -> None:
    source = landmarks(tmp_path) if kind == REGRESSION else drawn_by_a_tool(tmp_path, format_name)
    root = tmp_path / "data"
    imported(source, root, kind=kind)
    weights = micro_weights(root, tmp_path / "w.safetensors")
    predictions = answered(root, tmp_path / "out", weights)
    written = answers(root, predictions)
    exported(root, predictions, tmp_path / "pass", format_name, weights=weights)
    assert_equal(written, again(tmp_path / "pass", tmp_path / "new", format_name, kind))


# Its arrays don't follow NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_cocos_own_library_reads_the_masks(tmp_path: Path, sample_cases: Path) -> None:
    golden = sample_cases.parent / "golden"
    exported(sample_cases, golden, tmp_path / "out", "coco")
    file = COCO(str(tmp_path / "out" / "cardiac_multi" / "annotations.json"))
    assert [category["name"] for category in file.loadCats(file.getCatIds())][:2] == [
        "left ventricle",
        "wall of left ventricle",
    ]
    for image in file.loadImgs(file.getImgIds()):
        assert cv2.imread(str(tmp_path / "out" / "cardiac_multi" / "images" / image["file_name"])).shape[:2] == (
            image["height"],
            image["width"],
        )
        (path,) = golden.rglob(image["file_name"].rpartition("IMAGES_")[2])
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for annotation in file.loadAnns(file.getAnnIds(image["id"])):
            assert np.array_equal(file.annToMask(annotation), mask == annotation["category_id"])
            assert annotation["area"] == (mask == annotation["category_id"]).sum()


def circles_and_squares(folder: Path) -> Path:
    """Let a tool write 24 images, each of a bright circle or square, as COCO."""
    rng = np.random.default_rng(1)
    paths, objects = [], {}
    for number in range(24):
        x, y = (int(value) for value in rng.integers(14, 34, 2))
        mask = np.zeros((48, 48), np.uint8)
        if number % 2:
            mask[y - 9 : y + 9, x - 9 : x + 9] = 1
        else:
            cv2.circle(mask, (x, y), 6, 1, cv2.FILLED)
        path = str(folder / "drawn" / f"{number}.png")
        write_mask(Path(path), (60 * rng.random(mask.shape) + 160 * mask).astype(np.uint8))
        region = mask.astype(bool)[None]
        box = supervision.mask_to_xyxy(region).astype(float)
        paths.append(path)
        objects[path] = supervision.Detections(xyxy=box, mask=region, class_id=np.array([number % 2]))
    dataset = supervision.DetectionDataset(NAMES, paths, objects)
    dataset.as_coco(str(folder / "source" / "images"), str(folder / "source" / "annotations.json"))
    return folder / "source"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_predictions_of_a_trained_model_come_back(tmp_path: Path) -> None:
    source = circles_and_squares(tmp_path)
    roots = []
    for kind in (SEGMENTATION, CLASSIFICATION, DETECTION):
        imported(source, tmp_path / kind, f"my_{kind}", kind=kind)
        roots.append(tmp_path / kind)
    cases = load_cases(roots)
    config = FitConfig(preset="micro", steps=250, image_size=64, batch_size=12, learning_rate=4e-3, warmup_steps=10)
    names = [str(root) for root in roots]
    weights = fit(config, cases, cases, tmp_path / "fit", names, ProcessGroup(torch.device("cpu")))
    for kind, root in zip((SEGMENTATION, CLASSIFICATION, DETECTION), roots, strict=True):
        predictions = answered(root, tmp_path / f"out {kind}", weights)
        written = answers(root, predictions)
        for format_name in [name for name, held in HELD if held == kind]:
            out = tmp_path / f"{format_name} {kind}"
            exported(root, predictions, out, format_name, weights=weights)
            assert_equal(written, again(out, tmp_path / f"again {format_name} {kind}", format_name, kind))
