"""The challenge's metrics of a model on labelled cases, in the images' own frames, without writing files."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch

from aurora.errors import AuroraError, InputError
from aurora.images.reader import ModelInput, load_model_input, read_size
from aurora.model.aurora import Aurora
from aurora.predict.answers import (
    ClassificationPrediction,
    DetectionPrediction,
    LandmarksPrediction,
    Prediction,
    answer,
    fallback,
)
from aurora.predict.request import Request, request_of
from aurora.runtime.prefetch import prefetch
from aurora.scoring.cases import label_of
from aurora.scoring.metrics import CaseMetrics, case_metrics, composite_of, defined_mean, task_metrics
from aurora.tasks import Registry, Task, TaskType, channel_slices
from training.data.cases import Case


@dataclass(frozen=True, slots=True)
class Asked:
    """A case with what it asks of the model, and its label as `scoring.cases` has it, or the error for want of one."""

    case: Case
    request: Request
    label: Any


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """An image and what is asked of it."""

    asked: list[Asked]
    image: ModelInput


def load(cases: Sequence[Case], tasks: Registry, frame: tuple[int, int]) -> LoadedJob:
    """Read the image that all `cases` share for a `frame` (height, width), and their labels.

    `tasks` is what the model answers. What is wrong with the image or a label stands in the result.
    """
    asked = [Asked(case, request_of(case.row, tasks), _label(case)) for case in cases]
    wanted = any(item.request.rejection is None for item in asked)
    root, row = cases[0].root, cases[0].row
    return LoadedJob(asked, load_model_input(root, row, frame) if wanted else read_size(root, row))


def _label(case: Case) -> Any:
    try:
        label = label_of(case.row, case.root, case.task.num_classes)
    except AuroraError as error:
        return InputError(f"the label can't be used: {error}")
    return InputError("the row has no label") if label is None else label


THREADS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case, compared.

    `values` is None where nothing could be compared; `labelled` says
    whether that was for want of a label.
    `problem` says what is wrong with label or answer, `fallback` why the answer is only a neutral one.
    """

    case: Case
    labelled: bool
    values: CaseMetrics | None = None
    problem: str | None = None
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class _Answered:
    """What was asked of an image, and the model's output for it, (channels, ...), None if it gave none."""

    asked: Asked
    image: ModelInput
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
    loaded = prefetch(reading, images.values(), batch_size, THREADS)
    answered = _answers(model, loaded, batch_size)
    yield from prefetch(partial(_compare, hausdorff=hausdorff), answered, batch_size, THREADS)


def _answers(model: Aurora, images: Iterator[LoadedJob], batch_size: int) -> Iterator[_Answered]:
    slices = {kind: channel_slices(model.tasks, kind) for kind in TaskType}
    while batch := list(islice(images, batch_size)):
        frames: list[np.ndarray] = []
        rows: dict[TaskType, list[int]] = defaultdict(list)
        for item in batch:
            if item.image.pixels is not None:
                for asked in item.asked:
                    if asked.request.rejection is None:
                        rows[asked.case.row.type].append(len(frames))
                frames.append(item.image.pixels)
        outputs = {kind: iter(raw) for kind, raw in _run(model, frames, rows).items()}
        for item in batch:
            for asked in item.asked:
                row, raw = asked.case.row, None
                if asked.request.rejection is None and item.image.pixels is not None:
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


def _answer(item: _Answered) -> tuple[Prediction, str | None]:
    """The answer in the image's frame, and why it is only a neutral one."""
    request, image = item.asked.request, item.image
    row, reason = request.row, request.rejection or image.reason
    if item.raw is not None and image.size is not None:
        try:
            return answer(row, row.type, request.count, item.raw, image.size), None
        except ValueError as error:
            reason = str(error)
    return fallback(row, row.type, request.count, image.size), reason


def _values(case: Case, label: Any, found: Prediction, hausdorff: bool) -> CaseMetrics:
    """The case's values by name; raises `ValueError` where the answer hasn't the label's shape."""
    answer: Any = found
    match found:
        case ClassificationPrediction():
            if len(found.predicted_probs) != case.task.num_classes:
                raise ValueError(f"expected {case.task.num_classes} classes, found {len(found.predicted_probs)}")
            answer = found.predicted_class, found.predicted_probs
        case DetectionPrediction():
            answer = found.bbox_pixels
        case LandmarksPrediction():
            answer = np.reshape(found.predicted_points_pixels, (-1, 2))
    return case_metrics(case.task.type, label, answer, case.task.num_classes, hausdorff=hausdorff)


BATCH = 32


def evaluate(
    model: Aurora, cases: Sequence[Case], *, bad_cases: Literal["error", "skip"] = "error"
) -> dict[str, dict[str, float]]:
    """Each task's metrics and `composite` by task id; the Hausdorff distance, which is slow, is left out.

    A case that can't be used is an `InputError`; with `skip` it counts as it does for `inference score`.
    """
    found: dict[Task, list[CaseMetrics]] = {}
    for outcome in outcomes(model, cases, BATCH, hausdorff=False):
        wrong = outcome.problem or outcome.fallback
        if wrong and bad_cases == "error":
            raise InputError(f"{outcome.case.row.source}: {wrong}")
        if outcome.values:
            found.setdefault(outcome.case.task, []).append(outcome.values)
    results = {}
    for task, values in found.items():
        metrics = task_metrics(task.type, values)
        results[task.id] = metrics | {"composite": composite_of(task.type, metrics)}
    return results


def composite(results: dict[str, dict[str, float]], cases: Sequence[Case]) -> float:
    """The composite over all tasks: the mean of the types' means."""
    return defined_mean(type_means(results, cases).values())


def type_means(results: dict[str, dict[str, float]], cases: Sequence[Case]) -> dict[TaskType, float]:
    """Of each type the mean of its tasks' composites."""
    kinds = {case.task.id: case.task.type for case in cases}
    return {
        kind: defined_mean(metrics["composite"] for name, metrics in results.items() if kinds[name] is kind)
        for kind in TaskType
        if kind in kinds.values()
    }
