"""The codes of what is measured and found, and what every object says of its maker."""

import os
from typing import Any

from highdicom import AlgorithmIdentificationSequence, ContentQualificationValues
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import AlgorithmIdentification, CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import PYDICOM_ROOT_UID, generate_uid

import aurora
from aurora.tasks import Task

#: The coding scheme of task ids and of what has no standard code.
SCHEME = "99AURORA"
MANUFACTURER = "AURORA"
RESEARCH = "for research use only"
#: The longest text in most attributes (VR LO, PS3.5, 6.2).
_LONGEST = 64
# Tells the series of one command from those of all others.
_COMMAND = os.urandom(16).hex()

ANGLE_OF_PROGRESSION = CodedConcept("angle-of-prog", SCHEME, "Angle of progression")
#: The codes of measurements by their names; "distance 1-2" and the like are found under "distance".
MEASUREMENTS = {
    "area": codes.SCT.Area,
    "perimeter": codes.SCT.Perimeter,
    "longest diameter": codes.SCT.LongAxis,
    "ellipse's major axis": codes.SCT.MajorAxis,
    "ellipse's minor axis": codes.SCT.MinorAxis,
    "ellipse's circumference": codes.SCT.Circumference,
    "width": codes.SCT.Width,
    "height": codes.DCM.Height,
    "distance": codes.DCM.Distance,
    "angle of progression": ANGLE_OF_PROGRESSION,
}
_PIXELS = CodedConcept("{pixels}", "UCUM", "pixels")
#: The codes of units; the area of a region in pixels is their number.
UNITS = {
    "mm": codes.UCUM.Millimeter,
    "mm2": codes.UCUM.SquareMillimeter,
    "deg": codes.UCUM.Degree,
    "px": _PIXELS,
    "px2": _PIXELS,
}


def task_code(task: Task, number: int | None = None, kind: str = "class") -> CodedConcept:
    """Return the private code of a task, or of one of its classes (from 0) or landmarks (from 1).

    The meaning has the name of the class or landmark, if the task states one.

    Example:
        >>> task_code(task, 1)
        CodedConcept(value='cervix.1', scheme_designator='99AURORA', meaning='cervix, class 1', scheme_version=None)
    """
    if number is None:
        return CodedConcept(task.id, SCHEME, task.id[:_LONGEST])
    named = task.names[number - (kind == "landmark")] if task.names else f"{kind} {number}"
    meaning = f", {named}"[:_LONGEST]
    return CodedConcept(f"{task.id}.{number}", SCHEME, task.id[: _LONGEST - len(meaning)] + meaning)


def algorithm_of_segments() -> AlgorithmIdentificationSequence:
    """Return the algorithm as a Segmentation states it."""
    return AlgorithmIdentificationSequence(MANUFACTURER, codes.DCM.ArtificialIntelligence, aurora.__version__)


def algorithm_of_measurements() -> AlgorithmIdentification:
    """Return the algorithm as a report states it (TID 4019)."""
    return AlgorithmIdentification(MANUFACTURER, aurora.__version__, family=codes.DCM.ArtificialIntelligence)


def series(header: Dataset, title: str, number: int) -> dict[str, Any]:
    """Return highdicom's arguments for the series of an object, its number in it, and its maker.

    All objects of one command with the same title, made from images of one series, are in one series.

    Args:
        header: the stand-in for the source image.
        title: what the series holds, such as a task's id.
        number: the number of the series in the study.
    """
    instance = header.get("InstanceNumber")
    return {
        "series_instance_uid": _uid(header.SeriesInstanceUID, title, _COMMAND),
        "series_number": number,
        "series_description": f"{MANUFACTURER} {title}"[:_LONGEST],
        "sop_instance_uid": generate_uid(),
        "instance_number": instance if instance and instance > 0 else 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MANUFACTURER,
        "software_versions": aurora.__version__,
        "device_serial_number": aurora.__version__,
        "content_qualification": ContentQualificationValues.RESEARCH,
        "coding_schemes": [CodingSchemeIdentificationItem(SCHEME, name="AURORA's tasks and their classes")],
    }


def device_uid() -> str:
    """Return the UID of this version of AURORA as an observer."""
    return _uid(MANUFACTURER, aurora.__version__)


def _uid(*parts: str) -> str:
    return generate_uid(PYDICOM_ROOT_UID, list(parts))
