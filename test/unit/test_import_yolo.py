"""YOLO's text files become input roots: boxes and outlines."""

from pathlib import Path

import numpy as np
import pytest
import supervision
from support.formats import HEIGHT, WIDTH, imported, labels, left_out, rectangle, write_coco, write_image

from aurora.errors import InputError
from aurora.tasks import TaskType

BOX = "0 0.25 0.25 0.125 0.25"
OUTLINE = "1 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5"


def write_yolo(root: Path, texts: dict[str, str], names: str = "names: [lesion, cyst]") -> Path:
    """Write images, their text files and data.yaml; `texts` are by the path below `images`."""
    for name, text in texts.items():
        write_image(root / "images" / f"{name}.png")
        path = root / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "data.yaml").write_text(names)
    return root


def test_boxes_are_denormalised_and_splits_are_roots(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"train/1": BOX, "val/1": "1 0.5 0.5 1 1\n"})
    lines = imported(source, tmp_path / "out")
    assert lines[0].endswith("was read as yolo, data.yaml has names of classes, and images have text files")
    train, val = (labels(tmp_path / "out" / split) for split in ("train", "val"))
    assert {key: box.tolist() for key, box in train.items()} == {("task_lesion", "images/train/1.png"): [12, 6, 20, 18]}
    assert {key: box.tolist() for key, box in val.items()} == {("task_cyst", "images/val/1.png"): [0, 0, WIDTH, HEIGHT]}
    assert left_out(lines) == {}


def test_a_text_file_without_an_image_is_counted_and_one_in_another_letter_case_found(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"1": BOX, "2": BOX, "3": BOX}, "names: {'0': lesion, '1': cyst}")
    (source / "images" / "2.png").unlink()
    (source / "labels" / "3.txt").unlink()
    write_image(source / "images" / "Scan.png")
    (source / "labels" / "scan.txt").write_text(BOX)
    assert left_out(imported(source, tmp_path / "out")) == {
        "the text file has no image": 1,
        "the image has no usable box": 1,  # it has no text file
    }
    assert list(labels(tmp_path / "out")) == [("task_lesion", f"images/{name}.png") for name in ("1", "Scan")]


def test_outlines_become_masks_and_an_image_without_a_file_has_none(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"1": OUTLINE, "2": ""})
    write_image(source / "images" / "3.png")
    lines = imported(source, tmp_path / "out", patient=r"(\d)\.png")
    found = labels(tmp_path / "out")
    assert np.array_equal(found["task", "images/1.png"], 2 * rectangle(16, 12, 32, 24))
    assert not found["task", "images/2.png"].any()
    assert not found["task", "images/3.png"].any()
    assert any(line.startswith("note (2): the mask is empty") for line in lines)


@pytest.mark.parametrize("names", ["data.yaml", "labels/classes.txt", "classes.txt"])
def test_names_are_read_from_the_files_of_all_tools(tmp_path: Path, names: str) -> None:
    source = write_yolo(tmp_path / "source", {"1": BOX}, "names:\n  0: lesion\n  1: cyst\n")
    if names != "data.yaml":
        (source / "data.yaml").unlink()
        (source / names).write_text("lesion\ncyst\n")
    imported(source, tmp_path / "out")
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task_lesion: [lesion]\n"


@pytest.mark.parametrize("prefix", ["", "./", "../"])
def test_the_settings_say_the_split_of_folders_of_any_name(tmp_path: Path, prefix: str) -> None:
    names = f"path: elsewhere\ntrain: [{prefix}images/a, {prefix}images/b]\nval: {prefix}images/c\nnames: [lesion]\n"
    source = write_yolo(tmp_path / "source", {"a/1": BOX, "b/1": BOX, "c/1": BOX}, names)
    imported(source, tmp_path / "out")
    assert list(labels(tmp_path / "out" / "train")) == [("task", "images/a/1.png"), ("task", "images/b/1.png")]
    assert list(labels(tmp_path / "out" / "val")) == [("task", "images/c/1.png")]


def test_text_files_may_be_beside_images(tmp_path: Path) -> None:
    write_image(tmp_path / "source" / "1.png")
    (tmp_path / "source" / "1.txt").write_text(BOX)
    (tmp_path / "source" / "classes.txt").write_text("lesion\n")
    imported(tmp_path / "source", tmp_path / "out")
    assert labels(tmp_path / "out")["task", "1.png"].tolist() == [12, 6, 20, 18]


