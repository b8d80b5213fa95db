"""Read where the pixels of an image lie in the patient, so that a mask can be put in the same place."""

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aurora.errors import ImageError
from aurora.images.headers import HEAD, medical_format, opened
from aurora.images.volume import read_layout
from aurora.runtime.c_stderr import caught_stderr

#: How far, in parts of their length, the directions of the axes may be from right angles.
_SKEW = 1e-3


@dataclass(frozen=True, slots=True)
class Geometry:
    """The place of a slice of n = 3, or of an image of n = 2 dimensions.

    Coordinates are in mm, to the patient's left, back and head (LPS), as DICOM and ITK have them.

    Attributes:
        origin: (n,), the centre of the first pixel.
        steps: (n, n), a column for each axis: the way to the next column, the next row and the next slice.
    """

    origin: np.ndarray
    steps: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """(n,), the length of each step in mm."""
        return np.linalg.norm(self.steps, axis=0)

    @property
    def directions(self) -> np.ndarray:
        """(n, n), a column of length 1 for each axis."""
        return self.steps / self.spacing


def read_geometry(path: Path, root: Path, size: tuple[int, int], number: int | None = None) -> Geometry | None:
    """Return the place of a slice of a NIfTI, MetaImage, NRRD or DICOM file inside `root`.

    None is returned for other files, for DICOM without a position in the patient, and if the file can't be read or
    isn't of this size.

    Args:
        path: the file.
        root: the input folder.
        size: height and width of the image in pixels.
        number: the slice, counted as `aurora.images.volume.read_slices` does; None for the one that `read_image` reads.
    """
    try:
        with opened(path, root) as file, caught_stderr():
            kind = medical_format(file.read(HEAD))
            if kind == "DICOM":
                found = None if number else _plane(path, size)
            elif kind:
                file.seek(0)
                layout = read_layout(file, path)  # it refuses a header whose pixels are in another file
                number = layout.middle if number is None else number
                found = _slice(path, number % layout.size[2] if len(layout.size) > 2 else 0, size)
            else:
                found = None
    except (ImageError, OSError):
        return None
    return found if found and _sound(found) else None


def _slice(path: Path, index: int, size: tuple[int, int]) -> Geometry | None:
    """Return the place of a slice as ITK, with which 3D Slicer reads, understands the file."""
    import SimpleITK as sitk

    sitk.ProcessObject.GlobalWarningDisplayOff()
    reader = sitk.ImageFileReader()
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # such as an orientation that ITK doesn't take
        return None
    dimension, sides = reader.GetDimension(), reader.GetSize()
    if sides[1::-1] != size:
        return None
    count = min(dimension, 3)
    directions = np.reshape(reader.GetDirection(), (dimension, dimension))[:count, :count]
    steps = directions * reader.GetSpacing()[:count]
    origin = np.array(reader.GetOrigin()[:count])
    return Geometry(origin + steps[:, 2] * index if count == 3 else origin, steps)


def _plane(path: Path, size: tuple[int, int]) -> Geometry | None:
    """Return the place of a DICOM image of one frame (PS3.3 C.7.6.2)."""
    import pydicom

    tags = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns"]
    try:
        with warnings.catch_warnings(action="ignore"):  # they may print what the header says of the patient
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
        row, column = np.reshape(np.array(header.ImageOrientationPatient, float), (2, 3))
        height, width = map(float, header.PixelSpacing)
        thickness = float(header.get("SliceThickness") or 1)
        steps = np.column_stack([row * width, column * height, np.cross(row, column) * thickness])
        found = Geometry(np.array(header.ImagePositionPatient, float), steps)
        return found if (header.Rows, header.Columns) == size else None
    except Exception:  # without a position, or damaged; pydicom's errors have no common class
        return None


def _sound(geometry: Geometry) -> bool:
    """Return whether all numbers are finite and the axes are at right angles, as the formats need it."""
    if not (np.isfinite(geometry.origin).all() and np.isfinite(geometry.steps).all() and geometry.spacing.all()):
        return False
    directions = geometry.directions
    return math.isclose(np.abs(directions.T @ directions - np.eye(len(directions))).max(), 0, abs_tol=_SKEW)
