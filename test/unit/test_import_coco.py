"""COCO files become input roots: outlines, encoded masks, boxes and landmarks."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
from pycocotools import mask as coco_mask
from support.formats import (
    HEIGHT,
    WIDTH,
    disc,
    imported,
    labels,
    left_out,
    rectangle,
    write_coco,
    write_image,
)

from aurora.errors import InputError
from aurora.tasks import TaskType

POLYGON = [[10, 5, 30, 5, 30, 25, 10, 25]]
BOX = [10, 5, 20, 20]


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask as COCO's own tools encode it."""
    run_lengths = coco_mask.encode(np.asfortranarray(mask))
    return {"size": run_lengths["size"], "counts": run_lengths["counts"].decode()}


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask as run lengths that aren't compressed, column by column, beginning with 0."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    edges = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    return {"size": list(mask.shape), "counts": counts}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in (1, 2):
        write_image(tmp_path / "source" / "images" / f"{number}.png")
    return tmp_path / "source"


def out(source: Path) -> Path:
    return source.parent / "out"


def test_outlines_and_encoded_masks_of_both_kinds_become_masks(source: Path) -> None:
    annotations = [
        {"image_id": 1, "category_id": 1, "segmentation": POLYGON},
        {"image_id": 1, "category_id": 3, "segmentation": encoded(disc(50, 30))},
        {"image_id": 2, "category_id": 3, "segmentation": run_lengths(disc(30, 30))},
        {"image_id": 2, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5], [8, 8, 12, 8, 12, 12, 8, 12]]},
    ]
    write_coco(source / "annotations" / "instances.json", annotations)
    lines = imported(source, out(source))
    found = labels(out(source))
    two = rectangle(1, 1, 5, 5) + rectangle(8, 8, 12, 12)
    assert np.array_equal(found["task", "images/1.png"], np.maximum(rectangle(10, 5, 30, 25), 2 * disc(50, 30)))
    assert np.array_equal(found["task", "images/2.png"], np.maximum(two, 2 * disc(30, 30)))
    assert lines[0].startswith(f"{source} was read as coco, instances.json has images with annotations")
    assert (out(source) / "task.yaml").read_text() == "names:\n  task: [background, lesion, cyst]\n"


def test_boxes_of_several_categories_become_a_task_each(source: Path) -> None:
    annotations = [
        {"image_id": 1, "category_id": 1, "bbox": [10.5, 5, 20.25, 20]},
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, WIDTH, HEIGHT]},
        {"image_id": 2, "category_id": 3, "bbox": [50, 40, 30, 30]},
    ]
    lines = imported(write_coco(source / "annotations.json", annotations), out(source))
    found = {key: box.tolist() for key, box in labels(out(source)).items()}
    assert found == {
        ("task_lesion", "images/1.png"): [10.5, 5, 30.75, 25],
        ("task_cyst", "images/1.png"): [0, 0, WIDTH, HEIGHT],
        ("task_cyst", "images/2.png"): [50, 40, WIDTH, HEIGHT],
    }
    assert "note (1): a box reaches out of the image and was cut off at its edge [images/2.png]" in lines


def test_landmarks_need_all_points(source: Path) -> None:
    categories = [{"id": 1, "name": "femur", "keypoints": ["left", "right"]}]
    annotations = [
        {"image_id": 1, "category_id": 1, "keypoints": [10, 11, 2, 30.5, 31, 1], "bbox": BOX},
        {"image_id": 2, "category_id": 1, "keypoints": [10, 11, 2, 0, 0, 0], "bbox": BOX},
    ]
    write_coco(source / "points.json", annotations, categories=categories)
    lines = imported(source, out(source))
    ((key, points),) = labels(out(source)).items()
    assert key == ("task", "images/1.png")
    assert points.tolist() == [[10, 11], [30.5, 31]]
    assert left_out(lines) == {
        "an object has landmarks that aren't labelled": 1,
        "the image has no usable set of landmarks": 1,
    }
    assert (out(source) / "task.yaml").read_text() == "names:\n  task: [left, right]\n"


def test_the_class_of_an_image_is_that_of_its_objects(source: Path) -> None:
    annotations = [{"image_id": 1, "category_id": 3}, {"image_id": 2, "category_id": 1}]
    imported(write_coco(source / "a.json", annotations), out(source), kind=TaskType.CLASSIFICATION)
    assert labels(out(source)) == {("task", "images/1.png"): 1, ("task", "images/2.png"): 0}


