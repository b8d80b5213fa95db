"""What labelling tools read: Label Studio's tasks and CVAT's annotations, decoded as those tools decode them."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from support.first_pass import exported
from support.formats import disc

from inference.export.label_studio import brush
from inference.export.outlines import outlines

#: A mask, and the bytes into which label_studio_sdk 2.1.2 (`converter.brush.encode_rle`) turns its RGBA pixels.
MASK = np.zeros((5, 7), np.uint8)
MASK[1:3, 2:5] = MASK[4, 6] = 1
THEIRS = [0, 0, 0, 140, 57, 27, 254, 35, 0, 183, 255, 124, 2, 223, 254, 59, 0, 143, 252]


def decoded(content: list[int]) -> np.ndarray:
    """Decode a mask of Label Studio as @thi.ng/rle-pack does; return its values."""
    bits = "".join(f"{byte:08b}" for byte in content)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, word = read(32), read(5) + 1
    widths = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        same = read(1)
        count = read(widths[read(2)]) + 1
        values += [read(word)] * count if same else [read(word) for _ in range(count)]
    assert len(values) == total
    return np.array(values, np.uint8)


def test_a_brush_mask_is_decoded_to_what_label_studios_own_would_be() -> None:
    assert np.array_equal(decoded(brush(MASK)), decoded(THEIRS))


@pytest.mark.parametrize(
    "region",
    [
        np.ones((1, 1), np.uint8),
        np.ones((300, 400), np.uint8),  # a run that is too long for one number
        np.eye(9, dtype=np.uint8),
        disc(),
        np.random.default_rng(0).integers(0, 2, (40, 30), dtype=np.uint8),
    ],
)
def test_a_brush_mask_keeps_every_pixel(region: np.ndarray) -> None:
    assert np.array_equal(decoded(brush(region)).reshape(*region.shape, 4), 255 * region[..., None].repeat(4, axis=2))


def tasks_of(folder: Path) -> Iterator[tuple[Path, dict]]:
    """Yield the image and the prediction of each task, after a look at the configuration."""
    root = ElementTree.parse(folder / "labeling_config.xml").getroot()
    controls = {child.get("name"): child for child in root if child.tag != "Image"}
    for task in json.loads((folder / "tasks.json").read_text()):
        (prediction,) = task["predictions"]
        for result in prediction["result"]:
            control = controls[result["from_name"]]
            assert result["type"] == control.tag.lower()
            assert set(result["value"][result["type"]]) <= {label.get("value") for label in control}
        yield folder.parent / unquote(task["data"]["image"]).removeprefix("/data/local-files/?d="), prediction


def entry_of(golden: Path, kind: str, image: str) -> dict:
    """Return the prediction of an exported image in a JSON file."""
    entries = json.loads((golden / f"{kind}_predictions.json").read_text())
    return next(entry for entry in entries if Path(image).stem.endswith(Path(entry["image_path"]).stem))


def true_mask(golden: Path, image: str) -> np.ndarray:
    """Return the mask of an exported image that the run wrote."""
    (path,) = (path for path in golden.rglob("*.png") if Path(image).stem.endswith(path.stem))
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_label_studio_gets_the_predictions(sample_cases: Path, tmp_path: Path) -> None:
    golden = sample_cases.parent / "golden"
    exported(sample_cases, golden, tmp_path, "label-studio")
    for image, prediction in tasks_of(tmp_path / "cardiac_multi"):
        mask, found = true_mask(golden, image.name), 0
        assert image.is_file()
        for result in prediction["result"]:
            names = ["left ventricle", "wall of left ventricle", "left atrium"]
            (name,) = result["value"]["brushlabels"]
            region = decoded(result["value"]["rle"]).reshape(*mask.shape, 4)[..., 3] > 0
            assert (result["original_height"], result["original_width"]) == mask.shape
            assert np.array_equal(region, mask == 1 + names.index(name))
            found += region.sum()
        assert found == (mask > 0).sum()
    for image, prediction in tasks_of(tmp_path / "uterine_fibroid_det"):
        value = prediction["result"][0]["value"]
        x1, y1, x2, y2 = entry_of(golden, "detection", image.name)["bbox_normalized"]
        corners = [value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"]]
        assert corners == pytest.approx([100 * x1, 100 * y1, 100 * x2, 100 * y2])
    for image, prediction in tasks_of(tmp_path / "fetal_plane_cls"):
        entry = entry_of(golden, "classification", image.name)
        assert prediction["score"] == max(entry["predicted_probs"])


@pytest.mark.parametrize("format_name", ["label-studio", "cvat"])
def test_a_landmark_is_half_a_pixel_from_the_edge_of_its_pixel(
    sample_cases: Path, tmp_path: Path, format_name: str
) -> None:
    golden = sample_cases.parent / "golden"
    exported(sample_cases, golden, tmp_path, format_name)
    found = {}
    if format_name == "cvat":
        for element in ElementTree.parse(tmp_path / "fetal_femur" / "annotations.xml").iter("image"):
            points = [[float(value) for value in shape.get("points", "").split(",")] for shape in element]
            found[Path(element.get("name", ""))] = points
    else:
        for image, prediction in tasks_of(tmp_path / "fetal_femur"):
            results = prediction["result"]
            sides = np.array([results[0]["original_width"], results[0]["original_height"]]) / 100
            found[image] = [[result["value"]["x"], result["value"]["y"]] * sides for result in results]
    assert len(found) == 2
    for image, points in found.items():
        pixels = entry_of(golden, "regression", image.name)["predicted_points_pixels"]
        assert np.allclose(np.ravel(points), np.array(pixels) + 0.5, atol=1e-4)


def test_cvat_gets_the_predictions(sample_cases: Path, tmp_path: Path) -> None:
    golden = sample_cases.parent / "golden"
    exported(sample_cases, golden, tmp_path, "cvat")
    labels = json.loads((tmp_path / "cardiac_multi" / "labels.json").read_text())
    assert [label["type"] for label in labels] == ["mask"] * 3
    names = [label["name"] for label in labels]
    for image in ElementTree.parse(tmp_path / "cardiac_multi" / "annotations.xml").iter("image"):
        mask = true_mask(golden, image.get("name", ""))
        drawn = np.zeros_like(mask)
        assert (int(image.get("height", 0)), int(image.get("width", 0))) == mask.shape
        for shape in image:
            left, top, width, height = (int(shape.get(side, 0)) for side in ("left", "top", "width", "height"))
            runs = [int(run) for run in shape.get("rle", "").split(",")]
            region = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
            drawn[top : top + height, left : left + width] += (region * (1 + names.index(shape.get("label")))).astype(
                np.uint8
            )
        assert np.array_equal(drawn, mask)
    tags = [tag.get("label") for tag in ElementTree.parse(tmp_path / "organ_cls" / "annotations.xml").iter("tag")]
    assert len(tags) == 2


def test_the_names_of_labels_and_images_may_have_any_characters(
    sample_cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = sample_cases.parent / "golden"
    monkeypatch.setattr("inference.export.reader._distinct", lambda names: [f"<&\"{name}'>" for name in names])
    for format_name in ("label-studio", "cvat"):
        exported(sample_cases, golden, tmp_path / format_name, format_name)
    config = ElementTree.parse(tmp_path / "label-studio" / "lung" / "labeling_config.xml")
    (label,) = (label.get("value") for label in config.iter("Label"))
    (name,) = (name.text for name in ElementTree.parse(tmp_path / "cvat" / "lung" / "annotations.xml").iter("name"))
    assert label == name == "<&\"pleural line'>"


def test_an_outline_contains_the_centres_of_exactly_its_pixels() -> None:
    region = np.random.default_rng(2).integers(0, 2, (30, 40), dtype=np.uint8)
    region[5:20, 5:25] = 1
    region[8:12, 9:12] = region[14:17, 18:22] = 0
    filled = np.zeros((30 * 8, 40 * 8), np.uint8)
    for outline in outlines(region):
        cv2.fillPoly(part := np.zeros_like(filled), [np.round(outline * 8).astype(np.int32)], 1)
        filled |= part
    assert np.array_equal(filled[4::8, 4::8], region)
    assert not list(outlines(np.zeros((3, 3), np.uint8)))
