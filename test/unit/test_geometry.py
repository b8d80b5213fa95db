"""Masks in formats of volumes lie where their image lies, as ITK, with which 3D Slicer reads, understands both."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.dicom_images import write_image

from aurora.images import ImageSlice, encode_mask, read_image, read_mask

ENDINGS = [".nii.gz", ".nii", ".mha", ".nrrd"]
SIZE = (7, 5, 4, 3)
AXES = {
    "straight": np.eye(3),
    "turned": np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]]),
    "half a turn": np.diag([-1.0, -1, 1]),
    "mirrored": np.array([[0.6, 0.8, 0], [0.8, -0.6, 0], [0, 0, 1]]),
}


def write_volume(path: Path, axes: str, dimension: int) -> sitk.Image:
    """Write an image with a spacing, an origin and directions of its own."""
    pixels = np.arange(np.prod(SIZE[:dimension]), dtype=np.uint16).reshape(SIZE[:dimension][::-1])
    image = sitk.GetImageFromArray(pixels, isVector=False)
    directions = np.eye(dimension)
    directions[:3, :3] = AXES[axes][:dimension, :dimension]
    image.SetDirection(directions.ravel().tolist())
    image.SetSpacing((0.25, 0.5, 2, 1)[:dimension])
    image.SetOrigin((12.5, -30, 7, 0)[:dimension])
    sitk.WriteImage(image, str(path))
    return image


def corners(image: sitk.Image, slices: list[int]) -> np.ndarray:
    """Return where the first and the last pixel of some slices are, in mm."""
    further = [0] * (image.GetDimension() - 3)
    places = [[x, y, *([number] if image.GetDimension() > 2 else []), *further] for number in slices for x, y in _ENDS]
    return np.array([image.TransformIndexToPhysicalPoint(place)[:3] for place in places])


_ENDS = [(0, 0), (SIZE[0] - 1, 0), (0, SIZE[1] - 1)]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("source", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize(
    ("axes", "dimension"), [("straight", 2), *((name, 3) for name in AXES), ("turned", 4), ("mirrored", 4)]
)
def test_a_mask_lies_where_the_slice_lies_that_was_read(
    tmp_path: Path, ending: str, source: str, axes: str, dimension: int
) -> None:
    path = tmp_path / f"image{source}"
    image = write_volume(path, axes, dimension)
    mask = np.arange(35, dtype=np.uint8).reshape(5, 7)
    (tmp_path / f"mask{ending}").write_bytes(encode_mask(mask, ending, ImageSlice(path, tmp_path)))
    written = sitk.ReadImage(str(tmp_path / f"mask{ending}"))
    assert written.GetDimension() == min(dimension, 3)
    assert np.array_equal(sitk.GetArrayFromImage(written).reshape(5, 7), mask)
    assert np.allclose(corners(written, [0]), corners(image, [2]), atol=1e-5)
    if dimension == 3:
        assert np.allclose(written.GetDirection(), image.GetDirection(), atol=1e-6)
        assert np.allclose(written.GetSpacing(), image.GetSpacing())
    assert np.array_equal(read_mask(tmp_path / f"mask{ending}"), mask)


@pytest.mark.parametrize("axes", AXES)
def test_niftis_rotation_and_matrix_agree(tmp_path: Path, axes: str) -> None:
    image = write_volume(tmp_path / "image.mha", axes, 3)
    content = encode_mask(np.ones((5, 7), np.uint8), ".nii", ImageSlice(tmp_path / "image.mha", tmp_path))
    for name, code in (("matrix", 252), ("rotation", 254)):
        alone = bytearray(content)
        alone[code : code + 2] = b"\0\0"  # without the other, readers take this one
        (tmp_path / f"{name}.nii").write_bytes(alone)
        assert np.allclose(corners(sitk.ReadImage(str(tmp_path / f"{name}.nii")), [0]), corners(image, [2]), atol=1e-5)


def test_a_chosen_slice_has_its_own_place(tmp_path: Path) -> None:
    image = write_volume(tmp_path / "image.nrrd", "turned", 3)
    content = encode_mask(np.ones((5, 7), np.uint8), ".mha", ImageSlice(tmp_path / "image.nrrd", tmp_path, 3))
    (tmp_path / "mask.mha").write_bytes(content)
    assert np.allclose(corners(sitk.ReadImage(str(tmp_path / "mask.mha")), [0]), corners(image, [3]))


def test_a_mask_of_a_dicom_image_lies_in_the_patient(tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    header = write_image(path, "ct")
    header.ImagePositionPatient, header.ImageOrientationPatient = [10, 20, 30], [0, 1, 0, 0, 0, -1]
    header.save_as(path)
    mask = np.ones((59, 83), np.uint8)
    (tmp_path / "mask.nii.gz").write_bytes(encode_mask(mask, ".nii.gz", ImageSlice(path, tmp_path)))
    written, image = (sitk.ReadImage(str(tmp_path / name)) for name in ("mask.nii.gz", "image.dcm"))
    assert np.allclose(written.GetSpacing(), (0.4, 0.5, 2))
    assert np.allclose(corners(written, [0]), [[10, 20, 30], [10, 22.4, 30], [10, 20, 28]])
    assert np.allclose(corners(written, [0]), corners(image, [0]))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_mask_states_no_place_that_its_image_does_not_state(tmp_path: Path, ending: str) -> None:
    mask = np.ones((5, 7), np.uint8)
    plain = encode_mask(mask, ending)
    (tmp_path / "image.png").write_bytes(encode_mask(mask, ".png"))
    write_image(tmp_path / "image.dcm", "us_plain")
    write_volume(tmp_path / "image.nii", "turned", 3)
    for name in ("missing.nii", "image.png", "image.dcm"):
        assert encode_mask(mask, ending, ImageSlice(tmp_path / name, tmp_path)) == plain
    write_image(tmp_path / "image.dcm", "ct")
    # A fallback may be of another size than the image, and links must not lead out of the folder.
    for name in ("image.nii", "image.dcm"):
        assert encode_mask(mask[1:], ending, ImageSlice(tmp_path / name, tmp_path)) == encode_mask(mask[1:], ending)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.nii").symlink_to(tmp_path / "image.nii")
    assert encode_mask(mask, ending, ImageSlice(tmp_path / "root" / "link.nii", tmp_path / "root")) == plain


def test_the_slice_of_the_mask_is_the_slice_of_the_image(tmp_path: Path) -> None:
    image = write_volume(tmp_path / "image.mha", "straight", 4)
    pixels = sitk.GetArrayFromImage(image)
    shown = read_image(tmp_path / "image.mha", tmp_path).pixels[..., 0]
    middle = pixels[1, 2]
    assert np.corrcoef(shown.ravel(), middle.ravel())[0, 1] > 0.99
