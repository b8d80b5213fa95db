"""DICOM files are read as SimpleITK reads them, and shown as a viewer does."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file

from aurora.errors import ImageError
from aurora.images import image_size, read_image
from aurora.images.cine import open_cine
from aurora.images.dicom import read_frame
from aurora.images.reader import Image

sitk.ProcessObject.GlobalWarningDisplayOff()
FOLDER = Path(pydicom.__file__).parent / "data"
FILES = sorted(
    path
    for path in [*(FOLDER / "test_files").rglob("*"), *(FOLDER / "charset_files").rglob("*")]
    if path.is_file() and (path.suffix in (".dcm", "") and path.name != "README")
)
RAMP = np.arange(24 * 40).reshape(24, 40)


def by_simpleitk(path: Path) -> np.ndarray | None:
    """Return the middle frame, (height, width) or (height, width, 3); None if SimpleITK doesn't read the file."""
    source = sitk.ImageFileReader()
    source.SetImageIO("GDCMImageIO")
    source.SetFileName(str(path))
    try:
        image = source.Execute()
    except RuntimeError:
        return None
    width, height = image.GetSize()[:2]
    frames = sitk.GetArrayFromImage(image).reshape(-1, height, width, image.GetNumberOfComponentsPerPixel())
    middle = frames[len(frames) // 2]
    return middle if middle.shape[2] > 1 else middle[..., 0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_what_simpleitk_reads_is_read_with_the_same_pixels(path: Path) -> None:
    expected = by_simpleitk(path)
    if expected is None:
        with pytest.raises(ImageError):
            read_image(path, FOLDER)
        return
    frame = read_frame(path)
    if frame.inverted:  # SimpleITK inverts the pixels, and `read_image` their picture
        slope, offset = np.polyfit(expected.ravel(), frame.pixels.ravel(), 1)
        assert slope == pytest.approx(-1)
        np.testing.assert_allclose(frame.pixels, offset - expected, atol=1e-6 * abs(offset))
    else:
        np.testing.assert_array_equal(frame.pixels, expected)
    assert read_image(path, FOLDER).pixels.shape[:2] == image_size(path, FOLDER) == expected.shape[:2]


def test_most_of_the_files_are_read() -> None:
    assert sum(by_simpleitk(path) is not None for path in FILES) > 90


def made(path: Path, pixels: np.ndarray = RAMP, **elements: Any) -> Path:
    """Write a DICOM file of `pixels`, of their own type, with `elements`."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for name in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "SmallestImagePixelValue"):
        dataset.pop(name, None)
    pixels = pixels.astype(np.uint16) if pixels is RAMP else pixels
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        dataset.PhotometricInterpretation = "RGB"
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_monochrome1_of_any_depth_is_the_right_way_round(tmp_path: Path, kind: str) -> None:
    ramp = np.linspace(np.iinfo(kind).min, np.iinfo(kind).max, 960).astype(kind).reshape(24, 40)
    right = read_image(made(tmp_path / "2.dcm", ramp), tmp_path).pixels
    dark = read_image(made(tmp_path / "1.dcm", ramp, PhotometricInterpretation="MONOCHROME1"), tmp_path).pixels
    assert right[0, 0, 0] < 3
    assert np.array_equal(dark, 255 - right)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (None, lambda x: ((x - 299.5) / 99 + 0.5) * 255),
        ("LINEAR_EXACT", lambda x: ((x - 300) / 100 + 0.5) * 255),
        ("SIGMOID", lambda x: 255 / (1 + np.exp(-4 * (x - 300) / 100))),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_is_applied_by_its_function(tmp_path: Path, function: str, expected: Any, photometric: str) -> None:
    elements = {"VOILUTFunction": function} if function else {}
    path = made(
        tmp_path / "i.dcm", WindowCenter=300, WindowWidth=100, PhotometricInterpretation=photometric, **elements
    )
    image = read_image(path, tmp_path)
    shown = np.clip(expected(RAMP), 0, 255)
    shown = 255 - shown if photometric == "MONOCHROME1" else shown
    assert np.abs(image.pixels[..., 0] - shown).max() <= 0.6
    assert image.warnings == ("uint16 pixels were scaled from the file's window to 8 bits",)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("bits", "packed"), [(8, False), (8, True), (12, False), (16, True)])
def test_a_look_up_table_is_applied_before_a_window(tmp_path: Path, bits: int, packed: bool, photometric: str) -> None:
    values = np.linspace(2**bits - 1, 0, 500).astype(np.uint16)  # from bright to dark, for pixels from 200
    item = pydicom.Dataset()
    item.LUTDescriptor = [500, 200, bits]
    item.add_new(
        "LUTData",
        "OW" if packed else "US",
        values.astype(np.uint8 if bits == 8 else np.uint16).tobytes() if packed else values.tolist(),
    )
    path = made(
        tmp_path / "i.dcm", VOILUTSequence=[item], WindowCenter=3, WindowWidth=2, PhotometricInterpretation=photometric
    )
    image = read_image(path, tmp_path)
    expected = values[np.clip(RAMP - 200, 0, 499)] / (2**bits - 1) * 255
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    assert np.abs(image.pixels[..., 0] - expected).max() <= 0.6
    assert image.warnings == ("uint16 pixels were scaled from the file's look-up table to 8 bits",)


@pytest.mark.parametrize("broken", [{"LUTDescriptor": [500, 200]}, {"LUTDescriptor": [500, 200, 33]}, {}])
def test_a_damaged_look_up_table_is_passed_over(tmp_path: Path, broken: dict[str, Any]) -> None:
    item = pydicom.Dataset()
    for name, value in broken.items():
        setattr(item, name, value)
    path = made(tmp_path / "i.dcm", VOILUTSequence=[item], WindowCenter=300, WindowWidth=100)
    assert read_image(path, tmp_path).warnings == ("uint16 pixels were scaled from the file's window to 8 bits",)


def window_of(centre: float, width: float) -> pydicom.Dataset:
    """A functional group with a window."""
    item, group = pydicom.Dataset(), pydicom.Dataset()
    item.WindowCenter, item.WindowWidth = centre, width
    group.FrameVOILUTSequence = [item]
    return group


@pytest.mark.parametrize("shared", [False, True])
def test_every_frame_has_its_own_window_or_the_shared_one(tmp_path: Path, shared: bool) -> None:
    groups = [window_of(300 + 100 * number, 101) for number in range(3)]
    elements = {"SharedFunctionalGroupsSequence": groups[:1]} if shared else {}
    path = made(tmp_path / "i.dcm", PerFrameFunctionalGroupsSequence=[] if shared else groups, **elements)
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = 3
    dataset.PixelData = 3 * RAMP.astype(np.uint16).tobytes()
    dataset.save_as(path)
    expected = [
        np.clip(((RAMP - (299.5 + (0 if shared else 100 * number))) / 100 + 0.5) * 255, 0, 255) for number in range(3)
    ]
    assert np.abs(read_image(path, tmp_path).pixels[..., 0] - expected[1]).max() <= 0.6
    for image, shown in zip(open_cine(path).images(range(3)), expected, strict=True):
        assert isinstance(image, Image)
        assert np.abs(image.pixels[..., 0] - shown).max() <= 0.6


def test_colours_stay_as_they_are_beside_a_window(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    image = read_image(made(tmp_path / "i.dcm", colours, WindowCenter=10, WindowWidth=5), tmp_path)
    assert np.array_equal(image.pixels, colours)
    assert image.warnings == ()


@pytest.mark.parametrize(
    "geometry",
    [
        {"PixelSpacing": [0, 0]},
        {"SliceThickness": 0, "SpacingBetweenSlices": 0},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
        {"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
    ],
)
def test_geometry_does_not_decide_whether_pixels_are_read(tmp_path: Path, geometry: dict[str, Any]) -> None:
    plain = read_image(made(tmp_path / "p.dcm"), tmp_path).pixels
    assert np.array_equal(read_image(made(tmp_path / "i.dcm", **geometry), tmp_path).pixels, plain)


@pytest.mark.parametrize("padding", [bytes(5000), bytes(1)])
def test_bytes_after_the_last_element_do_no_harm(tmp_path: Path, padding: bytes) -> None:
    plain = read_image(made(tmp_path / "p.dcm"), tmp_path).pixels
    (tmp_path / "i.dcm").write_bytes((tmp_path / "p.dcm").read_bytes() + padding)
    assert np.array_equal(read_image(tmp_path / "i.dcm", tmp_path).pixels, plain)


def test_a_video_and_a_file_without_pixels_are_named(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(made(tmp_path / "p.dcm"))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(100)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "video.dcm")
    with pytest.raises(ImageError, match="is a video"):
        read_image(tmp_path / "video.dcm", tmp_path)
    del dataset.PixelData
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(tmp_path / "report.dcm")
    with pytest.raises(ImageError, match="without pixels"):
        read_image(tmp_path / "report.dcm", tmp_path)