@pytest.mark.parametrize("kind", [TaskType.DETECTION, TaskType.SEGMENTATION])
def test_files_of_another_tool_are_read_as_that_tool_wrote_them(tmp_path: Path, kind: TaskType) -> None:
    boxes = {"a.png": (3, 4, 20, 21), "b.png": (30, 7, 64, 48)}
    paths = [str(write_image(tmp_path / "images" / name)) for name in boxes]
    objects = {
        path: supervision.Detections(
            xyxy=np.array([box], float),
            class_id=np.array([0]),
            mask=rectangle(*box)[None].astype(bool) if kind == TaskType.SEGMENTATION else None,
        )
        for path, box in zip(paths, boxes.values(), strict=True)
    }
    source = tmp_path / "source"
    dataset = supervision.DetectionDataset(["lesion"], paths, objects)
    dataset.as_yolo(str(source / "images"), str(source / "labels"), str(source / "data.yaml"))
    imported(source, tmp_path / "out")
    for name, box in boxes.items():
        label = labels(tmp_path / "out")["task", f"images/{name}"]
        if kind == TaskType.DETECTION:
            np.testing.assert_allclose(label, box, atol=1e-3)
        else:
            # The tool's outlines pass through the centres of the outer pixels, so that the last row and column differ.
            x1, y1, x2, y2 = box
            assert np.array_equal(label, rectangle(x1, y1, x2 - 1, y2 - 1))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2 0.5 0.5 0.1 0.1", "a line has a class without a name"),
        ("0.5 0.5 0.5 0.1 0.1", "a line has a class without a name"),
        ("0 0.5 0.5 0.1", "a line has neither the four numbers of a box nor the pairs of an outline"),
        ("0 0.5 0.5 0.1 0.1 0.9", "a line has neither the four numbers of a box nor the pairs of an outline"),
        ("0 0.5 0.5 nan 0.1", "a line has coordinates that aren't numbers"),
        ("0 20 30 10 10", "a line has pixels where fractions of the image are expected"),
        ("0 a b c d", "a line of its text file holds something else than numbers"),
        ("lesion", "a line of its text file holds something else than numbers"),
        ("0 0.5 0.5 0 0.1", "a box has no area"),
        ("0 1.5 0.5 0.1 0.1", "a box lies outside the image"),
        ("", "the image has no usable box"),
        (f"{BOX}\n0 0.5 0.5 0.1 0.1", "the image has more than one box of a class, and the layout holds one"),
    ],
)
def test_an_image_that_cannot_be_used_is_counted(tmp_path: Path, text: str, reason: str) -> None:
    source = write_yolo(tmp_path / "source", {"1": BOX, "2": text}, "names: [lesion, cyst]")
    assert left_out(imported(source, tmp_path / "out"))[reason] == 1
    assert list(labels(tmp_path / "out")) == [("task_lesion", "images/1.png")]


def test_a_box_that_reaches_out_is_cut_off_and_a_repeated_line_counts_once(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"1": "0 1 0.5 0.5 0.5\n0 1 0.5 0.5 0.5\n"})
    lines = imported(source, tmp_path / "out")
    assert labels(tmp_path / "out")["task_lesion", "images/1.png"].tolist() == [48, 12, 64, 36]
    assert any(line.startswith("note (1): a box reaches out of the image") for line in lines)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("names: {0: a, 2: b}", "expected names of the classes from 0 on"),
        ("names: [a]\nkpt_shape: 17", "expected kpt_shape"),
        ("names: [a]\nkpt_shape: [17, 4]", "expected kpt_shape"),
        ("names: [a]\nkpt_shape: [1000000000, 3]", "of up to 256 landmarks, found"),
        (f"names: &a [x]\nb: &b [{'*a,' * 9}]\nc: [{'*b,' * 9}]\nnames: *b", "expected names of the classes from 0 on"),
        ("names: [a", "expected YAML"),
        ("nc: 2", "expected data.yaml or classes.txt with the names of the classes"),
        ("names: []", "expected names of the classes from 0 on"),
    ],
)
def test_names_that_cannot_be_used_are_refused(tmp_path: Path, names: str, reason: str) -> None:
    source = write_yolo(tmp_path / "source", {"1": BOX}, names)
    with pytest.raises(InputError, match=reason):
        imported(source, tmp_path / "out", format_name="yolo")


