"""Labels as the output of a run, and what a run has written, read without the program."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from aurora.images import encode_mask, image_size
from aurora.images.transform import to_fractions
from aurora.kinds import KINDS, prediction_files
from aurora.kinds.classification import record as class_record
from aurora.kinds.detection import record as box_record
from aurora.kinds.landmarks import record as points_record
from aurora.rows import Row, image_file, predicted_mask_path, read_rows
from aurora.tasks import TaskType
from inference.export.export import ExportSettings, export_predictions
from inference.output.journal import JOURNAL
from training.data.cases import load_cases

#: By the id of the task and the name of the image.
Answers = dict[tuple[str, str], Any]


def answer_with_labels(root: Path, out: Path) -> Path:
    """Write the labels of an input root into `out`, as a run writes its predictions; return `out`."""
    records: dict[TaskType, list[Any]] = {task_type: [] for task_type in prediction_files()}
    for case in load_cases([root]):
        row, count = case.row, case.task.num_classes
        label = KINDS[row.type].read_label(row, root, count)
        if row.type == TaskType.SEGMENTATION:
            path = out / predicted_mask_path(row)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_mask(label, path.name))
        else:
            records[row.type].append(_record(row, root, count, label).model_dump())
    out.mkdir(exist_ok=True)
    for task_type, entries in records.items():
        (out / prediction_files()[task_type]).write_text(json.dumps(entries))
    return out


def _record(row: Row, root: Path, count: int, label: Any) -> Any:
    size = image_size(image_file(root, row), root)
    if row.type == TaskType.CLASSIFICATION:
        probabilities = np.full(count, 0.1 / (count - 1))
        probabilities[label] = 0.9
        return class_record(row, probabilities)
    if row.type == TaskType.DETECTION:
        return box_record(row, to_fractions(label.reshape(2, 2), size), size)
    return points_record(row, to_fractions(label.points, size), size)


def answers(root: Path, out: Path) -> Answers:
    """Return what is in the output folder of a run, as labels are."""
    assert not (out / JOURNAL).exists()
    entries = {}
    for name in prediction_files().values():
        for entry in json.loads((out / name).read_text()):
            entries[entry["task_id"], entry["image_path"]] = entry
    found: Answers = {}
    for row in read_rows(root).rows:
        key = row.task_id, stem(row.image_path)
        if row.type == TaskType.SEGMENTATION:
            found[key] = cv2.imread(str(out / predicted_mask_path(row)), cv2.IMREAD_UNCHANGED)
        else:
            found[key] = _ANSWERS[row.type](entries[row.task_id, row.image_path])
    return found


_ANSWERS = {
    TaskType.CLASSIFICATION: lambda entry: entry["predicted_class"],
    TaskType.DETECTION: lambda entry: entry["bbox_pixels"],
    TaskType.REGRESSION: lambda entry: np.reshape(entry["predicted_points_pixels"], (-1, 2)),
}


def stem(path: str) -> str:
    """Return the last word of an image's name, which has no folders, ending and channel (of nnU-Net) in it."""
    return PurePosixPath(path).stem.replace("_0000", "").rpartition("_")[2]


def exported(root: Path, predictions: Path, out: Path, format_name: str, **settings: Any) -> list[str]:
    """Export predictions, and return the lines about it."""
    return export_predictions(ExportSettings(root, predictions, format_name, out, **settings))
