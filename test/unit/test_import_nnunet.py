"""The raw data of nnU-Net become input roots."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from support.formats import disc, imported, labels, left_out, write_image, write_mask

from aurora.errors import InputError
from aurora.tasks import TaskType

LABELS = {"background": 0, "lesion": 1, "cyst": 2}


def write_nnunet(root: Path, names: Any = LABELS) -> Path:
    """Write two cases for training and one for testing, of PNG files, and dataset.json."""
    for ending, cases in (("Tr", ("a_1", "a_2")), ("Ts", ("b",))):
        for number, case in enumerate(cases, start=1):
            write_image(root / f"images{ending}" / f"{case}_0000.png")
            write_mask(root / f"labels{ending}" / f"{case}.png", disc(value=number))
    (root / "dataset.json").write_text(json.dumps({"labels": names, "file_ending": ".png"}))
    return root


@pytest.mark.parametrize("names", [LABELS, {"0": "background", "1": "lesion", "2": "cyst"}])
def test_cases_for_training_and_testing_become_roots(tmp_path: Path, names: dict[str, Any]) -> None:
    lines = imported(write_nnunet(tmp_path / "source", names), tmp_path / "out")
    assert lines[0].endswith("was read as nnunet, there are dataset.json and imagesTr")
    assert left_out(lines) == {}
    train, test = labels(tmp_path / "out" / "train"), labels(tmp_path / "out" / "test")
    assert np.array_equal(train["task", "imagesTr/a_2_0000.png"], disc(value=2))
    assert np.array_equal(test["task", "imagesTs/b_0000.png"], disc(value=1))
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [background, lesion, cyst]\n"


def test_slices_in_nifti_files_are_read_in_the_same_orientation(tmp_path: Path) -> None:
    source = tmp_path / "source"
    image = (200 * disc(x=10, y=30)).astype(np.uint8)
    for folder, name, pixels in (("imagesTr", "a_0000", image), ("labelsTr", "a", disc(x=10, y=30))):
        (source / folder).mkdir(parents=True)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels[None]), str(source / folder / f"{name}.nii.gz"))
    (source / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "lesion": 1}}))
    imported(source, tmp_path / "out")
    assert np.array_equal(labels(tmp_path / "out")["task", "imagesTr/a_0000.nii.gz"], disc(x=10, y=30))


def spoil(root: Path, kind: str) -> None:
    """Make the case a_2 bad in one way."""
    image, mask = root / "imagesTr" / "a_2_0000.png", root / "labelsTr" / "a_2.png"
    if kind == "no mask":
        mask.unlink()
    elif kind == "no image":
        image.unlink()
    elif kind == "no channel":
        image.rename(image.with_name("a_2.png"))
    elif kind == "channel":
        write_image(image.with_name("a_2_0001.png"))
        image.unlink()
        mask.unlink()
    elif kind == "size":
        write_mask(mask, disc()[1:])
    elif kind == "value":
        write_mask(mask, disc(value=3))
    elif kind == "colours":
        write_mask(mask, np.dstack([disc(), disc(), disc(value=0)]))
    elif kind == "damaged mask":
        mask.write_bytes(mask.read_bytes()[:40])
    elif kind == "empty image":
        image.write_bytes(b"")
    elif kind == "damaged image":
        image.write_bytes(image.read_bytes()[:20])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no mask", "the image has no mask"),
        ("no image", "the mask has no image"),
        ("no channel", "the name of the image doesn't end with its channel, as in _0000"),
        ("channel", "the image is a further channel; only the first is taken"),
        ("size", "its mask is of another size"),
        ("value", "its mask has a value that is no class"),
        ("colours", "its mask can't be used: expected one channel of class ids, found a colour image"),
        ("damaged mask", "its mask can't be used: "),
        ("empty image", "the image is empty"),
        ("damaged image", "the image "),
    ],
)
def test_a_case_that_cannot_be_used_is_counted(tmp_path: Path, kind: str, reason: str) -> None:
    source = write_nnunet(tmp_path / "source")
    spoil(source, kind)
    found = left_out(imported(source, tmp_path / "out"))
    assert [count for text, count in found.items() if text.startswith(reason)] == [1]
    assert list(labels(tmp_path / "out" / "train")) == [("task", "imagesTr/a_1_0000.png")]


def test_pixels_to_ignore_are_no_class(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "source", {"background": 0, "lesion": 1, "ignore": 2})
    assert left_out(imported(source, tmp_path / "out")) == {"its mask has a value that is no class": 1}


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"labels": {"background": 0, "lesion": 2}}', '{"labels": {"whole": [1, 2], "core": [2]}}'],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, content: str) -> None:
    source = write_nnunet(tmp_path / "source")
    (source / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=r"expected (JSON|labels, a number from 0 on for each name), found"):
        imported(source, tmp_path / "out")


def test_more_classes_than_a_mask_holds_are_refused(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "source", {f"class {number}": number for number in range(257)})
    with pytest.raises(InputError, match="expected at most 256 classes, found 257"):
        imported(source, tmp_path / "out")


def test_other_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected --type segmentation for nnU-Net"):
        imported(write_nnunet(tmp_path / "source"), tmp_path / "out", kind=TaskType.DETECTION)
