"""Image files that are damaged, dangerous or of another format."""

import os
import struct
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.files import JPEG, PNG, RAMP, bomb, encoded, patched, png_header

from aurora.errors import ImageError
from aurora.images import image_size, read_image, read_mask
from aurora.images.headers import MAX_BYTES
from aurora.images.reader import load_model_input
from aurora.rows import Row
from aurora.tasks import TaskType


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"<html><body>404 not found</body></html>", "is a web page"),
        (PNG[:20], "cut short in its header"),
        (PNG[: len(PNG) // 2], "truncated"),
        (patched(PNG, PNG.index(b"IEND") - 8), "damaged"),
        (patched(PNG, PNG.index(b"IDAT") + 20), "damaged"),
        (patched(PNG, 30), "damaged"),
        (JPEG[:100], "cut short in its header"),
        (encoded("BMP")[:200], "damaged"),
        (encoded("TIFF")[:200], "cut short|damaged"),
        (encoded("GIF")[:200], "damaged"),
        (encoded("WEBP")[:30], "damaged"),
        (png_header(0, 5), "size 0x5"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = write(tmp_path / "i.png", data)
    with pytest.raises(ImageError, match=rf"i\.png.*({reason})"):
        read_image(path, tmp_path)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 3, 25])
def test_a_truncated_jpeg_gives_the_pixels_imread_gives_and_a_warning(
    tmp_path: Path, progressive: bool, missing: int
) -> None:
    path = write(tmp_path / "i.jpg", encoded("JPEG", progressive=progressive)[:-missing])
    image = read_image(path, tmp_path)
    expected = cv2.imread(str(path))
    assert expected is not None
    assert np.array_equal(image.pixels, expected[..., ::-1])
    assert any("truncated" in warning for warning in image.warnings)


def test_bytes_after_the_end_of_a_jpeg_are_no_truncation(tmp_path: Path) -> None:
    assert read_image(write(tmp_path / "i.jpg", JPEG + b"trailer"), tmp_path).warnings == ()


@pytest.mark.parametrize("name", ["i.png", "i.tiff"])
def test_16_bits_use_the_whole_range(tmp_path: Path, name: str) -> None:
    cv2.imwrite(str(tmp_path / name), RAMP.astype(np.uint16))
    image = read_image(tmp_path / name, tmp_path)
    assert (image.pixels.min(), image.pixels.max()) == (0, 255)
    assert np.all(np.diff(image.pixels[..., 0].ravel().astype(int)) >= 0)
    assert any("uint16" in warning for warning in image.warnings)


def test_16_bit_colours_keep_their_order(tmp_path: Path) -> None:
    blue = np.zeros((24, 40, 3), np.uint16)
    blue[..., 0] = RAMP
    cv2.imwrite(str(tmp_path / "i.png"), blue)
    pixels = read_image(tmp_path / "i.png", tmp_path).pixels
    assert pixels[..., 2].max() == 255
    assert pixels[..., :2].max() == 0


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.int32])
def test_other_numbers_in_a_tiff_are_scaled(tmp_path: Path, kind: type) -> None:
    cv2.imwrite(str(tmp_path / "i.tiff"), (RAMP - 500).astype(kind))
    pixels = read_image(tmp_path / "i.tiff", tmp_path).pixels
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)
    assert abs(int(pixels[12, 0, 0]) - 128) < 3


