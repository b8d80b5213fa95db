"""The size of a pixel as files state it, and where it holds."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from aurora.api.images import scale_of
from aurora.api.scale import Scale, read_scale

EVERYWHERE = np.array([[0, 0], [79, 59]])


def region(left: int, top: int, right: int, bottom: int, size: tuple[float, float], unit: int = 3) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = unit
    item.PhysicalDeltaY, item.PhysicalDeltaX = size
    return item


def dicom(path: Path, **values: object) -> Path:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 60, 80, 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = bytes(60 * 80)
    for name, value in values.items():
        setattr(data, name, value)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def test_a_region_holds_where_it_is(tmp_path: Path) -> None:
    regions = [region(0, 0, 39, 59, (0.02, 0.03)), region(40, 0, 79, 59, (0.05, 0.05))]
    scale = read_scale(dicom(tmp_path / "us.dcm", SequenceOfUltrasoundRegions=regions, PixelSpacing=[9, 9]))
    assert scale.at(np.array([[5, 5], [30, 50]])) == pytest.approx((0.2, 0.3))
    assert scale.at(np.array([[45, 5], [79, 59]])) == pytest.approx((0.5, 0.5))
    assert scale.at(np.array([[30, 5], [50, 50]])) is None


@pytest.mark.parametrize("other", [region(0, 0, 79, 59, (0.02, 0.02), unit=4), region(0, 0, 79, 59, (0, 0.02))])
def test_a_region_in_other_units_says_nothing(tmp_path: Path, other: Dataset) -> None:
    path = dicom(tmp_path / "us.dcm", SequenceOfUltrasoundRegions=[other], PixelSpacing=[0.4, 0.6])
    assert read_scale(path).at(EVERYWHERE) == (0.4, 0.6)


def test_spacing_is_rows_then_columns(tmp_path: Path) -> None:
    assert read_scale(dicom(tmp_path / "a.dcm", ImagerPixelSpacing=[0.3, 0.5])).at(EVERYWHERE) == (0.3, 0.5)
    both = dicom(tmp_path / "b.dcm", ImagerPixelSpacing=[0.3, 0.5], PixelSpacing=[0.1, 0.2])
    assert read_scale(both).at(EVERYWHERE) == (0.1, 0.2)
    assert read_scale(dicom(tmp_path / "c.dcm")) == Scale()
    assert read_scale(dicom(tmp_path / "d.dcm", PixelSpacing=[0, 0.2])) == Scale()


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii", "v.mha", "v.nrrd"])
def test_volumes_state_columns_then_rows(tmp_path: Path, name: str) -> None:
    image = sitk.GetImageFromArray(np.zeros((3, 60, 80), np.uint8))
    image.SetSpacing((0.25, 0.5, 7))
    sitk.WriteImage(image, str(tmp_path / name))
    assert read_scale(tmp_path / name).at(EVERYWHERE) == pytest.approx((0.5, 0.25))
    image.SetSpacing((1, 1, 7))
    sitk.WriteImage(image, str(tmp_path / name))
    assert read_scale(tmp_path / name) == Scale()


def test_other_images_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "cut.dcm").write_bytes(dicom(tmp_path / "whole.dcm", PixelSpacing=[0.1, 0.2]).read_bytes()[:140])
    for path in (tmp_path / "a.png", tmp_path / "absent.png", tmp_path / "cut.dcm"):
        assert scale_of(path) == scale_of(str(path)) == Scale()
    assert scale_of(b"bytes") == scale_of(np.zeros((4, 4))) == Scale()
