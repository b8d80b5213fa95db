"""Labelled cases with their images, as the evaluation reads them ahead of the model.

Which answer a row asks for, and what stands in the way of it, is judged as `inference run` judges it; what is a
usable label, as `inference score` does.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from aurora.answers import DEFAULT_CLASSES
from aurora.errors import AuroraError, ImageError, InputError
from aurora.images import image_size, read_image, read_mask
from aurora.rows import box_label, class_label, image_file, mask_file, points_label
from aurora.tasks import OFFICIAL, Registry, TaskType
from aurora.transform import to_frame
from training.data.cases import Case

THREADS = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Request:
    """A case with its label, or the error that says why it has none.

    A label is, by type: class ids (H, W); the class; x1, y1, x2, y2; points (K, 2) and the image's diagonal. Lengths
    are in pixels of the original image. `count` is the number of classes or points the answer has; `reason` says why
    the model can't answer, None if it can.
    """

    case: Case
    label: Any
    count: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The requests of one image.

    `frame` is the image for the model, (H, W, 3) 8-bit RGB, None if no request is for the model; `size` the
    original's height and width, None if unknown.
    """

    requests: list[Request]
    frame: np.ndarray | None
    size: tuple[int, int] | None


def ahead(function: Callable[[Item], Result], items: Iterable[Item], limit: int) -> Iterator[Result]:
    """`function` of each item, in order, computed in threads; at most `limit` beyond the one that is given."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def load(cases: Sequence[Case], tasks: Registry, frame: tuple[int, int]) -> Loaded:
    """Read the image that all `cases` share for a `frame` (height, width), and their labels.

    `tasks` is what the model answers. What is wrong with the image or a label stands in the result.
    """
    refusals = [_refusal(case, tasks) for case in cases]
    pixels, size, reason = None, None, None
    if None in refusals:
        try:
            image = read_image(image_file(cases[0].root, cases[0].row), cases[0].root).pixels
            pixels, size = to_frame(image, frame), image.shape[:2]
        except ImageError as error:
            reason = str(error)
        except Exception as error:  # whatever one image does to a decoder, the others are still to be answered
            reason = f"the image broke its decoder ({type(error).__name__}: {error})"
    size = size or _size_from_header(cases[0])
    requests = [
        Request(case, _label(case, size), _count(case, tasks), refusal or reason)
        for case, refusal in zip(cases, refusals, strict=True)
    ]
    return Loaded(requests, pixels, size)


def _size_from_header(case: Case) -> tuple[int, int] | None:
    try:
        return image_size(image_file(case.root, case.row), case.root)
    except ImageError:
        return None


def _refusal(case: Case, tasks: Registry) -> str | None:
    """Why the model can't answer the case, None if it can."""
    row = case.row
    task = tasks.get(row.task_id.strip())
    if task is None:
        return f"the weights have no task {row.task_id!r}"
    if task.type is not row.type:
        return f"the weights know {row.task_id!r} as {task.type}, the row asks for {row.type}"
    return None


def _count(case: Case, tasks: Registry) -> int:
    """How many classes or points the row asks for, or else what its task has."""
    row = case.row
    known = tasks.get(row.task_id.strip()) or OFFICIAL.get(row.task_id.strip())
    return row.num_classes or (known.num_classes if known and known.type is row.type else DEFAULT_CLASSES[row.type])


def _label(case: Case, size: tuple[int, int] | None) -> Any:
    """The label, or the error that says why there is none. `size` is the image's (height, width)."""
    row = case.row
    try:
        if row.type is TaskType.SEGMENTATION and row.mask_path:
            return read_mask(mask_file(case.root, row))
        if row.type is TaskType.CLASSIFICATION and (label := class_label(row)) is not None:
            return _below(label, case.task.num_classes)
        if row.type is TaskType.DETECTION and (box := box_label(row)) is not None:
            return box
        if row.type is TaskType.REGRESSION and (points := points_label(row)) is not None:
            return np.array(points, dtype=float), _diagonal(size)
    except AuroraError as error:
        return InputError(f"the label can't be used: {error}")
    return InputError("the row has no label")


def _below(label: int, num_classes: int) -> int:
    if label >= num_classes:
        raise InputError(f"expected a class below num_classes = {num_classes}, found {label}")
    return label


def _diagonal(size: tuple[int, int] | None) -> float:
    if size is None:
        raise InputError("the points' errors are measured by the image's diagonal, and its size is unknown")
    return math.hypot(*size)
