"""Pascal VOC's XML files become input roots of boxes."""

from pathlib import Path

import pytest
import supervision
from support.formats import HEIGHT, WIDTH, boxes_of_another_tool, imported, labels, left_out, write_image

from aurora.errors import InputError
from aurora.tasks import TaskType

BOX = (3, 4, 20, 21)


def thing(name: str = "lesion", box: tuple[object, ...] = BOX) -> str:
    """Return an object of a file; VOC counts from 1."""
    sides = "".join(
        f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"


def write_voc(root: Path, objects: dict[str, str], **parts: str) -> Path:
    """Write images and XML files in the folders of the devkit; `parts` replace those of the last file."""
    for number, (name, text) in enumerate(objects.items(), start=1):
        write_image(root / "JPEGImages" / f"{name}.jpg")
        replaced = parts if number == len(objects) else {}
        filename = replaced.get("filename", f"<filename>{name}.jpg</filename>")
        size = replaced.get("size", f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>1</depth></size>")
        (root / "Annotations").mkdir(exist_ok=True)
        content = replaced.get("file", f"<annotation>{filename}{size}{text}</annotation>")
        (root / "Annotations" / f"{name}.xml").write_text(content)
    return root


def test_boxes_from_pixel_1_on_become_edges(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "source", {"1": thing(), "2": thing("cyst", (1, 1, WIDTH, HEIGHT))})
    lines = imported(source, tmp_path / "out")
    assert lines[0].endswith("was read as voc, 1.xml is an annotation in XML")
    assert {key: box.tolist() for key, box in labels(tmp_path / "out").items()} == {
        ("task_lesion", "JPEGImages/1.jpg"): [2, 3, 20, 21],
        ("task_cyst", "JPEGImages/2.jpg"): [0, 0, WIDTH, HEIGHT],
    }
    assert left_out(lines) == {}


def test_lists_of_names_say_the_split(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "source", {name: thing() for name in ("1", "2", "3")})
    lists = source / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("1\n2\n")
    (lists / "val.txt").write_text("3\n")
    imported(source, tmp_path / "out")
    assert len(labels(tmp_path / "out" / "train")) == 2
    assert list(labels(tmp_path / "out" / "val")) == [("task", "JPEGImages/3.jpg")]


def test_files_of_another_tool_are_read_as_that_tool_wrote_them(tmp_path: Path) -> None:
    source, boxes = boxes_of_another_tool(tmp_path, supervision.DetectionDataset.as_pascal_voc)
    imported(source, tmp_path / "out")
    found = {name: tuple(box) for (_, name), box in labels(tmp_path / "out").items()}
    assert found == {f"images/{name}": box for name, box in boxes.items()}


def test_the_class_of_an_image_is_that_of_its_objects(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "source", {"1": thing() * 2, "2": thing("cyst")})
    imported(source, tmp_path / "out", kind=TaskType.CLASSIFICATION)
    assert labels(tmp_path / "out") == {("task", "JPEGImages/1.jpg"): 1, ("task", "JPEGImages/2.jpg"): 0}


@pytest.mark.parametrize(
    ("text", "parts", "reason"),
    [
        ("", {}, "the image has no usable box"),
        (thing() + thing(box=(1, 1, 9, 9)), {}, "the image has more than one box of a class, and the layout holds one"),
        (thing(box=(9, 1, 3, 9)), {}, "a box has no area"),
        (thing(box=("x", 1, 3, 9)), {}, "a box has coordinates that aren't numbers"),
        (thing(box=("nan", 1, 3, 9)), {}, "a box has coordinates that aren't numbers"),
        (thing(box=("", 1, 3, 9)), {}, "the XML file has no bndbox/xmin"),
        (thing(box=(WIDTH + 5, 1, WIDTH + 9, 9)), {}, "a box lies outside the image"),
        (thing(), {"filename": "<filename>3.jpg</filename>"}, "its image is missing"),
        (thing(), {"filename": ""}, "the XML file has no filename"),
        (thing(), {"filename": "<filename>1.jpg</filename>"}, "another XML file names the same image"),
        (
            thing(),
            {"size": "<size><width>9</width><height>9</height></size>"},
            "the file states another size than that of the image",
        ),
        (thing(), {"file": "<annotation>"}, "the XML file is damaged"),
        (thing(), {"file": "<svg></svg>"}, "the XML file is no annotation"),
        (thing(), {"file": "<?xml version='1.0' encoding='klingon'?><annotation/>"}, "the XML file is damaged"),
    ],
)
def test_an_image_that_cannot_be_used_is_counted(tmp_path: Path, text: str, parts: dict[str, str], reason: str) -> None:
    source = write_voc(tmp_path / "source", {"1": thing(), "2": text}, **parts)
    assert left_out(imported(source, tmp_path / "out"))[reason] == 1
    assert list(labels(tmp_path / "out")) == [("task", "JPEGImages/1.jpg")]


def test_names_too_long_for_tasks_and_lists_that_are_no_text_are_refused(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "long", {"1": thing("x" * 200), "2": thing()})
    with pytest.raises(InputError, match="expected names of classes of at most 150 bytes"):
        imported(source, tmp_path / "out")
    source = write_voc(tmp_path / "source", {"1": thing()})
    (source / "ImageSets" / "Main").mkdir(parents=True)
    (source / "ImageSets" / "Main" / "train.txt").write_bytes(b"\xff1")
    with pytest.raises(InputError, match=r"expected text in UTF-8, found .*train\.txt; save it as UTF-8"):
        imported(source, tmp_path / "out")


def test_a_size_of_0_and_a_path_of_windows_are_understood(tmp_path: Path) -> None:
    parts = {
        "size": "<size><width>0</width><height>0</height></size>",
        "filename": "<filename>C:\\scans\\2.JPG</filename>",
    }
    source = write_voc(tmp_path / "source", {"1": thing(), "2": thing()}, **parts)
    lines = imported(source, tmp_path / "out")
    assert len(labels(tmp_path / "out")) == 2
    assert "note (1): its path has backslashes; the image was found by its name [JPEGImages/2.jpg]" in lines


@pytest.mark.parametrize(
    ("objects", "kind", "reason"),
    [
        ("", None, "expected XML files with the names of objects"),
        (thing(), TaskType.SEGMENTATION, "expected masks in SegmentationClass, found none"),
        (thing(), TaskType.REGRESSION, "whose labels are boxes and masks"),
    ],
)
def test_a_source_without_such_labels_is_refused(
    tmp_path: Path, objects: str, kind: TaskType | None, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        imported(write_voc(tmp_path / "source", {"1": objects}), tmp_path / "out", kind=kind)
