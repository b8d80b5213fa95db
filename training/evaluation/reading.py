"""Labelled cases with their images, as the evaluation reads them ahead of the model.

Which answer a row asks for, and what stands in the way of it, is judged as `inference run` judges it; what is a
usable label, as `inference score` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aurora.cases import label_of
from aurora.errors import AuroraError, InputError
from aurora.frames import Framed, read_frame, read_size
from aurora.requests import Request, request_of
from aurora.tasks import Registry
from training.data.cases import Case


@dataclass(frozen=True, slots=True)
class Asked:
    """A case with what it asks of the model, and its label as `aurora.cases` has it, or the error for want of one."""

    case: Case
    request: Request
    label: Any


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image and what is asked of it."""

    asked: list[Asked]
    image: Framed


def load(cases: Sequence[Case], tasks: Registry, frame: tuple[int, int]) -> Loaded:
    """Read the image that all `cases` share for a `frame` (height, width), and their labels.

    `tasks` is what the model answers. What is wrong with the image or a label stands in the result.
    """
    asked = [Asked(case, request_of(case.row, tasks), _label(case)) for case in cases]
    wanted = any(item.request.refusal is None for item in asked)
    root, row = cases[0].root, cases[0].row
    return Loaded(asked, read_frame(root, row, frame) if wanted else read_size(root, row))


def _label(case: Case) -> Any:
    try:
        label = label_of(case.row, case.root, case.task.num_classes)
    except AuroraError as error:
        return InputError(f"the label can't be used: {error}")
    return InputError("the row has no label") if label is None else label