@pytest.mark.parametrize(("numbers", "seen", "unseen"), [(3, " 2", " 0"), (2, "", "")])
def test_landmarks_are_read_and_an_object_without_one_is_left_out(
    tmp_path: Path, numbers: int, seen: str, unseen: str
) -> None:
    points = f"0.25 0.5{seen} 0.75 0.125{seen}"
    missing = f"0.25 0.5{seen} {'0 0' if unseen else '-1 -1'}{unseen}"
    names = f"names: [femur]\nkpt_shape: [2, {numbers}]\nkpt_names:\n  0: [left end, right end]\n"
    source = write_yolo(tmp_path / "source", {"1": f"0 0.5 0.5 0.5 0.5 {points}", "2": f"{BOX} {missing}"}, names)
    lines = imported(source, tmp_path / "out")
    found = labels(tmp_path / "out")
    assert {key: label.tolist() for key, label in found.items()} == {("task", "images/1.png"): [[16, 24], [48, 6]]}
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [left end, right end]\n"
    assert left_out(lines)["an object has landmarks that aren't labelled"] == 1
    imported(source, tmp_path / "boxes", kind=TaskType.DETECTION)
    assert labels(tmp_path / "boxes")["task", "images/2.png"].tolist() == [12, 6, 20, 18]


def test_landmarks_of_coco_and_of_yolo_are_the_same_pixels(tmp_path: Path) -> None:
    keypoints, box = [12.5, 20, 2, 40, 7.25, 1], [10, 5, 32, 20]
    category = {"id": 1, "name": "femur", "keypoints": ["left", "right"]}
    image = {"id": 1, "file_name": "1.png", "height": HEIGHT, "width": WIDTH}
    annotation = {"image_id": 1, "category_id": 1, "bbox": box, "keypoints": keypoints}
    write_coco(tmp_path / "coco" / "a.json", [annotation], images=[image], categories=[category])
    write_image(tmp_path / "coco" / "1.png")
    # As the tools for YOLO convert COCO: every coordinate divided by the side of the image.
    line = [0, (box[0] + box[2] / 2) / WIDTH, (box[1] + box[3] / 2) / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT]
    for x, y, visibility in (keypoints[:3], keypoints[3:]):
        line += [x / WIDTH, y / HEIGHT, visibility]
    source = write_yolo(tmp_path / "yolo", {"1": " ".join(map(str, line))}, "names: [femur]\nkpt_shape: [2, 3]")
    for folder in (tmp_path / "coco", source):
        imported(folder, tmp_path / f"{folder.name}-out")
    expected = labels(tmp_path / "coco-out")["task", "1.png"]
    np.testing.assert_allclose(labels(tmp_path / "yolo-out")["task", "images/1.png"], expected)


@pytest.mark.parametrize(
    ("names", "kind", "reason"),
    [
        ("names: [a]\nkpt_shape: [1, 3]", TaskType.SEGMENTATION, "data.yaml has landmarks"),
        ("names: [a]", TaskType.REGRESSION, "data.yaml has no kpt_shape"),
    ],
)
def test_a_type_that_the_files_do_not_hold_is_refused(tmp_path: Path, names: str, kind: TaskType, reason: str) -> None:
    source = write_yolo(tmp_path / "source", {"1": BOX}, names)
    with pytest.raises(InputError, match=reason):
        imported(source, tmp_path / "out", kind=kind)


def test_a_line_of_another_number_of_landmarks_is_counted(tmp_path: Path) -> None:
    texts = {"1": f"{BOX} 0.5 0.5 2", "2": BOX, "3": f"{BOX} 50 50 2"}
    source = write_yolo(tmp_path / "source", texts, "names: [a]\nkpt_shape: [1, 3]")
    assert left_out(imported(source, tmp_path / "out")) == {
        "a line has another number of coordinates than a box and its landmarks (kpt_shape) need": 1,
        "a line has pixels where fractions of the image are expected": 1,
    }


def test_images_without_text_files_are_refused(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"1": BOX})
    (source / "labels" / "1.txt").unlink()
    with pytest.raises(InputError, match="expected a text file for each image, found none"):
        imported(source, tmp_path / "out", format_name="yolo")
