"""Volumes are read as they are stored, whatever their geometry says; masks are written in the format of their names."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from aurora.errors import ImageError
from aurora.images import encode_mask, image_size, mask_name_problem, read_image, read_mask
from aurora.images.cine import open_cine
from aurora.images.volume import read_layout, read_middle

VALUES = np.random.default_rng(0).integers(0, 256, (5, 12, 16), np.uint8)
CORONAL = (1, 0, 0, 0, 0, 1, 0, -1, 0)
SAGITTAL = (0, 0, 1, 1, 0, 0, 0, 1, 0)
OBLIQUE = (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)


def written(path: Path, direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1), *, packed: bool = False) -> Path:
    image = sitk.GetImageFromArray(VALUES)
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.mha", "v.nrrd", "v.dcm"])
@pytest.mark.parametrize("direction", [CORONAL, SAGITTAL, OBLIQUE])
def test_the_middle_slice_as_stored_whatever_the_orientation(
    tmp_path: Path, name: str, direction: tuple[float, ...]
) -> None:
    path = written(tmp_path / name, direction)
    image = read_image(path, tmp_path)
    assert np.array_equal(image.pixels[..., 0], VALUES[2])
    assert image.warnings == ("the middle one of 5 slices was taken",)
    assert image_size(path, tmp_path) == (12, 16)


@pytest.mark.parametrize("name", ["v.nii", "v.mha", "v.nrrd"])
def test_spacing_and_shear_do_not_matter(tmp_path: Path, name: str) -> None:
    data = written(tmp_path / name).read_bytes()
    if name == "v.nii":
        data = data[:76] + bytes(32) + data[108:252] + b"\1\0\1\0" + data[256:280] + b"\7" * 48 + data[328:]
    data = data.replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 0 0 0")
    data = data.replace(b"(1,0,0) (0,1,0) (0,0,1)", b"(1,1,0) (1,1,0) (0,0,0)")
    (tmp_path / name).write_bytes(data)
    assert np.array_equal(read_image(tmp_path / name, tmp_path).pixels[..., 0], VALUES[2])


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("name", ["v.nii.gz", "v.mha", "v.nrrd"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_type_of_value_is_read_as_simpleitk_does(tmp_path: Path, kind: str, name: str, packed: bool) -> None:
    values = (VALUES.astype("f8") - 60).astype(kind)
    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), useCompression=packed)
    with path.open("rb", buffering=0) as file:
        pixels = read_middle(file, read_layout(file, path), path)
    assert pixels.dtype == values.dtype
    assert np.array_equal(pixels, values[2])


@pytest.mark.parametrize("name", ["v.mha", "v.nrrd"])
def test_colours_are_read_too(tmp_path: Path, name: str) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (3, 12, 16, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / name))
    assert np.array_equal(read_image(tmp_path / name, tmp_path).pixels, colours[1])


@pytest.mark.parametrize("name", ["v.nii.gz", "v.mha", "v.nrrd", "v.dcm"])
@pytest.mark.parametrize("other", ["i.png", "i.dcm", "i", "i.nii.gz"])
def test_the_content_decides_and_not_the_name(tmp_path: Path, name: str, other: str) -> None:
    path = written(tmp_path / name).rename(tmp_path / other)
    assert np.array_equal(read_image(path, tmp_path).pixels[..., 0], VALUES[2])


@pytest.mark.parametrize(
    "name", ["m.png", "m.bmp", "m.tif", "m.tiff", "m.pgm", "m.nii", "m.nii.gz", "m.mha", "m.nrrd", "M.PNG"]
)
def test_a_mask_is_written_in_the_format_of_its_name(tmp_path: Path, name: str) -> None:
    mask = VALUES[0]
    assert mask_name_problem(name) is None
    (tmp_path / name).write_bytes(encode_mask(mask, name))
    assert np.array_equal(read_mask(tmp_path / name), mask)
    if name not in ("m.bmp", "m.pgm"):  # SimpleITK doesn't read them, or as colours
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))), mask)
    assert encode_mask(mask, name) == encode_mask(mask, name)


@pytest.mark.parametrize("name", ["m.jpg", "m", "m.dcm", "m.gz"])
def test_a_mask_of_another_name_is_a_png_and_the_user_is_told(tmp_path: Path, name: str) -> None:
    assert "name it .png" in str(mask_name_problem(name))
    assert encode_mask(VALUES[0], name).startswith(b"\x89PNG")


def test_a_format_that_cannot_hold_a_mask_gives_no_bytes() -> None:
    assert encode_mask(np.zeros((1, 40_000), np.uint8), "m.nii") == b""
    assert encode_mask(np.zeros((1, 40_000), np.uint8), "m.mha") != b""


def vector(path: Path, components: int, *, moments: int = 1, dtype: type = np.uint8) -> np.ndarray:
    """Write a NIfTI file of five axes, and return its values (components, moments, slices, height, width)."""
    values = np.random.default_rng(components).integers(0, 256, (components, moments, 3, 12, 16)).astype(dtype)
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 5, 16, 12, 3, moments, components, 1, 1)
    struct.pack_into("<2h", header, 70, {np.uint8: 2, np.float32: 16}[dtype], 8 * values.itemsize)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    data = bytes(header) + values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return values


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
@pytest.mark.parametrize("moments", [1, 2])
def test_three_values_of_a_voxel_are_colours(tmp_path: Path, name: str, moments: int) -> None:
    values = vector(tmp_path / name, 3, moments=moments)
    image = read_image(tmp_path / name, tmp_path)
    assert np.array_equal(image.pixels, np.moveaxis(values[:, moments // 2, 1], 0, -1))
    assert image.warnings == (f"the middle one of {3 * moments} slices was taken",)
    assert image_size(tmp_path / name, tmp_path) == (12, 16)
    cine = open_cine(tmp_path / name)
    frames = [image.pixels for image in cine.images(range(cine.count)) if not isinstance(image, ImageError)]
    assert np.array_equal(frames, np.moveaxis(values.reshape(3, -1, 12, 16), 0, -1))


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_of_other_numbers_of_values_the_first_is_taken_with_a_warning(tmp_path: Path, name: str) -> None:
    values = vector(tmp_path / name, 2)
    image = read_image(tmp_path / name, tmp_path)
    assert np.array_equal(image.pixels[..., 0], values[0, 0, 1])
    assert image.warnings[1] == "the first one of 2 values per pixel was taken"
    pairs = np.random.default_rng(1).integers(0, 256, (3, 12, 16, 2), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(pairs, isVector=True), str(tmp_path / "v.mha"))
    image = read_image(tmp_path / "v.mha", tmp_path)
    assert np.array_equal(image.pixels[..., 0], pairs[1, ..., 0])
    assert image.warnings[1] == "the first one of 2 values per pixel was taken"


def test_vectors_are_read_as_simpleitk_does(tmp_path: Path) -> None:
    values = np.random.default_rng(2).random((3, 12, 16, 3), np.float32)
    path = tmp_path / "v.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(path))
    with path.open("rb", buffering=0) as file:
        pixels = read_middle(file, read_layout(file, path), path)
    assert np.array_equal(pixels, values[1])


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_a_vector_file_without_its_last_value_is_cut_short(tmp_path: Path, name: str) -> None:
    vector(tmp_path / "w.nii", 3)
    data = (tmp_path / "w.nii").read_bytes()[:-1]
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(ImageError, match="truncated"):
        read_image(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.mha", "v.nrrd"])
def test_a_header_that_claims_100_gigabytes_costs_nothing(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name)
    data = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    claims = (b"16 12 5", b"ElementNumberOfChannels = 1"), (b"9999 9999 9", b"ElementNumberOfChannels = 999")
    for before, after in zip(*claims, strict=True):
        data = data.replace(before, after)
    data = data[:40] + struct.pack("<8h", 5, 9999, 9999, 9, 1, 999, 1, 1) + data[56:] if ".nii" in name else data
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"9999x9999x9|truncated"):
            read_image(path, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