@pytest.mark.parametrize("layout", ["annotations/instances_{}2017.json", "{}2017/_annotations.coco.json"])
def test_a_file_per_split_becomes_a_root_per_split(tmp_path: Path, layout: str) -> None:
    source = tmp_path / "source"
    for split, box in (("train", BOX), ("val", [1, 2, 3, 4])):
        for number in (1, 2):
            write_image(source / f"{split}2017" / f"{number}.png")
        write_coco(source / layout.format(split), [{"image_id": 1, "category_id": 1, "bbox": box}])
    imported(source, tmp_path / "out")
    assert labels(tmp_path / "out" / "train")["task_lesion", "train2017/1.png"].tolist() == [10, 5, 30, 25]
    assert labels(tmp_path / "out" / "val")["task_lesion", "val2017/1.png"].tolist() == [1, 2, 4, 6]


def test_a_file_of_another_tool_is_read_as_that_tool_wrote_it(tmp_path: Path) -> None:
    masks = {f"{number}.png": disc(20 + number, 20) for number in range(3)}
    # A hole makes the tool encode a mask by run lengths, and mark it as a crowd.
    masks["2.png"][20, 20] = 0
    paths = [str(write_image(tmp_path / "images" / name)) for name in masks]
    boxes = {
        path: coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask)))
        for path, mask in zip(paths, masks.values(), strict=True)
    }
    objects = {
        path: supervision.Detections(
            xyxy=np.array([[x, y, x + w, y + h] for x, y, w, h in [boxes[path]]]),
            mask=mask[None].astype(bool),
            class_id=np.array([0]),
        )
        for path, mask in zip(paths, masks.values(), strict=True)
    }
    source = tmp_path / "source"
    dataset = supervision.DetectionDataset(["lesion"], paths, objects)
    dataset.as_coco(str(source / "images"), str(source / "annotations.json"))
    imported(source, tmp_path / "boxes", kind=TaskType.DETECTION)
    found = labels(tmp_path / "boxes")
    assert [found["task", f"images/{name}"].tolist() for name in ("0.png", "1.png")] == [
        objects[path].xyxy[0].tolist() for path in paths[:2]
    ]
    imported(source, tmp_path / "masks")
    found = labels(tmp_path / "masks")
    assert np.array_equal(found["task", "images/2.png"], masks["2.png"])
    for name in ("0.png", "1.png"):
        # The tool's outlines pass through the centres of pixels.
        overlap = (found["task", f"images/{name}"] & masks[name]).sum() / masks[name].sum()
        assert overlap > 0.85


def test_images_that_differ_in_their_endings_have_masks_of_their_own(source: Path) -> None:
    write_image(source / "images" / "1.jpg")
    images = [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "1.jpg"}]
    annotations = [{"image_id": 1, "category_id": 1, "segmentation": POLYGON}]
    imported(write_coco(source / "a.json", annotations, images=images), out(source))
    assert {key[1]: bool(mask.any()) for key, mask in labels(out(source)).items()} == {
        "images/1.png": True,
        "images/1.jpg": False,
    }


GOOD = {"image_id": 1, "category_id": 1, "bbox": BOX, "segmentation": POLYGON}
MASK = TaskType.SEGMENTATION
BOXES = TaskType.DETECTION


