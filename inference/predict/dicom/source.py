"""Read the attributes of a DICOM image that its Segmentations and reports need: patient, study, series and geometry.

highdicom copies whatever a source image says of its patient and study, refuses kinds of images that it doesn't know,
such as the retired ultrasound classes, and needs attributes that real images lack. So it never sees the image, but a
stand-in: one frame of a secondary capture, which holds the attributes named here and no others. Where an object made
from it refers to the image, `Source.correct` states the image's own class.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from highdicom import PatientSexValues
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid
from pydicom.valuerep import DA, TM

from aurora.images.dicom import frame_extent

#: What must be there, but may be empty, with the values that are allowed.
_EMPTY: dict[str, Callable[[Any], Any]] = {
    "PatientName": str,
    "PatientID": str,
    "PatientBirthDate": DA,
    "PatientSex": PatientSexValues,
    "StudyDate": DA,
    "StudyTime": TM,
    "StudyID": str,
    "AccessionNumber": str,
    "ReferringPhysicianName": str,
}
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
#: What highdicom takes for a geometry, together with the frame of reference.
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
#: What is taken as it is, if it is there.
_OPTIONAL = (
    *("IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyDescription", "InstanceNumber", "Rows", "Columns", "LossyImageCompression"),
    *("LossyImageCompressionRatio", "LossyImageCompressionMethod", "FrameOfReferenceUID", "PositionReferenceIndicator"),
    *("SliceThickness", "SpacingBetweenSlices", "PatientOrientation", *_GEOMETRY),
)
_TAGS = [*_EMPTY, *_UIDS, *_OPTIONAL, "SOPClassUID", "SpecificCharacterSet"]


@dataclass(frozen=True, slots=True)
class Source:
    """A DICOM image that objects are made from.

    Attributes:
        header: the stand-in for the image: attributes of patient, study, series and frame of reference.
        sop_class: the SOP class of the image.
        frames: the number of its frames.
        missing: the keywords of required attributes that the image lacks or states wrongly.
    """

    header: Dataset
    sop_class: str
    frames: int
    missing: tuple[str, ...]

    @property
    def middle(self) -> int:
        """The index of the frame that is predicted, from 0."""
        return self.frames // 2

    def frame_numbers(self, frame: int) -> list[int] | None:
        """Return the Referenced Frame Number of a frame, from 1, given its index, from 0; None if there is but one."""
        return [frame + 1] if self.frames > 1 else None

    def correct(self, made: Dataset) -> None:
        """State the image's own SOP class in every reference of `made` to the image."""

        def correct(item: Dataset, element: pydicom.DataElement) -> None:
            if element.keyword == "ReferencedSOPInstanceUID" and element.value == self.header.SOPInstanceUID:
                item.ReferencedSOPClassUID = self.sop_class

        made.walk(correct)


def read_source(path: Path) -> Source:
    """Read the header of a DICOM image.

    A required attribute that is missing or wrong becomes empty, or a new UID.

    Raises:
        Exception: the header is damaged; pydicom's errors have no common class.

    Example:
        >>> read_source(Path("cine.dcm")).frames
        40
    """
    found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=True)
    header = Dataset()
    for keyword in filter(found.__contains__, _OPTIONAL):
        with suppress(TypeError, ValueError):  # it is as good as absent
            header.add(found[keyword])
    missing = [keyword for keyword, allowed in _EMPTY.items() if not _take(header, found, keyword, allowed)]
    for keyword in _UIDS:
        setattr(header, keyword, found.get(keyword) or generate_uid())
    _, frames = frame_extent(path)
    # A geometry must be complete: highdicom needs all of it, and ITK reads no segmentation with a spacing alone. The
    # geometry of a multi-frame image needn't be true of its frame.
    if frames > 1 or not all(header.get(keyword) for keyword in ("FrameOfReferenceUID", *_GEOMETRY)):
        for keyword in filter(header.__contains__, _GEOMETRY):
            delattr(header, keyword)
    header.SliceThickness = header.get("SliceThickness")
    header.SOPClassUID = SecondaryCaptureImageStorage
    header.SpecificCharacterSet = "ISO_IR 192"  # UTF-8, because a task's id may hold any character
    missing += [keyword for keyword in (*_UIDS, "SOPClassUID") if not found.get(keyword)]
    return Source(header, found.get("SOPClassUID") or SecondaryCaptureImageStorage, frames, tuple(missing))


def _take(header: Dataset, found: Dataset, keyword: str, allowed: Callable[[Any], Any]) -> bool:
    """Copy an attribute, or make it empty if it isn't there or isn't allowed; return whether it was copied."""
    setattr(header, keyword, "")
    if keyword not in found:
        return False
    try:
        if found[keyword].value:
            allowed(found[keyword].value)
    except (TypeError, ValueError):
        return False
    header.add(found[keyword])
    return True
