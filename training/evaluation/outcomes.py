"""What a model makes of labelled cases, in the images' own frames: read ahead, answered in batches, compared.

Rows are answered as `inference run` answers them and compared as `inference score` compares them, without a file in
between.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from aurora.ahead import ahead
from aurora.answers import Answer, ClassificationAnswer, DetectionAnswer, RegressionAnswer, answer, fallback
from aurora.errors import AuroraError
from aurora.frames import Framed
from aurora.metrics import Values, case_values
from aurora.model.aurora import Aurora
from aurora.tasks import TaskType, channel_slices
from training.data.cases import Case
from training.evaluation.reading import Asked, Loaded, load

THREADS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case, compared.

    `values` is what `aurora.metrics` calls a case's values. It is None where nothing could be compared; `labelled` says
    whether that was for want of a label.
    `problem` says what is wrong with label or answer, `fallback` why the answer is only a neutral one.
    """

    case: Case
    labelled: bool
    values: Values | None = None
    problem: str | None = None
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class _Answered:
    """What was asked of an image, and the model's output for it, (channels, ...), None if it gave none."""

    asked: Asked
    image: Framed
    raw: np.ndarray | None


def outcomes(model: Aurora, cases: Iterable[Case], batch_size: int, *, hausdorff: bool) -> Iterator[Outcome]:
    """Every case's outcome; cases that share an image follow the first of them, and the image is encoded once.

    While the model computes, threads read the next batch's images and labels and compare the last one's answers, so
    that at most three batches are held. Without `hausdorff` a mask's distance, which is slow, isn't measured.
    """
    images: dict[tuple[Any, str], list[Case]] = {}
    for case in cases:
        images.setdefault((case.root, case.row.image_path), []).append(case)
    reading = partial(load, tasks=model.tasks, frame=model.config.image_size)
    loaded = ahead(reading, images.values(), batch_size, THREADS)
    answered = _answers(model, loaded, batch_size)
    yield from ahead(partial(_compare, hausdorff=hausdorff), answered, batch_size, THREADS)


def _answers(model: Aurora, images: Iterator[Loaded], batch_size: int) -> Iterator[_Answered]:
    slices = {kind: channel_slices(model.tasks, kind) for kind in TaskType}
    while batch := list(islice(images, batch_size)):
        frames: list[np.ndarray] = []
        rows: dict[TaskType, list[int]] = defaultdict(list)
        for item in batch:
            if item.image.pixels is not None:
                for asked in item.asked:
                    if asked.request.refusal is None:
                        rows[asked.case.row.type].append(len(frames))
                frames.append(item.image.pixels)
        outputs = {kind: iter(raw) for kind, raw in _run(model, frames, rows).items()}
        for item in batch:
            for asked in item.asked:
                row, raw = asked.case.row, None
                if asked.request.refusal is None and item.image.pixels is not None:
                    raw = next(outputs[row.type])[slices[row.type][row.task_id.strip()]]
                yield _Answered(asked, item.image, raw)


@torch.inference_mode()
def _run(model: Aurora, frames: list[np.ndarray], rows: dict[TaskType, list[int]]) -> dict[TaskType, np.ndarray]:
    if not frames:
        return {}
    device = next(model.parameters()).device
    indices = {kind: torch.tensor(index, device=device) for kind, index in rows.items()}
    outputs = model(torch.from_numpy(np.stack(frames)).to(device), indices)
    return {kind: raw.float().cpu().numpy() for kind, raw in outputs.items()}


def _compare(item: _Answered, hausdorff: bool) -> Outcome:
    case, label = item.asked.case, item.asked.label
    if isinstance(label, AuroraError):
        return Outcome(case, labelled=False, problem=str(label))
    found, reason = _answer(item)
    problem = None
    if case.task.type is TaskType.SEGMENTATION and label.max() >= case.task.num_classes:
        problem = f"the true mask holds the class {label.max()}, expected < {case.task.num_classes}"
    try:
        return Outcome(case, True, _values(case, label, found, hausdorff), problem, reason)
    except ValueError as error:
        return Outcome(case, True, None, f"the answer can't be used: {error}", reason)


def _answer(item: _Answered) -> tuple[Answer, str | None]:
    """The answer in the image's frame, and why it is only a neutral one."""
    request, image = item.asked.request, item.image
    row, reason = request.row, request.refusal or image.reason
    if item.raw is not None and image.size is not None:
        try:
            return answer(row, row.type, request.count, item.raw, image.size), None
        except ValueError as error:
            reason = str(error)
    return fallback(row, row.type, request.count, image.size), reason


def _values(case: Case, label: Any, found: Answer, hausdorff: bool) -> Values:
    """The case's values by name; raises `ValueError` where the answer hasn't the label's shape."""
    answer: Any = found
    match found:
        case ClassificationAnswer():
            if len(found.predicted_probs) != case.task.num_classes:
                raise ValueError(f"expected {case.task.num_classes} classes, found {len(found.predicted_probs)}")
            answer = found.predicted_class, found.predicted_probs
        case DetectionAnswer():
            answer = found.bbox_pixels
        case RegressionAnswer():
            answer = np.reshape(found.predicted_points_pixels, (-1, 2))
    return case_values(case.task.type, label, answer, case.task.num_classes, hausdorff=hausdorff)
