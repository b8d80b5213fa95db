"""Make a DICOM Segmentation of the masks of one task.

An ultrasound image has no position in the patient. highdicom then leaves out the frame of reference
and all planes: the segmentation has the size of the image and refers to it pixel for pixel. But it does so for a single
frame only. So it makes the segmentation of the first frame, and `_append` adds the others; each refers to its frame of
the image, and the dimension Temporal Position Index tells them apart. A single-frame image with a complete geometry,
such as CT, passes its frame of reference, position and orientation on.
"""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.sr.codedict import codes
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from aurora.tasks import Task
from inference.predict.dicom.codes import MANUFACTURER, RESEARCH, algorithm_of_segments, series, task_code
from inference.predict.dicom.source import Source

_SERIES = 901


def segmentation(source: Source, frames: Sequence[int], masks: np.ndarray, task: Task) -> Segmentation:
    """Return the Segmentation (BINARY) of masks; every class but background is a segment, even where it is empty.

    Args:
        source: the image.
        frames: the indices of the predicted frames, from 0.
        masks: (N, H, W) uint8, the class of every pixel of these frames.
        task: the segmentation task.

    Raises:
        Exception: highdicom can't make it; its errors have no common class.

    Example:
        >>> segmentation(read_source(path), [0], mask[None], task).save_as("cervix.seg.dcm")
    """
    made = Segmentation(
        source_images=[source.header],
        pixel_array=masks[:1],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(task, number) for number in range(1, task.num_classes)],
        content_label=MANUFACTURER,
        content_description=RESEARCH,
        omit_empty_frames=False,
        **series(source.header, task.id, _SERIES),
    )
    if "ImagePositionPatient" not in source.header:
        made.PatientOrientation = source.header.get("PatientOrientation")  # required then, but may be empty
    if len(frames) > 1:
        _append(made, masks)
    if source.frames > 1:
        made.SourceImageSequence = deepcopy(made.SourceImageSequence)  # highdicom refers to the series with the same
        made.SourceImageSequence[0].ReferencedFrameNumber = [frame + 1 for frame in frames]
        for position, group in enumerate(made.PerFrameFunctionalGroupsSequence):
            image = group.DerivationImageSequence[0].SourceImageSequence[0]
            image.ReferencedFrameNumber = frames[position % len(frames)] + 1
    source.correct(made)
    return made


def frame_number(made: Segmentation, segment: int, position: int) -> int:
    """Return the number, from 1, of the frame that holds a segment (from 1) of the mask at a position (from 0)."""
    return (segment - 1) * (made.NumberOfFrames // len(made.SegmentSequence)) + position + 1


def _segment(task: Task, number: int) -> SegmentDescription:
    code = task_code(task, number)
    return SegmentDescription(
        segment_number=number,
        segment_label=code.meaning,
        # The neutral category: whether a class is an organ or a lesion, its task doesn't say.
        segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=code,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm_of_segments(),
        tracking_uid=generate_uid(),
        tracking_id=code.meaning,
    )


def _append(made: Segmentation, masks: np.ndarray) -> None:
    """Replace the frames of the first mask by those of all masks: all of a segment's frames, then the next one's."""
    segments = range(1, len(made.SegmentSequence) + 1)
    made.DimensionIndexSequence.append(_temporal_dimension(made.DimensionIndexSequence[0].DimensionOrganizationUID))
    groups = []
    for segment, first in zip(segments, made.PerFrameFunctionalGroupsSequence, strict=True):
        for position in range(1, len(masks) + 1):
            group = deepcopy(first)
            group.FrameContentSequence[0].DimensionIndexValues = [segment, position]
            group.FrameContentSequence[0].TemporalPositionIndex = position
            groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    made.NumberOfFrames = len(groups)
    made.PixelData = pack_bits(np.stack([masks == segment for segment in segments]).astype(np.uint8))


def _temporal_dimension(organization: str) -> Dataset:
    item = Dataset()
    item.DimensionIndexPointer = Tag("TemporalPositionIndex")
    item.FunctionalGroupPointer = Tag("FrameContentSequence")
    item.DimensionOrganizationUID = organization
    item.DimensionDescriptionLabel = "Temporal Position Index"
    return item
