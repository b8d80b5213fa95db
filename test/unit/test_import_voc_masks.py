"""Pascal VOC's masks become input roots."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.formats import HEIGHT, WIDTH, disc, imported, labels, left_out, write_image

from aurora.errors import InputError
from aurora.tasks import TaskType
from training.exchange.source import Unusable
from training.exchange.voc_masks import VOID, nearest_class, palette_colour

# Of VOC's own palette: entry n of the table.
PALETTE = [*(0, 0, 0), *(128, 0, 0), *(0, 128, 0)]


def write_voc_mask(source: Path, name: str, mask: np.ndarray) -> np.ndarray:
    """Write an image and a mask with a palette, as the devkit has them, and return the mask."""
    write_image(source / "JPEGImages" / f"{name}.jpg")
    (source / "SegmentationClass").mkdir(exist_ok=True, parents=True)
    image = Image.fromarray(mask, mode="P")
    image.putpalette(PALETTE + [0] * (768 - len(PALETTE)))
    image.save(source / "SegmentationClass" / f"{name}.png")
    return mask


def outlined(value: int) -> np.ndarray:
    """Return a disc of a class with an outline of five pixels that have no class, as VOC has around every object."""
    return cv2.circle(disc(value=value), (20, 20), 9, VOID, 5)


def test_masks_with_a_palette_are_class_ids_and_outlines_get_the_nearest_class(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_voc_mask(source, "1", outlined(2))
    plain = write_voc_mask(source, "2", disc(radius=5))
    lines = imported(source, tmp_path / "out")
    assert lines[0].endswith("was read as voc, there is a folder SegmentationClass")
    found = labels(tmp_path / "out")
    assert np.array_equal(found["task", "JPEGImages/2.jpg"], plain)
    mask = found["task", "JPEGImages/1.jpg"]
    assert set(np.unique(mask)) == {0, 2}
    changed = mask != disc(value=2)  # half of the outline is inside, half outside
    assert changed.sum() < 0.25 * (outlined(2) == VOID).sum()
    assert "note (1): pixels without a class (255) got that of the nearest pixel [JPEGImages/1.jpg]" in lines
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [background, class 1, class 2]\n"


def test_the_lists_for_masks_say_the_split_and_a_file_names_the_classes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("1", "2"):
        write_voc_mask(source, name, disc())
    (source / "class_names.txt").write_text("_background_\nlesion\n")
    lists = source / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("1\n")
    (lists / "val.txt").write_text("2\n")
    imported(source, tmp_path / "out")
    assert list(labels(tmp_path / "out" / "val")) == [("task", "JPEGImages/2.jpg")]
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [background, lesion]\n"


@pytest.mark.parametrize("background", [(0, 0, 0), (0, 128, 0)])
def test_colours_are_the_classes_that_the_map_of_labels_says(tmp_path: Path, background: tuple[int, ...]) -> None:
    source = tmp_path / "source"
    write_image(source / "JPEGImages" / "1.png")
    write_image(source / "JPEGImages" / "2.png")
    (source / "SegmentationClass").mkdir()
    table = np.array([background, (250, 50, 83), (10, 20, 30)], np.uint8)
    mask = disc() + 2 * disc(x=45)
    Image.fromarray(table[mask]).save(source / "SegmentationClass" / "1.png")
    Image.fromarray(table[mask] + 1).save(source / "SegmentationClass" / "2.png")
    lines = ["# label:color_rgb:parts:actions", "background:{},{},{}::".format(*background)]
    (source / "labelmap.txt").write_text("\n".join([*lines, "lesion:250,50,83::", "cyst:10,20,30::\n"]))
    lines = imported(source, tmp_path / "out")
    found = labels(tmp_path / "out")
    assert list(found) == [("task", "JPEGImages/1.png")]
    assert np.array_equal(found["task", "JPEGImages/1.png"], mask)
    assert left_out(lines) == {"its mask has a colour that labelmap.txt doesn't list": 1}
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [background, lesion, cyst]\n"


def test_classes_without_a_colour_have_that_of_the_palette(tmp_path: Path) -> None:
    source = tmp_path / "source"
    mask = write_voc_mask(source, "1", np.where(disc(x=40) > 0, 2, disc()))
    (source / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:::\nlesion:::\ncyst:::\n")
    assert [value for number in range(3) for value in palette_colour(number)] == PALETTE
    imported(source, tmp_path / "out")
    assert np.array_equal(labels(tmp_path / "out")["task", "JPEGImages/1.jpg"], mask)
    assert (tmp_path / "out" / "task.yaml").read_text() == "names:\n  task: [background, lesion, cyst]\n"


def test_a_damaged_map_of_labels_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_voc_mask(source, "1", disc())
    (source / "labelmap.txt").write_text("lesion:250,50::\n")
    with pytest.raises(InputError, match=r"found 'lesion:250,50::' in .*labelmap\.txt; correct it"):
        imported(source, tmp_path / "out", kind=TaskType.SEGMENTATION)


def test_images_and_masks_without_the_other_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_voc_mask(source, "1", disc())
    write_voc_mask(source, "2", disc())
    write_voc_mask(source, "3", np.full((HEIGHT, WIDTH), VOID, np.uint8))
    write_voc_mask(source, "4", disc()[1:])
    write_voc_mask(source, "5", disc())
    write_image(source / "JPEGImages" / "6.jpg")
    write_image(source / "more" / "5.jpg")
    write_image(source / "SegmentationObject" / "1.png")
    (source / "JPEGImages" / "2.jpg").unlink()
    lines = imported(source, tmp_path / "out")
    assert list(labels(tmp_path / "out")) == [("task", "JPEGImages/1.jpg")]
    assert left_out(lines) == {
        "the mask has no image": 1,
        "the image has no mask": 1,
        "several images have the name of one mask": 1,
        "its mask has no pixel with a class": 1,
        "its mask is of another size": 1,
    }


def test_every_pixel_gets_the_class_of_a_nearest_one() -> None:
    mask = np.array([[1, 255, 255, 255, 0], [255, 255, 255, 255, 255]], np.uint8)
    filled = nearest_class(mask)
    assert filled[:, :2].tolist() == [[1, 1], [1, 1]]
    assert filled[:, 3:].tolist() == [[0, 0], [0, 0]]
    with pytest.raises(Unusable):
        nearest_class(np.full((2, 2), VOID, np.uint8))