def test_what_is_not_a_number_becomes_black(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[0], values[1, 0], values[1, 1] = np.nan, np.inf, -np.inf
    cv2.imwrite(str(tmp_path / "i.tiff"), values)
    pixels = read_image(tmp_path / "i.tiff", tmp_path).pixels[..., 0]
    assert not pixels[0].any()
    assert (pixels[1, 0], pixels[1, 1], pixels[-1, -1]) == (255, 0, 255)


@pytest.mark.parametrize("value", [np.nan, 5.0, np.finfo(np.float64).max])
def test_an_image_without_contrast_is_still_one(tmp_path: Path, value: float) -> None:
    cv2.imwrite(str(tmp_path / "i.tiff"), np.full((4, 4), value))
    assert read_image(tmp_path / "i.tiff", tmp_path).pixels.shape == (4, 4, 3)


def test_a_few_bright_pixels_on_a_flat_ground_are_seen(tmp_path: Path) -> None:
    flat = np.full((40, 40), 100, np.uint16)
    flat[3, 3] = 1000
    cv2.imwrite(str(tmp_path / "i.png"), flat)
    assert read_image(tmp_path / "i.png", tmp_path).pixels[3, 3, 0] == 255


def test_a_bomb_is_refused_from_its_header_and_its_size_is_known(tmp_path: Path) -> None:
    side = 20000
    path = write(tmp_path / "i.png", bomb(side))
    with pytest.raises(ImageError, match="20000x20000"):
        read_image(path, tmp_path)
    with pytest.raises(ImageError, match="20000x20000"):
        read_mask(path)
    assert image_size(path, tmp_path) == (side, side)


def test_a_bomb_that_pillow_opens_is_refused_too(tmp_path: Path) -> None:
    gif = bytearray(encoded("GIF"))
    gif[6:10] = struct.pack("<HH", 65000, 65000)
    with pytest.raises(ImageError, match="65000x65000"):
        read_image(write(tmp_path / "i.gif", bytes(gif)), tmp_path)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_of_several_frames_the_first_is_taken_with_a_warning(tmp_path: Path, kind: str) -> None:
    frames = [PIL.Image.fromarray(np.full((8, 9, 3), value, np.uint8)) for value in (40, 200, 90)]
    frames[0].save(tmp_path / "i", kind, save_all=True, append_images=frames[1:])
    image = read_image(tmp_path / "i", tmp_path)
    assert abs(int(image.pixels[0, 0, 0]) - 40) < 6
    assert any("several frames" in warning for warning in image.warnings)


def test_only_regular_files_inside_the_input_folder_are_opened(tmp_path: Path) -> None:
    root = tmp_path / "input"
    (root / "folder.png").mkdir(parents=True)
    os.mkfifo(root / "fifo.png")
    write(tmp_path / "outside.png", PNG)
    (root / "out.png").symlink_to(tmp_path / "outside.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    reasons = {
        "folder.png": "regular file|directory",
        "fifo.png": "regular file",
        "out.png": "leads out of",
        "loop.png": "can't be opened",
        "absent.png": "No such file",
        "nul\0.png": "can't be opened",
        "x" * 300: "too long",
    }
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=reason):
            read_image(root / name, root)
        with pytest.raises(ImageError, match=reason):
            image_size(root / name, root)


def test_the_size_costs_no_memory_for_the_rest_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "i.jpg", JPEG)
    with path.open("ab") as file:
        file.truncate(200 << 20)
        file.seek(0, 2)
        file.write(b"\xff\xd9")
    tracemalloc.start()
    try:
        assert image_size(path, tmp_path) == (24, 40)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [PNG[: len(PNG) // 2], patched(PNG, PNG.index(b"IDAT") + 20)])
def test_an_image_that_cannot_be_decoded_has_the_size_of_its_header(tmp_path: Path, data: bytes) -> None:
    write(tmp_path / "i.png", data)
    row = Row("lung", TaskType.SEGMENTATION, 2, "../i.png", None, "a.csv:2", {})
    model_input = load_model_input(tmp_path, row, (8, 8))
    assert (model_input.pixels, model_input.size) == (None, (24, 40))
    assert "can't be decoded" in str(model_input.reason)


def test_a_link_inside_the_input_folder_and_a_linked_input_folder_are_fine(tmp_path: Path) -> None:
    root = tmp_path / "real"
    root.mkdir()
    write(root / "i.png", PNG)
    (root / "link.png").symlink_to("i.png")
    (tmp_path / "input").symlink_to(root)
    assert read_image(tmp_path / "input" / "link.png", tmp_path / "input").pixels.shape == (24, 40, 3)


def test_a_file_too_large_for_memory_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "i.png", PNG)
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(ImageError, match="larger than 1 GiB"):
        read_image(path, tmp_path)


def test_a_mask_of_colours_or_large_numbers_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "colour.png"), np.dstack([RAMP, RAMP + 1, RAMP]).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "large.png"), RAMP.astype(np.uint16))
    cv2.imwrite(str(tmp_path / "float.tiff"), (RAMP % 3 + 0.5).astype(np.float32))
    for name, reason in (("colour.png", "colour"), ("large.png", "0 to 255"), ("float.tiff", "0 to 255")):
        with pytest.raises(ImageError, match=reason):
            read_mask(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"]), st.data())
def test_no_damage_makes_the_reader_fail_in_another_way(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    whole = bytearray(encoded(kind))
    for at in data.draw(st.lists(st.integers(0, min(len(whole), 300) - 1), max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    path = write(tmp_path / "i", bytes(whole))
    try:
        pixels = read_image(path, tmp_path).pixels
    except ImageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)
    assert min(image_size(path, tmp_path)) > 0
