"""The challenge's metrics of a model on labelled cases, in the images' own frames, without writing files."""

from collections.abc import Sequence
from typing import Literal

from aurora.errors import InputError
from aurora.metrics import Values, composite_of, defined_mean, task_metrics
from aurora.model.aurora import Aurora
from aurora.tasks import Task, TaskType
from training.data.cases import Case
from training.evaluation.outcomes import outcomes

BATCH = 32


def evaluate(
    model: Aurora, cases: Sequence[Case], *, bad_cases: Literal["error", "skip"] = "error"
) -> dict[str, dict[str, float]]:
    """Each task's metrics and `composite` by task id; the Hausdorff distance, which is slow, is left out.

    A case that can't be used is an `InputError`; with `skip` it counts as it does for `inference score`.
    """
    found: dict[Task, list[Values]] = {}
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
