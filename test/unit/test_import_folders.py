"""Folders of images with masks, or of classes, become input roots."""

from pathlib import Path

import numpy as np
import pytest
from support.formats import HEIGHT, WIDTH, disc, imported, labels, left_out, write_image, write_mask

from aurora.errors import InputError
from aurora.tasks import TaskType


def test_two_folders_of_images_and_masks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(3):
        write_image(source / "images" / f"{number}.jpg")
    masks = [write_mask(source / "masks" / f"{number}.png", disc(radius=number, value=2)) for number in range(3)]
    imported(source, tmp_path / "out")
    found = labels(tmp_path / "out")
    assert list(found) == [("task", f"images/{number}.jpg") for number in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(found.values(), masks, strict=True))


def test_the_inner_folder_tells_images_from_masks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_image(source / "Segmentation" / "IMAGES" / "a.png")
    mask = write_mask(source / "Segmentation" / "MASKS" / "a.png", disc())
    imported(source, tmp_path / "out")
    assert np.array_equal(labels(tmp_path / "out")["task", "Segmentation/IMAGES/a.png"], mask)


def test_folders_of_classes_whose_masks_are_named_after_their_images(tmp_path: Path) -> None:
    source = tmp_path / "BUSI"
    write_image(source / "benign" / "benign (1).png")
    first = write_mask(source / "benign" / "benign (1)_mask.png", disc(x=15, value=255))
    second = write_mask(source / "benign" / "benign (1)_mask_1.png", disc(x=45, value=255))
    write_image(source / "normal" / "normal (1).png")
    write_mask(source / "normal" / "normal (1)_mask.png", disc(value=0))
    lines = imported(source, tmp_path / "masks", patient=r"\((\d+)\)")
    found = labels(tmp_path / "masks")
    assert np.array_equal(found["task", "benign/benign (1).png"], np.maximum(first, second) // 255)
    assert not found["task", "normal/normal (1).png"].any()
    assert any("0 as 0, 255 as 1" in line for line in lines)
    imported(source, tmp_path / "classes", kind=TaskType.CLASSIFICATION)
    assert labels(tmp_path / "classes") == {
        ("task", "benign/benign (1).png"): 0,
        ("task", "normal/normal (1).png"): 1,
    }


def test_an_empty_folder_is_a_class_that_keeps_its_number(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("cyst", "mass"):
        write_image(source / "train" / name / "1.png")
    (source / "train" / "fibroid").mkdir()
    lines = imported(source, tmp_path / "out")
    assert labels(tmp_path / "out") == {("task", "train/cyst/1.png"): 0, ("task", "train/mass/1.png"): 2}
    assert "note (1): no image has this class, which keeps its number [1 fibroid]" in lines


def test_folders_of_classes_in_splits_become_a_root_per_split(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for split in ("train", "val"):
        for name in ("cyst", "mass"):
            write_image(source / split / name / "1.png")
    imported(source, tmp_path / "out")
    expected = {("task", "val/cyst/1.png"): 0, ("task", "val/mass/1.png"): 1}
    assert labels(tmp_path / "out" / "val") == expected
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [cyst, mass]\n"


def test_names_of_classes_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in ("Left Kidney/images", "left kidney", "Spleen", "."):
        write_image(source / folder / f"{len(folder)}.png")
    lines = imported(source, tmp_path / "out")
    assert labels(tmp_path / "out") == {
        ("task", "Left Kidney/images/18.png"): 0,
        ("task", "left kidney/11.png"): 0,
        ("task", "Spleen/6.png"): 1,
    }
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [Left Kidney, Spleen]\n"
    assert left_out(lines) == {"the image is in no folder of a class": 1}


def test_names_of_folders_may_hold_more_than_images_and_masks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for split in ("train", "test"):
        write_image(source / f"{split}_images" / "1.png")
        write_mask(source / f"{split}_masks" / "1_mask.png", disc())
    imported(source, tmp_path / "out")
    assert np.array_equal(labels(tmp_path / "out" / "test")["task", "test_images/1.png"], disc())


def bad_source(root: Path, kind: str) -> None:
    """Write a good pair, and one that is bad in one way."""
    write_image(root / "images" / "good.png")
    write_mask(root / "masks" / "good.png", disc())
    image, mask = root / "images" / "bad.png", root / "masks" / "bad.png"
    write_image(image)
    write_mask(mask, disc())
    if kind == "no mask":
        mask.unlink()
    elif kind == "no image":
        image.unlink()
    elif kind == "two images":
        write_image(root / "images" / "bad.bmp")
    elif kind == "size":
        write_mask(mask, disc()[1:])
    elif kind == "JPEG":
        mask.unlink()
        write_mask(mask.with_suffix(".jpg"), disc(value=255))
    elif kind == "lossy":
        write_mask(mask, (np.arange(HEIGHT * WIDTH) % 256).reshape(HEIGHT, WIDTH).astype(np.uint8))
    elif kind == "colours":
        write_mask(mask, np.dstack([disc(), disc(), disc(value=0)]))
    elif kind == "damaged mask":
        mask.write_bytes(mask.read_bytes()[:40])
    elif kind == "text as mask":
        mask.write_text("a mask")
    elif kind == "empty image":
        image.write_bytes(b"")
    elif kind == "text as image":
        image.write_text("an image")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no mask", "the image has no mask"),
        ("no image", "the mask has no image"),
        ("two images", "several images have the name of one mask"),
        ("size", "its mask is of another size"),
        ("JPEG", "its mask is a JPEG file, whose compression changes the classes; save it as PNG"),
        ("lossy", "its mask has more than 32 values, as lossy compression makes them"),
        ("colours", "its mask can't be used: expected one channel of class ids, found a colour image"),
        ("damaged mask", "its mask can't be used: "),
        ("text as mask", "its mask can't be used: "),
        ("empty image", "the image is empty"),
        ("text as image", "the image "),
    ],
)
def test_what_cannot_be_imported_is_counted(tmp_path: Path, kind: str, reason: str) -> None:
    bad_source(tmp_path / "source", kind)
    ((found, count),) = left_out(imported(tmp_path / "source", tmp_path / "out")).items()
    assert found.startswith(reason)
    assert count == 1
    assert list(labels(tmp_path / "out")) == [("task", "images/good.png")]


def test_names_in_another_letter_case_belong_together(tmp_path: Path) -> None:
    write_image(tmp_path / "source" / "Images" / "A.PNG")
    write_mask(tmp_path / "source" / "Masks" / "a.png", disc())
    imported(tmp_path / "source", tmp_path / "out")
    assert list(labels(tmp_path / "out")) == [("task", "Images/A.PNG")]


@pytest.mark.parametrize("kind", [TaskType.DETECTION, TaskType.CLASSIFICATION])
def test_a_type_that_folders_do_not_hold_is_refused(tmp_path: Path, kind: TaskType) -> None:
    bad_source(tmp_path / "source", "good")
    with pytest.raises(InputError, match=f"found neither for {kind}"):
        imported(tmp_path / "source", tmp_path / "out", kind=kind)
