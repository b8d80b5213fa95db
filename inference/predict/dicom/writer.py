"""Write the DICOM objects of the images that are DICOM files."""

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from aurora.api.results import MaskResult, Result
from aurora.images.dicom import is_dicom
from inference.output.folder import OutputFolder
from inference.predict.dicom.report import Finding, report
from inference.predict.dicom.segmentation import segmentation
from inference.predict.dicom.source import Source, read_source
from inference.predict.sources import ImageSource

logger = logging.getLogger("aurora.inference")


class DicomWriter:
    """Writes a Segmentation per mask, and a Structured Report per image, into a folder."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._passed_over = 0
        self._missing: Counter[str] = Counter()

    def write(self, source: ImageSource, groups: Sequence[Sequence[Result]], records: Sequence[dict[str, Any]]) -> None:
        """Write the objects of an image, and name them in the records of its results.

        `groups` has for each predicted frame its results, one per task, and `records` theirs, one after another. A
        fallback gets none. Where an object can't be made, the image gets none, and a warning says why.

        Raises:
            OutputError: the folder can't be written to.
        """
        results = [result for group in groups for result in group]
        predicted = [(result, record) for result, record in zip(results, records, strict=True) if not result.fallback]
        if not predicted:
            return
        if not _is_dicom(source.path):
            self._passed_over += 1
            return
        try:
            with warnings.catch_warnings(action="ignore"):  # those of pydicom print what they find, such as a name
                image = read_source(source.path)
                objects = _objects(source, image, groups)
        except Exception as error:  # those of pydicom and highdicom have no common class
            logger.warning("no DICOM objects for %s: %s: %s", source.path, type(error).__name__, error)
            return
        self._missing.update(image.missing)
        for name, content in objects.items():
            self._folder.write(name, content)
        for result, record in predicted:
            if isinstance(result, MaskResult):
                record["segmentation"] = _segmentation_name(source, result)
            record["report"] = _report_name(source)

    def log_remarks(self) -> None:
        """Log how many images got no objects because they aren't DICOM, and what the others lack."""
        if self._passed_over:
            logger.info("%d images got no DICOM objects, because they aren't DICOM", self._passed_over)
        if self._missing:
            logger.warning(
                "images lack attributes, or state them wrongly, that are empty or new UIDs in their DICOM objects: %s",
                ", ".join(f"{keyword} ({count})" for keyword, count in self._missing.items()),
            )


def _objects(source: ImageSource, image: Source, groups: Sequence[Sequence[Result]]) -> dict[str, bytes]:
    """Return the content of an image's DICOM files by their names."""
    files: dict[str, bytes] = {}
    findings = []
    for of_task in zip(*groups, strict=True):
        results = [result for result in of_task if not result.fallback]
        frames = [image.middle if result.frame is None else result.frame for result in results]
        made = None
        masks = [result.mask for result in results if isinstance(result, MaskResult)]
        if masks:
            made = segmentation(image, frames, np.stack(masks), results[0].task)
            files[_segmentation_name(source, results[0])] = _encoded(made)
        findings += [
            Finding(result, frame, made, at) for at, (result, frame) in enumerate(zip(results, frames, strict=True))
        ]
    return files | {_report_name(source): _encoded(report(image, findings))}


def _segmentation_name(source: ImageSource, result: Result) -> str:
    return f"dicom/{source.stem(result.task.id)}.seg.dcm"


def _report_name(source: ImageSource) -> str:
    return f"dicom/{source.name}.sr.dcm"


def _encoded(made: Dataset) -> bytes:
    content = BytesIO()
    made.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(132))
    except OSError:  # it has gone since it was read
        return False
