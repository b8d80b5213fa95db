"""DICOM images of several kinds, as ultrasound machines and others store them."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

PATIENT = {
    "PatientName": "Müller^Ada",
    "PatientID": "ID-7",
    "PatientBirthDate": "19900102",
    "PatientSex": "F",
    "IssuerOfPatientID": "Clinic",
}
STUDY = {
    "StudyDate": "20240305",
    "StudyTime": "101112",
    "StudyID": "S1",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "House^G",
    "StudyDescription": "Obstetrics",
}
#: What says more of a patient than who it is, and of the place; it stays where it is.
PRIVATE = {
    "PatientComments": "SECRET comment",
    "PatientAddress": "SECRET street",
    "AdditionalPatientHistory": "SECRET history",
    "InstitutionName": "SECRET clinic",
    "OperatorsName": "SECRET^Operator",
    "StationName": "SECRET",
    "Manufacturer": "SECRET maker",
}
GEOMETRY = {
    "FrameOfReferenceUID": generate_uid(),
    "PositionReferenceIndicator": "",
    "ImagePositionPatient": [1, 2, 3],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [0.5, 0.4],
    "SliceThickness": 2,
}
_RETIRED = "1.2.840.10008.5.1.4.1.1.6"


def region(units: int = 3, delta: float = 0.02) -> Dataset:
    """Return an item of the Sequence of Ultrasound Regions that covers every image."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0 = item.RegionLocationMinY0 = 0
    item.RegionLocationMaxX1 = item.RegionLocationMaxY1 = 999
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX = item.PhysicalDeltaY = delta
    return item


#: SOP class, number of frames (None: a kind of single frames), colour, elements; None as a value takes one away.
KINDS: dict[str, tuple[str, int | None, bool, dict[str, Any]]] = {
    "us_regions": (UltrasoundImageStorage, None, False, {"SequenceOfUltrasoundRegions": [region()]}),
    "us_one": (UltrasoundMultiFrameImageStorage, 1, False, {}),
    "us_rgb": (UltrasoundImageStorage, None, True, {"PixelSpacing": [0.3, 0.3]}),
    "us_plain": (UltrasoundImageStorage, None, False, {}),
    "us_placed": (UltrasoundImageStorage, None, False, {"FrameOfReferenceUID": GEOMETRY["FrameOfReferenceUID"]}),
    "us_cine": (UltrasoundMultiFrameImageStorage, 5, False, {"SequenceOfUltrasoundRegions": [region()]}),
    "us_cine_rgb": (UltrasoundMultiFrameImageStorage, 4, True, {}),
    "us_retired": (_RETIRED, None, True, {}),
    "sc_rgb": (SecondaryCaptureImageStorage, None, True, {}),
    "sc_grey": (SecondaryCaptureImageStorage, None, False, {}),
    "ct": (CTImageStorage, None, False, GEOMETRY),
    "bare": (
        UltrasoundImageStorage,
        None,
        False,
        dict.fromkeys([*PATIENT, *STUDY, "StudyInstanceUID", "SeriesInstanceUID"]) | {"PatientSex": "W"},
    ),
}


def write_image(path: Path, kind: str) -> Dataset:
    """Write an image of 59x83 pixels of one of `KINDS`, and return it."""
    sop_class, frames, colour, elements = KINDS[kind]
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID, image.SOPInstanceUID = sop_class, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Modality, image.InstanceNumber = "US", 3
    shape = (*((frames,) if frames else ()), 59, 83, *((3,) if colour else ()))
    image.Rows, image.Columns = 59, 83
    image.SamplesPerPixel = 3 if colour else 1
    image.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        image.PlanarConfiguration = 0
    if frames:
        image.NumberOfFrames, image.FrameTime = frames, 40
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for keyword, value in (PATIENT | STUDY | PRIVATE | elements).items():
        if value is None:
            image.pop(keyword, None)
        else:
            setattr(image, keyword, value)
    image.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    image.save_as(path, enforce_file_format=True)
    return image
