"""Read the size of a pixel from an image file."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.api.measure import PixelSize
from aurora.images.dicom import inflated_content
from aurora.images.headers import medical_format

#: The unit cm, and a two-dimensional picture of tissue, in a region of an ultrasound image (PS3.3 C.8.5.5.1).
_CM, _TISSUE_2D = 3, 1
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of an ultrasound image, first to last column and row, with the size of its pixels in mm."""

    left: int
    top: int
    right: int
    bottom: int
    pixel_size: PixelSize

    def contains(self, places: np.ndarray) -> bool:
        """Return whether all places, (N, 2) as x, y in pixels, are inside."""
        low, high = places.min(axis=0), places.max(axis=0)
        inside = low >= (self.left - 0.5, self.top - 0.5), high <= (self.right + 1, self.bottom + 1)
        return bool(np.all(inside))


@dataclass(frozen=True, slots=True)
class Scale:
    """What a file says about the size of its pixels: in `regions` of an ultrasound image, or in the `whole` image."""

    regions: tuple[Region, ...] = ()
    whole: PixelSize | None = None

    def at(self, places: np.ndarray) -> PixelSize | None:
        """Return the size of the pixels at places, (N, 2) as x, y in pixels; None if the file doesn't say it.

        An image with regions has no size outside of them, or where places are in different ones.
        """
        if not self.regions:
            return self.whole
        return next((region.pixel_size for region in self.regions if region.contains(places)), None)


def read_scale(path: Path) -> Scale:
    """Return what a DICOM, NIfTI, MetaImage or NRRD file says; nothing for any other file.

    In DICOM, the regions of an ultrasound image come first, then Pixel Spacing, then Imager Pixel Spacing.
    """
    with suppress(OSError):
        with path.open("rb") as file:
            kind = medical_format(file.read(_HEAD))
        if kind == "DICOM":
            return _dicom_scale(path)
        if kind:
            return Scale(whole=_volume_spacing(path))
    return Scale()


def _dicom_scale(path: Path) -> Scale:
    import pydicom

    tags = ["SequenceOfUltrasoundRegions", "PixelSpacing", "ImagerPixelSpacing"]
    try:
        # Pydicom would inflate all of a deflated file, and warnings may print what the header says of the patient.
        with inflated_content(path) as (_, name), warnings.catch_warnings(action="ignore"):
            header = pydicom.dcmread(name, stop_before_pixels=True, specific_tags=tags, force=True)
        regions = [
            Region(
                int(item.RegionLocationMinX0),
                int(item.RegionLocationMinY0),
                int(item.RegionLocationMaxX1),
                int(item.RegionLocationMaxY1),
                (10 * abs(float(item.PhysicalDeltaY)), 10 * abs(float(item.PhysicalDeltaX))),
            )
            for item in header.get("SequenceOfUltrasoundRegions", ())
            if item.get("RegionSpatialFormat") == _TISSUE_2D
            and (item.get("PhysicalUnitsXDirection"), item.get("PhysicalUnitsYDirection")) == (_CM, _CM)
        ]
        spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
        whole = (float(spacing[0]), float(spacing[1])) if spacing else None
    except Exception:  # a damaged header says nothing about the size; pydicom's errors have no common class
        return Scale()
    return Scale(tuple(region for region in regions if _usable(region.pixel_size)), _usable(whole))


def _volume_spacing(path: Path) -> PixelSize | None:
    import SimpleITK as sitk

    sitk.ProcessObject.GlobalWarningDisplayOff()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # such as an orientation that ITK doesn't take
        return None
    spacing = reader.GetSpacing()
    # A spacing of 1 is what writers state that don't know it.
    return _usable((spacing[1], spacing[0])) if len(spacing) > 1 and spacing[:2] != (1.0, 1.0) else None


def _usable(size: PixelSize | None) -> PixelSize | None:
    """Return a size whose sides are positive numbers, otherwise None."""
    return size if size and all(0 < side < float("inf") for side in size) else None
