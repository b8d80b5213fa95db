"""Make a DICOM Structured Report (Comprehensive SR, TID 1500) of all results of one image.

- A class of a mask is a planar region (TID 1410), with its measurements, that refers to its frame of the Segmentation;
  a group (TID 1501) names the classes that the mask lacks as absent.
- A box is a planar region that is a closed polyline, with its sides.
- Every landmark is a planar region that is a point; a group holds the distances and the angle between them,
  each with the polyline that was measured.
- A classification is a group with the class and its probability.

Coordinates are in pixels of the image, as in a result: the upper left corner of the first pixel is 0, 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from highdicom.seg import Segmentation
from highdicom.sr import (
    CodedConcept,
    ComprehensiveSR,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    ImageRegion,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegmentationFrame,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr import Measurement as CodedMeasurement
from pydicom.sr.codedict import codes

from aurora.api.measure import Measurement
from aurora.api.results import BoxResult, ClassResult, MaskResult, PointsResult, Result
from inference.predict.dicom.codes import (
    MANUFACTURER,
    MEASUREMENTS,
    RESEARCH,
    UNITS,
    algorithm_of_measurements,
    device_uid,
    series,
    task_code,
)
from inference.predict.dicom.segmentation import frame_number
from inference.predict.dicom.source import Source

_SERIES = 902


@dataclass(frozen=True, slots=True)
class Finding:
    """A result for one frame of an image.

    Attributes:
        result: the result, no fallback.
        frame: the index of the frame, from 0.
        segmentation: what holds the mask of a `MaskResult`.
        position: the position of this mask among those of the segmentation, from 0.
    """

    result: Result
    frame: int
    segmentation: Segmentation | None = None
    position: int = 0


def report(source: Source, findings: Sequence[Finding]) -> ComprehensiveSR:
    """Return the Structured Report of at least one finding in an image.

    Raises:
        Exception: highdicom can't make it; its errors have no common class.

    Example:
        >>> report(read_source(path), [Finding(result, frame=0)]).save_as("scan.sr.dcm")
    """
    groups: list[Any] = [group for finding in findings for group in _GROUPS[type(finding.result)](source, finding)]
    observer = DeviceObserverIdentifyingAttributes(
        device_uid(), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=MANUFACTURER
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, observer)),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
    )
    remark = TextContentItem(codes.DCM.Comment, f"Made by software {RESEARCH}.", RelationshipTypeValues.CONTAINS)
    content[0].ContentSequence.append(remark)
    segmentations = {id(f.segmentation): f.segmentation for f in findings if f.segmentation is not None}
    made = ComprehensiveSR(
        evidence=[source.header, *segmentations.values()],
        content=content[0],
        is_complete=True,
        **series(source.header, "report", _SERIES),
    )
    source.correct(made)
    return made


def _mask(source: Source, finding: Finding) -> Iterator[Any]:
    """Yield a region for every class that the mask has, and a group for those that it lacks."""
    made, task = finding.segmentation, finding.result.task
    assert made is not None
    image = SourceImageForSegmentation(**_reference(source, finding))
    absent = set(range(1, task.num_classes))
    for number, measured in groupby(finding.result.measurements, lambda measurement: measurement.structure):
        assert number is not None
        absent.remove(number)
        frame = frame_number(made, number, finding.position)
        segment = ReferencedSegmentationFrame(made.SOPClassUID, made.SOPInstanceUID, frame, number, image)
        del segment[0].ReferencedSOPSequence[0].ReferencedSegmentNumber  # not beside a frame (PS3.3, table 10-3)
        yield PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=segment,
            tracking_identifier=TrackingIdentifier(
                made.SegmentSequence[number - 1].TrackingUID, task_code(task, number).meaning
            ),
            measurements=[_measured(measurement) for measurement in measured],
            finding_type=task_code(task, number),
            algorithm_id=algorithm_of_measurements(),
        )
    if absent:
        lacking = [QualitativeEvaluation(task_code(task, number), codes.SCT.Absent) for number in sorted(absent)]
        yield _group(source, finding, qualitative_evaluations=lacking)


def _box(source: Source, finding: Finding) -> Iterator[PlanarROIMeasurementsAndQualitativeEvaluations]:
    assert isinstance(finding.result, BoxResult)
    x1, y1, x2, y2 = finding.result.box
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)])
    measured = [_measured(measurement) for measurement in finding.result.measurements]
    yield _region(source, finding, GraphicTypeValues.POLYLINE, corners, task_code(finding.result.task), measured)


def _points(source: Source, finding: Finding) -> Iterator[Any]:
    """Yield a region for every landmark, and a group with what lies between them."""
    result = finding.result
    assert isinstance(result, PointsResult)
    for number, point in enumerate(result.points, start=1):
        code = task_code(result.task, number, "landmark")
        yield _region(source, finding, GraphicTypeValues.POINT, point[None], code, None)
    image = SourceImageForRegion(**_reference(source, finding))
    measured = []
    for measurement in result.measurements:
        graphic = CoordinatesForMeasurement(GraphicTypeValues.POLYLINE, _ends(result.points, measurement), image)
        measured.append(
            _measured(measurement, tracking_identifier=_tracking(measurement.name), referenced_coordinates=[graphic])
        )
    if measured:
        yield _group(source, finding, measurements=measured)


def _class(source: Source, finding: Finding) -> Iterator[MeasurementsAndQualitativeEvaluations]:
    result = finding.result
    assert isinstance(result, ClassResult)
    likeliest = QualitativeEvaluation(task_code(result.task), task_code(result.task, result.label))
    probability = float(result.probabilities[result.label])
    yield _group(
        source,
        finding,
        qualitative_evaluations=[likeliest],
        measurements=[CodedMeasurement(codes.DCM.Probability, probability, codes.UCUM.NoUnits)],
    )


_GROUPS = {MaskResult: _mask, BoxResult: _box, PointsResult: _points, ClassResult: _class}


def _region(
    source: Source,
    finding: Finding,
    kind: GraphicTypeValues,
    places: np.ndarray,
    code: CodedConcept,
    measured: Sequence[CodedMeasurement] | None,
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return a region of places, (N, 2) as x, y in pixels of the image."""
    image = SourceImageForRegion(**_reference(source, finding))
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=ImageRegion(kind, places, image),
        tracking_identifier=_tracking(code.meaning),
        measurements=measured,
        finding_type=code,
        algorithm_id=algorithm_of_measurements(),
    )


