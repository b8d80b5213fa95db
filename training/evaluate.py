"""The challenge's metrics of a model on labelled cases, in the images' own frames, without writing files."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import hypot
from typing import Any

import numpy as np
import torch

from aurora.answers import ClassificationAnswer, DetectionAnswer, RegressionAnswer, answer
from aurora.images import read_image, read_mask
from aurora.metrics import (
    classification_scores,
    composite_of,
    defined_mean,
    detection_scores,
    regression_scores,
    segmentation_scores,
)
from aurora.model.aurora import Aurora
from aurora.rows import box_label, class_label, image_file, mask_file, points_label
from aurora.tasks import TaskType, channel_slices
from aurora.transform import to_frame
from training.data import Case

BATCH = 32


def evaluate(model: Aurora, cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Each task's metrics and `composite` by task id; the Hausdorff distance is left to `inference score`."""
    pairs: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for case, label, answered in _answers(model, cases):
        pairs[case.task.id].append((label, answered))
    tasks = {case.task.id: case.task for case in cases}
    results = {}
    for name, found in pairs.items():
        metrics = _metrics(tasks[name].type, tasks[name].num_classes, found)
        results[name] = metrics | {"composite": composite_of(tasks[name].type, metrics)}
    return results


def composite(results: dict[str, dict[str, float]], cases: Sequence[Case]) -> float:
    """The composite over all tasks: the mean of the types' means."""
    kinds = {case.task.id: case.task.type for case in cases}
    return defined_mean(
        defined_mean(metrics["composite"] for name, metrics in results.items() if kinds[name] is kind)
        for kind in set(kinds.values())
    )


@torch.inference_mode()
def _answers(model: Aurora, cases: Sequence[Case]) -> Iterator[tuple[Case, Any, Any]]:
    """Each case with its label and its answer, in the forms that `_metrics` takes."""
    slices = {kind: channel_slices(model.tasks, kind) for kind in TaskType}
    device = next(model.parameters()).device
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(cases), BATCH):
            batch = cases[start : start + BATCH]
            pixels = list(pool.map(lambda case: read_image(image_file(case.root, case.row), case.root).pixels, batch))
            images = torch.from_numpy(np.stack([to_frame(p, model.config.image_size) for p in pixels])).to(device)
            for kind in TaskType:
                indices = [i for i, case in enumerate(batch) if case.task.type is kind]
                if not indices:
                    continue
                outputs = model(images[indices], {kind: torch.arange(len(indices), device=device)})[kind]
                for index, raw in zip(indices, outputs.float().cpu().numpy(), strict=True):
                    case, size = batch[index], pixels[index].shape[:2]
                    found = answer(case.row, kind, case.task.num_classes, raw[slices[kind][case.task.id]], size)
                    yield case, _truth(case, size), _plain(found)


def _truth(case: Case, size: tuple[int, int]) -> Any:
    if case.task.type is TaskType.SEGMENTATION:
        return read_mask(mask_file(case.root, case.row))
    if case.task.type is TaskType.CLASSIFICATION:
        return class_label(case.row)
    if case.task.type is TaskType.DETECTION:
        return box_label(case.row)
    return np.array(points_label(case.row)), hypot(*size)


def _plain(found: Any) -> Any:
    match found:
        case ClassificationAnswer():
            return found.predicted_probs
        case DetectionAnswer():
            return found.bbox_pixels
        case RegressionAnswer():
            return np.reshape(found.predicted_points_pixels, (-1, 2))
    return found


def _metrics(kind: TaskType, classes: int, pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    if kind is TaskType.SEGMENTATION:
        return segmentation_scores(pairs, classes, hausdorff=False)
    truths, found = zip(*pairs, strict=True)
    if kind is TaskType.CLASSIFICATION:
        return classification_scores(truths, np.array(found))
    if kind is TaskType.DETECTION:
        return detection_scores(truths, found)
    points, diagonals = zip(*truths, strict=True)
    return regression_scores(points, found, diagonals)
