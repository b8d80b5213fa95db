"""The validation cases of each task with the model's predictions, and how good these are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aurora.kinds import KINDS, CaseMetrics, Prediction
from aurora.model.aurora import Aurora
from aurora.scoring.cases import label_of
from aurora.scoring.metrics import composite_of, task_metrics
from aurora.tasks import Task
from training.data.cases import Case
from training.evaluation.evaluate import predicted_cases


@dataclass(slots=True)
class TaskCases:
    """The validation cases of a task: labels, predictions and raw confidences, in the same order."""

    labels: list[Any] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)


def predict(model: Aurora, cases: Sequence[Case], batch_size: int) -> dict[str, TaskCases]:
    """Predict the cases that have a usable label, and return them by task."""
    tasks: dict[str, TaskCases] = defaultdict(TaskCases)
    for case, predicted in predicted_cases(model, cases, batch_size, use=lambda case, predicted: (case, predicted)):
        label = label_of(case.row, case.root, case.task.num_classes)
        if label is not None and predicted.fallback is None and predicted.confidence is not None:
            group = tasks[case.task.id]
            group.labels.append(label)
            group.predictions.append(predicted.prediction)
            group.confidences.append(predicted.confidence)
    return tasks


def metrics_of(task: Task, group: TaskCases, *, hausdorff: bool = False) -> list[CaseMetrics]:
    """Compare each prediction with its label."""
    kind, count = KINDS[task.type], task.num_classes
    return [
        kind.case_metrics(label, kind.to_value(prediction, label, count), count, hausdorff=hausdorff)
        for label, prediction in zip(group.labels, group.predictions, strict=True)
    ]


def scores_of(task: Task, group: TaskCases) -> np.ndarray:
    """Return the score of each prediction, (N,) in [0, 1]."""
    rank = KINDS[task.type].rank
    return np.array([rank(metrics).score for metrics in metrics_of(task, group, hausdorff=True)])


def composite(task: Task, group: TaskCases) -> float:
    """Return the task's share of the challenge's composite."""
    return composite_of(task.type, task_metrics(task.type, metrics_of(task, group)))


def means(task: Task, group: TaskCases) -> Mapping[str, float]:
    """Return the task's metrics, the Hausdorff distance included."""
    return task_metrics(task.type, metrics_of(task, group, hausdorff=True))