def _group(source: Source, finding: Finding, **contents: Any) -> MeasurementsAndQualitativeEvaluations:
    """Return a group without a region."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(finding.result.task.id),
        finding_type=task_code(finding.result.task),
        algorithm_id=algorithm_of_measurements(),
        source_images=[SourceImageForMeasurementGroup(**_reference(source, finding))],
        **contents,
    )


def _reference(source: Source, finding: Finding) -> dict[str, Any]:
    return {
        "referenced_sop_class_uid": source.header.SOPClassUID,
        "referenced_sop_instance_uid": source.header.SOPInstanceUID,
        "referenced_frame_numbers": source.frame_numbers(finding.frame),
    }


def _measured(measurement: Measurement, **contents: Any) -> CodedMeasurement:
    kind = measurement.name if measurement.name in MEASUREMENTS else measurement.name.split()[0]
    return CodedMeasurement(MEASUREMENTS[kind], measurement.value, UNITS[measurement.unit], **contents)


def _ends(points: np.ndarray, measurement: Measurement) -> np.ndarray:
    """Return the landmarks that a measurement is between: those that its name numbers, otherwise all."""
    numbers = [int(word) - 1 for word in measurement.name.split()[-1].split("-") if word.isdigit()]
    return points[numbers] if numbers else points


def _tracking(identifier: str) -> TrackingIdentifier:
    return TrackingIdentifier(identifier=identifier)