@pytest.mark.parametrize(
    ("kind", "annotation", "reason"),
    [
        (MASK, {"segmentation": encoded(disc()[1:])}, "a run-length encoded mask is of another size than its image"),
        (MASK, {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 5]}}, "a run-length encoded mask is damaged"),
        (MASK, {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "~~~"}}, "a run-length encoded mask is damaged"),
        (MASK, {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "11"}}, "a run-length encoded mask is damaged"),
        (MASK, {"segmentation": {"size": [HEIGHT, WIDTH]}}, "a run-length encoded mask is damaged"),
        (MASK, {"segmentation": [[1, 1, 5, 5]]}, "an outline has fewer than three points"),
        (MASK, {"segmentation": [[1, 1, 5, 5, float("nan"), 9]]}, "an outline has coordinates that aren't numbers"),
        (MASK, {"segmentation": [[1, 1, 5, 5, 1e9, 9]]}, "an outline lies far outside the image"),
        (MASK, {"segmentation": [["1", 1, 5, 5, 9, 9]]}, "an annotation has something else where numbers are expected"),
        (MASK, {"segmentation": "outline"}, "an annotation has something else where an outline is expected"),
        (MASK, {"segmentation": []}, "an object has no outline"),
        (BOXES, {"bbox": [1, 1, 0, 5]}, "a box has no area"),
        (BOXES, {"bbox": [float("nan"), 1, 5, 5]}, "a box has coordinates that aren't numbers"),
        (BOXES, {"bbox": [WIDTH + 1, 1, 5, 5]}, "a box lies outside the image"),
        (BOXES, {"bbox": [1, 1, 5]}, "an annotation has another number of coordinates than its kind needs"),
        (BOXES, {"bbox": []}, "an object has no box"),
        (BOXES, {"bbox": BOX, "iscrowd": 1}, "the image has a crowd region, which isn't one object"),
        (BOXES, {"bbox": BOX, "category_id": 9}, "an annotation has a category that the file doesn't list"),
        (BOXES, {"bbox": BOX, "image_id": 9}, "an annotation belongs to no image of the file"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_counted(
    source: Path, kind: TaskType, annotation: dict[str, Any], reason: str
) -> None:
    bad = {"image_id": 2, "category_id": 1, **annotation}
    lines = imported(write_coco(source / "a.json", [GOOD, bad]), out(source), kind=kind)
    assert left_out(lines)[reason] == 1
    found = labels(out(source))
    # An image without a box is left out as well; one without an outline has an empty mask.
    task_id = "task_lesion" if kind == BOXES else "task"
    assert {key for key, label in found.items() if np.any(label)} == {(task_id, "images/1.png")}


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([{"id": 2, "file_name": "3.png"}], "its image is missing"),
        ([{"id": 2, "file_name": "1.png"}], "the image is listed twice"),
        ([{"id": 2, "file_name": "2.png"}] * 2, "its id belongs to several images"),
        ([{"id": 2, "file_name": None}], "its image is missing"),
        ([{"file_name": "2.png"}], "it has no id"),
        (
            [{"id": 2, "file_name": "2.png", "width": 9, "height": 9}],
            "the file states another size than that of the image",
        ),
        ([{"id": 2, "file_name": "2.png"}], "the image has more than one box of a class, and the layout holds one"),
    ],
)
def test_an_image_that_cannot_be_used_is_counted(source: Path, images: list[dict[str, Any]], reason: str) -> None:
    annotations = [GOOD, {**GOOD, "image_id": 2}, {**GOOD, "image_id": 2}]
    write_coco(source / "a.json", annotations, images=[{"id": 1, "file_name": "1.png"}, *images])
    lines = imported(source, out(source), kind=BOXES)
    assert left_out(lines)[reason] == len(images)
    assert list(labels(out(source))) == [("task_lesion", "images/1.png")]


@pytest.mark.parametrize(
    ("written", "note"),
    [
        ("C:\\scans\\images\\2.png", "its path has backslashes; the image was found by its name"),
        ("images/2.PNG", "the image has its name in another letter case"),
        ("/home/somebody/images/2.png", None),
    ],
)
def test_a_path_of_another_machine_is_understood(source: Path, written: str, note: str | None) -> None:
    images = [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": written}]
    write_coco(source / "a.json", [GOOD, {**GOOD, "image_id": 2}], images=images)
    lines = imported(source, out(source))
    assert len(labels(out(source))) == 2
    assert note is None or f"note (1): {note} [images/2.png]" in lines


def test_an_empty_mask_a_crowd_and_an_unused_category_are_named(source: Path) -> None:
    crowd = {**GOOD, "segmentation": encoded(disc()), "iscrowd": 1}
    lines = imported(write_coco(source / "a.json", [crowd]), out(source))
    assert np.array_equal(labels(out(source))["task", "images/1.png"], disc())
    assert not labels(out(source))["task", "images/2.png"].any()
    assert {line for line in lines if line.startswith("note")} == {
        "note (1): no image has this class, which keeps its number [2 cyst]",
        "note (1): a crowd region counts as an object [images/1.png]",
        "note (1): the mask is empty, because the image has no object [images/2.png]",
    }


def test_a_category_without_annotations_keeps_its_number(source: Path) -> None:
    path = write_coco(source / "a.json", [{**GOOD, "category_id": 3}])
    imported(path, out(source))
    assert set(np.unique(labels(out(source))["task", "images/1.png"])) == {0, 2}
    assert (out(source) / "task.yaml").read_text() == "names:\n  task: [background, lesion, cyst]\n"
    imported(path, source.parent / "classes", kind=TaskType.CLASSIFICATION)
    assert labels(source.parent / "classes") == {("task", "images/1.png"): 1}


def test_a_category_without_annotations_leaves_the_names_of_tasks(source: Path) -> None:
    categories = [{"id": n, "name": name, "keypoints": ["tip"]} for n, name in ((1, "hip"), (2, "knee"))]
    marks = [{"image_id": 1, "category_id": 2, "keypoints": [3, 4, 2]}]
    path = write_coco(source / "a.json", marks, categories=[*categories, {"id": 3, "name": "scanner"}])
    lines = imported(path, out(source))
    assert list(labels(out(source))) == [("task_knee", "images/1.png")]
    assert "note (1): no image has a label of this task, so it has no rows [task_hip]" in lines
    assert (out(source) / "task.yaml").read_text() == "names:\n  task_knee: [tip]\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "expected JSON, found"),
        ("[]", "expected a COCO file with images, annotations, categories, found other JSON"),
        ('{"shapes": []}', "found other JSON"),
        ('{"images": [1], "annotations": [], "categories": []}', "expected objects in images"),
        ('{"images": [], "annotations": [], "categories": []}', "expected annotations of a category, found none"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "expected an id and a name of every category"),
    ],
)
def test_a_file_of_another_kind_is_refused(source: Path, content: str, reason: str) -> None:
    (source / "a.json").write_text(content)
    with pytest.raises(InputError, match=reason):
        imported(source / "a.json", out(source), format_name="coco")
    assert not out(source).exists()


