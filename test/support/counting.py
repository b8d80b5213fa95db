"""A fifth kind of task, for the test that adds one: how many discs an image shows.

The label is the column `count`; the prediction a number, {"image_path", "task_id", "predicted_count"}.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from aurora.errors import InputError
from aurora.kinds import KINDS
from aurora.kinds.base import (
    CaseMetrics,
    DerivationRule,
    Drawing,
    Facts,
    Note,
    Predictions,
    Rank,
    Record,
    Size,
    class_means,
    mean_columns,
    mean_metrics,
    numbered,
    resampled_means,
)
from aurora.model.heads import HEADS
from aurora.rows import Row
from aurora.tasks import TYPES, Task, TaskType, TypeFacts
from training.data.labels import LABELS, MIDDLE, LabelReader, fill_box
from training.fit.losses import LOSSES

COUNTING = TaskType("counting")

METRICS: Mapping[str, str] = {"error": "count error", "hit": "right"}
UNBOUNDED: tuple[str, ...] = ("error",)
COMPOSITE: tuple[str, ...] = ("hit",)
PREDICTIONS_FILE: str | None = "counting_predictions.json"
PART = "count"
CASE_SCORE = "whether the count is right"
HUB_TASK = "other"
REFINEMENTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {}
DERIVATIONS: Mapping[str, DerivationRule] = {}

task_metrics, bootstrap_columns, resample = mean_metrics, mean_columns, resampled_means


class CountPrediction(Record):
    """The number of discs."""

    predicted_count: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


RECORD: type[Record] | None = CountPrediction


def record(row: Row, count: float) -> CountPrediction:
    return CountPrediction(image_path=row.image_path, task_id=row.task_id, predicted_count=max(0.0, count))


def predict(row: Row, count: int, raw: np.ndarray, size: Size) -> Record:
    return record(row, float(raw[0]))


def mirror(raw: np.ndarray) -> np.ndarray:
    return raw


def fallback(row: Row, count: int, size: Size) -> Record:
    return record(row, 0.0)


def from_mean(row: Row, mean: np.ndarray, size: Size) -> Record:
    return record(row, float(mean))


def confidence(raw: np.ndarray) -> float:
    return 1.0 - 2 * abs(float(raw[0]) - round(float(raw[0])))


def read_label(row: Row, root: Path, num_classes: int) -> float | None:
    return float(row.labels["count"]) if "count" in row.labels else None


def read_value(row: Row, predictions: Predictions, label: float, num_classes: int, note: Note) -> float | None:
    entry = predictions.entry(row)
    return None if entry is None else float(entry["predicted_count"])


def to_value(prediction: CountPrediction, label: float, num_classes: int) -> float:
    return prediction.predicted_count


def case_metrics(label: float, value: float, num_classes: int, *, hausdorff: bool) -> CaseMetrics:
    return {"error": np.array([abs(label - value)]), "hit": np.array([float(round(value) == label)])}


def class_metrics(cases: list[CaseMetrics]) -> dict[int, dict[str, float]]:
    return numbered(class_means(cases), first=1)


def rank(metrics: CaseMetrics) -> Rank:
    error = float(metrics["error"][0])
    return Rank(float(metrics["hit"][0]), error, f"off by {error:.1f}")


def draw_label(label: float) -> Drawing:
    return Drawing()


def draw_value(value: float) -> Drawing:
    return Drawing()


def draw_prediction(prediction: CountPrediction) -> Drawing:
    return Drawing()


def facts(prediction: CountPrediction) -> Facts:
    return Facts(classes=[(round(prediction.predicted_count), None)])


def check(prediction: CountPrediction, row: Row) -> None:
    if prediction.predicted_count > 1000:
        raise ValueError(f"expected a count up to 1000, found {prediction.predicted_count}")


class CountingHead(nn.Module):
    """Maps of four levels to one number per channel, (B, channels)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.last = nn.Linear(width, channels)

    def forward(self, levels: list[Tensor]) -> Tensor:
        return self.last(levels[0].mean((2, 3))) * 10


def counting_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.smooth_l1_loss(outputs[:, 0].float(), targets.float())


def read_count(root: Path, row: Row, task: Task, size: Size) -> np.ndarray:
    if "count" not in row.labels:
        raise InputError(f"{row.source}: expected a number in the column count, found none; add it")
    return np.asarray(float(row.labels["count"]), dtype=np.float32)


READER = LabelReader(
    read=read_count,
    check=read_count,
    target=lambda label, task, matrix, frame: label,
    keep_inside=lambda label: fill_box(MIDDLE),
    keep_visible=lambda target: fill_box(MIDDLE),
    average=lambda label, task: label,
)


@contextmanager
def registered() -> Iterator[TaskType]:
    """Register the kind, its head, loss and label reader; remove them afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TYPES, COUNTING, TypeFacts(default_count=1, counts_classes=False, label_column="count"))
        patch.setitem(KINDS, COUNTING, sys.modules[__name__])
        patch.setitem(HEADS, COUNTING, CountingHead)
        patch.setitem(LOSSES, COUNTING, counting_loss)
        patch.setitem(LABELS, COUNTING, READER)
        yield COUNTING
