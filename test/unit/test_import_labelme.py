"""LabelMe's JSON files become input roots: masks, boxes and landmarks."""

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision
from support.formats import (
    HEIGHT,
    WIDTH,
    boxes_of_another_tool,
    disc,
    imported,
    labels,
    left_out,
    rectangle,
    write_image,
)

from aurora.errors import InputError
from aurora.tasks import TaskType

SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25]]


def shape(form: str = "polygon", points: Any = SQUARE, label: str = "lesion") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": form, "group_id": None, "flags": {}}


def drawn(mask: np.ndarray, x: int, y: int) -> dict[str, Any]:
    """Return a mask as LabelMe's tools write it: as PNG, with its first and last pixel as points."""
    height, width = mask.shape
    content = base64.b64encode(cv2.imencode(".png", 255 * mask)[1].tobytes()).decode()
    return shape("mask", [[x, y], [x + width - 1, y + height - 1]]) | {"mask": content}


def write_labelme(root: Path, shapes: list[list[dict[str, Any]]], /, **parts: Any) -> Path:
    """Write images and JSON files beside them; `parts` replace those of the last file."""
    for number, found in enumerate(shapes, start=1):
        name = f"{number}.png"
        write_image(root / name)
        content = {"version": "5.0.1", "flags": {}, "shapes": found, "imagePath": name, "imageData": None}
        content |= {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        (root / f"{number}.json").write_text(json.dumps(content | (parts if number == len(shapes) else {})))
    return root


def test_polygons_rectangles_and_circles_become_masks(tmp_path: Path) -> None:
    shapes = [
        [shape(), shape("rectangle", [[50, 40], [40, 30]], "cyst")],
        [shape("circle", [[20.5, 20.5], [29.5, 20.5]]), shape("point", [[1, 1]], "tip")],
    ]
    lines = imported(write_labelme(tmp_path / "source", shapes), tmp_path / "out")
    assert lines[0].endswith("was read as labelme, 1.json has shapes")
    found = labels(tmp_path / "out")
    assert np.array_equal(found["task", "1.png"], 2 * rectangle(10, 5, 30, 25) + rectangle(40, 30, 50, 40))
    circle = found["task", "2.png"] == 2
    assert (circle & disc()).sum() / (circle | disc()).sum() > 0.93
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [background, cyst, lesion]\n"


def test_boxes_are_the_extents_of_shapes(tmp_path: Path) -> None:
    shapes = [[shape("rectangle", [[50, 40], [40, 30]])], [shape("rectangle", [[1.5, 2], [3, 4]])]]
    imported(write_labelme(tmp_path / "source", shapes), tmp_path / "out")
    assert [box.tolist() for box in labels(tmp_path / "out").values()] == [[40, 30, 50, 40], [1.5, 2, 3, 4]]
    imported(write_labelme(tmp_path / "more", [[shape()]]), tmp_path / "extents", kind=TaskType.DETECTION)
    assert labels(tmp_path / "extents")["task", "1.png"].tolist() == [10, 5, 30, 25]


def test_masks_and_turned_rectangles_are_read(tmp_path: Path) -> None:
    mask = disc(5, 6, 4)[:11, :10]
    turned = shape("oriented_rectangle", [[20, 10], [30, 20], [20, 30], [10, 20]])
    imported(write_labelme(tmp_path / "source", [[drawn(mask, 20, 9)], [turned]]), tmp_path / "out")
    first, second = labels(tmp_path / "out").values()
    assert np.array_equal(first[9:20, 20:30], mask)
    assert first.sum() == mask.sum()
    assert second.sum() == pytest.approx(200, abs=20)


def test_points_become_landmarks_in_the_order_of_their_labels(tmp_path: Path) -> None:
    left, right = shape("point", [[10.5, 11.5]], "left"), shape("point", [[30, 31]], "right")
    lines = imported(write_labelme(tmp_path / "source", [[right, left], [left]]), tmp_path / "out")
    ((key, points),) = labels(tmp_path / "out").items()
    assert key == ("task", "1.png")
    assert points.tolist() == [[10, 11], [29.5, 30.5]]
    assert left_out(lines)["an object has landmarks that aren't labelled"] == 1
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [left, right]\n"


def test_files_of_another_tool_are_read_as_that_tool_wrote_them(tmp_path: Path) -> None:
    source, boxes = boxes_of_another_tool(tmp_path, supervision.DetectionDataset.as_labelme)
    imported(source, tmp_path / "out")
    found = {name: tuple(box) for (_, name), box in labels(tmp_path / "out").items()}
    assert found == {f"images/{name}": box for name, box in boxes.items()}


@pytest.mark.parametrize(
    ("shapes", "parts", "reason"),
    [
        ([shape(points=[[1, 1], [2, 2]])], {}, "an outline has fewer than three points"),
        ([shape(points=[[1, 1], [2, 2], [float("nan"), 9]])], {}, "an outline has coordinates that aren't numbers"),
        ([shape(points=[[1, 1], [2, 2], [1e9, 9]])], {}, "an outline lies far outside the image"),
        (
            [shape(points=[["1", 1], [2, 2], [3, 9]])],
            {},
            "an annotation has something else where numbers are expected",
        ),
        ([shape(points="far")], {}, "a shape has something else than pairs of numbers as its points"),
        (
            [shape("line", [[1, 1], [2, 2]])],
            {},
            "a shape is a line, which has no area",
        ),
        ([{"points": SQUARE}], {}, "a shape has no label"),
        ([shape() | {"label": None}], {}, "a shape has no label"),
        ([shape("mask", [[1, 1], [5, 5]])], {}, "a mask is damaged"),
        ([shape("mask", [[1, 1], [5, 5]]) | {"mask": "no PNG"}], {}, "a mask is damaged"),
        ([drawn(disc()[:9, :9], 60, 1)], {}, "a mask is of another size than its place in the image"),
        ([shape()], {"imagePath": "3.png"}, "its image is missing"),
        ([shape()], {"imagePath": "1.png"}, "another JSON file names the same image"),
        ([shape()], {"imagePath": None}, "the JSON file has no shapes, or no imagePath"),
        ([shape()], {"shapes": {}}, "the JSON file has no shapes, or no imagePath"),
        ([shape()], {"imageHeight": 9}, "the file states another size than that of the image"),
    ],
)
def test_an_image_that_cannot_be_used_is_counted(
    tmp_path: Path, shapes: list[dict[str, Any]], parts: dict[str, Any], reason: str
) -> None:
    source = write_labelme(tmp_path / "source", [[shape()], shapes], **parts)
    assert left_out(imported(source, tmp_path / "out")) == {reason: 1}
    assert list(labels(tmp_path / "out")) == [("task", "1.png")]


def test_damaged_files_are_counted(tmp_path: Path) -> None:
    source = write_labelme(tmp_path / "source", [[shape()], []])
    (source / "2.json").write_text("{")
    assert left_out(imported(source, tmp_path / "out")) == {"the JSON file is damaged": 1}


def test_two_points_of_one_label_are_counted(tmp_path: Path) -> None:
    tip = shape("point", [[10, 11]], "tip")
    lines = imported(write_labelme(tmp_path / "source", [[tip], [tip, tip]]), tmp_path / "out")
    assert left_out(lines) == {"the image has two points of one label": 1}


def test_a_path_of_windows_is_understood(tmp_path: Path) -> None:
    source = write_labelme(tmp_path / "source", [[shape()]], imagePath="..\\scans\\1.PNG")
    lines = imported(source, tmp_path / "out")
    assert "note (1): its path has backslashes; the image was found by its name [1.png]" in lines


@pytest.mark.parametrize(
    ("form", "points", "kind"), [("polygon", SQUARE, TaskType.REGRESSION), ("point", [[1, 1]], TaskType.DETECTION)]
)
def test_a_type_without_its_shapes_is_refused(tmp_path: Path, form: str, points: Any, kind: TaskType) -> None:
    source = write_labelme(tmp_path / "source", [[shape(form, points)]])
    with pytest.raises(InputError, match=f"in the JSON files for {kind}, found none"):
        imported(source, tmp_path / "out", kind=kind)