def test_two_files_of_one_split_are_refused(source: Path) -> None:
    for name in ("a.json", "b.json"):
        write_coco(source / name, [GOOD])
    (source / "c.json").write_text(json.dumps({"info": "of another kind"}))
    with pytest.raises(InputError, match=r"one COCO file per split, found a\.json and b\.json"):
        imported(source, out(source))


def test_boxes_in_fractions_are_refused(source: Path) -> None:
    annotations = [{"image_id": number, "category_id": 1, "bbox": [0.1, 0.2, 0.3, 0.4]} for number in (1, 2)]
    with pytest.raises(InputError, match="multiply fractions by the width and height"):
        imported(write_coco(source / "a.json", annotations), out(source))
    assert not out(source).exists()


def test_ids_in_fractions_are_understood_and_a_pipe_is_passed_over(source: Path) -> None:
    os.mkfifo(source / "pipe.json")
    annotation = {**GOOD, "image_id": 2.0, "category_id": "3"}
    imported(write_coco(source / "a.json", [annotation]), out(source), kind=BOXES)
    imported(source, source.parent / "folder", kind=BOXES)
    assert list(labels(source.parent / "folder")) == list(labels(out(source))) == [("task_cyst", "images/2.png")]


def test_the_exact_name_is_preferred_to_another_letter_case(source: Path) -> None:
    write_image(source / "images" / "1.PNG")
    imported(write_coco(source / "a.json", [GOOD]), out(source), kind=BOXES)
    assert list(labels(out(source))) == [("task_lesion", "images/1.png")]


def test_landmarks_of_another_number_are_counted(source: Path) -> None:
    categories = [{"id": 1, "name": "femur", "keypoints": ["left", "right"]}]
    good, bad = ({"image_id": n, "category_id": 1, "keypoints": [9, 9, 2] * (3 - n)} for n in (1, 2))
    lines = imported(write_coco(source / "a.json", [good, bad], categories=categories), out(source))
    assert left_out(lines) == {"an annotation has another number of coordinates than its kind needs": 1}


def test_files_whose_ids_differ_agree_by_the_names(tmp_path: Path) -> None:
    for split, ids in (("train", (5, 7)), ("val", (7, 5))):
        write_image(tmp_path / "source" / split / "1.png")
        categories = [{"id": number, "name": name} for number, name in zip(ids, ("a", "b"), strict=True)]
        annotations = [{"image_id": 1, "category_id": number} for number in ids]
        images = [{"id": 1, "file_name": "1.png"}]
        if split == "val":
            annotations = annotations[:1]
        else:
            images += [{"id": 2, "file_name": "2.png"}]
            write_image(tmp_path / "source" / split / "2.png")
            annotations[0]["image_id"] = 2
        path = tmp_path / "source" / split / "labels.json"
        write_coco(path, annotations, categories=categories, images=images)
    imported(tmp_path / "source", tmp_path / "out", kind=TaskType.CLASSIFICATION)
    assert labels(tmp_path / "out" / "train") == {("task", "train/1.png"): 1, ("task", "train/2.png"): 0}
    assert labels(tmp_path / "out" / "val") == {("task", "val/1.png"): 0}


def test_categories_of_one_id_are_refused(source: Path) -> None:
    categories = [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]
    with pytest.raises(InputError, match="found two of one id"):
        imported(write_coco(source / "a.json", [GOOD], categories=categories), out(source))


def test_one_class_is_no_classification(source: Path) -> None:
    path = write_coco(source / "a.json", [GOOD], categories=[{"id": 1, "name": "lesion"}])
    with pytest.raises(InputError, match="expected two or more classes for classification, found only lesion"):
        imported(path, out(source), kind=TaskType.CLASSIFICATION)


def test_classes_of_names_that_make_one_task_are_refused(source: Path) -> None:
    categories = [{"id": 1, "name": "cyst a"}, {"id": 2, "name": "cyst/a"}]
    annotations = [GOOD, {**GOOD, "category_id": 2}]
    with pytest.raises(InputError, match="expected classes of different names, found cyst a, cyst/a"):
        imported(write_coco(source / "a.json", annotations, categories=categories), out(source))
