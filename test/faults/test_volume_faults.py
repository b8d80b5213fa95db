"""Medical formats: volumes, DICOM windows and inverted greys, damaged files."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from aurora.errors import ImageError
from aurora.images import image_size, read_image
from aurora.images.reader import ModelInput, load_model_input
from aurora.rows import Row
from aurora.tasks import TaskType

RAMP = np.arange(24 * 40).reshape(24, 40)


@pytest.mark.parametrize("name", ["v.mha", "v.nii", "v.nii.gz", "v.dcm"])
def test_of_a_volume_the_middle_slice_is_taken_with_a_warning(tmp_path: Path, name: str) -> None:
    volume = np.stack([RAMP * 0, RAMP // 4, RAMP * 0 + 9]).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(tmp_path / name))
    image = read_image(tmp_path / name, tmp_path)
    assert np.array_equal(image.pixels[..., 1], volume[1])
    assert any("3 slices" in warning for warning in image.warnings)
    assert image_size(tmp_path / name, tmp_path) == (24, 40)


def test_a_volume_in_time_and_one_of_floats(tmp_path: Path) -> None:
    values = np.zeros((3, 2, 24, 40), np.float32)
    values[1, 1] = RAMP
    values[1, 1, 0, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=False), str(tmp_path / "v.nii.gz"))
    pixels = read_image(tmp_path / "v.nii.gz", tmp_path).pixels
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)


def dicom(path: Path, photometric: bytes = b"MONOCHROME2 ", window: tuple[int, int] | None = None) -> Path:
    """Write a 12-bit DICOM file of the ramp; SimpleITK doesn't write these tags, so they are inserted as bytes."""
    sitk.WriteImage(sitk.GetImageFromArray(RAMP.astype(np.uint16)[None]), str(path))
    data = path.read_bytes().replace(b"MONOCHROME2 ", photometric)
    for tag, value in ((b"\x28\0\x01\x01", 12), (b"\x28\0\x02\x01", 11)):
        at = data.index(tag) + 8
        data = data[:at] + struct.pack("<H", value) + data[at + 2 :]
    if window:
        shown = [f"{value}\\1".encode() for value in window]
        shown = [value + b" " * (len(value) % 2) for value in shown]
        tags = b"".join(
            struct.pack("<HHI", 0x28, element, len(value)) + value
            for element, value in zip((0x1050, 0x1051), shown, strict=True)
        )
        at = data.index(b"\x28\0\x52\x10")
        data = data[:at] + tags + data[at:]
    path.write_bytes(data)
    return path


def test_a_dicom_window_is_respected(tmp_path: Path) -> None:
    pixels = read_image(dicom(tmp_path / "i.dcm", window=(300, 101)), tmp_path).pixels[..., 0].ravel()
    assert pixels[249] == 0
    assert pixels[350] == 255
    assert abs(int(pixels[300]) - 128) < 3


def test_monochrome1_is_inverted_with_and_without_a_window(tmp_path: Path) -> None:
    bright = read_image(dicom(tmp_path / "i.dcm", window=(300, 101)), tmp_path).pixels
    dark = read_image(dicom(tmp_path / "j.dcm", b"MONOCHROME1 ", (300, 101)), tmp_path).pixels
    assert np.abs(255 - bright.astype(int) - dark).max() <= 3
    plain = read_image(dicom(tmp_path / "k.dcm", b"MONOCHROME1 "), tmp_path).pixels
    assert (plain[0, 0, 0], plain[-1, -1, 0]) == (255, 0)


def test_dicom_is_known_by_its_content_and_may_hold_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (1, 24, 40, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "c.dcm"))
    path = (tmp_path / "c.dcm").rename(tmp_path / "c.png")
    assert np.array_equal(read_image(path, tmp_path).pixels, colours[0])


@pytest.mark.parametrize("name", ["v.mha", "v.nii", "v.nii.gz", "v.dcm"])
@pytest.mark.parametrize("part", [0.5, 0.02])
def test_a_damaged_volume_is_refused(tmp_path: Path, name: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 24, 40), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(tmp_path / name))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageError, match=r"v\.") as caught:
        read_image(tmp_path / name, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_metaimage_may_not_name_another_file(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(RAMP.astype(np.uint8)), str(tmp_path / "secret.mhd"))
    path = (tmp_path / "secret.mhd").rename(tmp_path / "v.mha")
    with pytest.raises(ImageError, match="pixels are in another file"):
        read_image(path, tmp_path)


def row(name: str) -> Row:
    return Row("lung", TaskType.SEGMENTATION, 2, f"../{name}", None, "a.csv:2", {})


def test_a_volume_that_is_too_large_is_refused_by_its_header_alone(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 24, 40), np.uint8)), str(tmp_path / "v.nii"))
    data = bytearray((tmp_path / "v.nii").read_bytes())
    data[40:56] = struct.pack("<8h", 3, 2048, 1024, 1024, 1, 1, 1, 1)
    # Its pixels are missing: had they been looked at, the file would be said to be truncated.
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(data))
    with pytest.raises(ImageError, match="its size 2048x1024x1024 is more than is read"):
        read_image(tmp_path / "v.nii.gz", tmp_path)
    assert image_size(tmp_path / "v.nii.gz", tmp_path) == (1024, 2048)
    reason = "its size 2048x1024x1024 is more than is read"
    assert load_model_input(tmp_path, row("v.nii.gz"), (8, 8)) == ModelInput(None, (1024, 2048), reason=reason)


def test_a_packed_volume_that_is_cut_short_has_the_size_of_its_header(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 24, 40), np.uint8)), str(tmp_path / "v.nii"))
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress((tmp_path / "v.nii").read_bytes()[:-1]))
    model_input = load_model_input(tmp_path, row("v.nii.gz"), (8, 8))
    assert (model_input.size, model_input.reason) == ((24, 40), "can't be decoded, the file is truncated")
