"""Evaluate a model on labelled cases, without writing files.

Cases are predicted by the code of `inference run` and compared by the code of `inference score`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from aurora.engine.pytorch import ModuleEngine
from aurora.errors import AuroraError, InputError
from aurora.kinds import KINDS, CaseMetrics
from aurora.kinds.base import defined_mean
from aurora.model.aurora import Aurora
from aurora.model.checkpoint import Spec
from aurora.predict.pipeline import predictions, read_from
from aurora.predict.predictions import PredictedRow
from aurora.predict.request import Job, request_of
from aurora.scoring.cases import label_of
from aurora.scoring.metrics import by_type, composite_of, task_metrics
from aurora.tasks import Registry, Task, TaskType
from training.data.cases import Case

BATCH = 32
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The comparison of one case's prediction with its label.

    `metrics` is None if nothing could be compared; `labelled` is whether the case has a usable label. `problem`
    describes the fault of the label or the prediction; `fallback` is the reason if the prediction is a fallback.
    `warnings` says what else is unusual about the image or the row.
    """

    case: Case
    labelled: bool
    metrics: CaseMetrics | None = None
    problem: str | None = None
    fallback: str | None = None
    warnings: tuple[str, ...] = ()


def evaluate(
    model: Aurora, cases: Sequence[Case], *, on_bad_case: Literal["error", "skip"] = "error"
) -> dict[str, dict[str, float]]:
    """Return each task's metrics and `composite` by task id; the Hausdorff distance, which is slow, is left out.

    A case that can't be used raises `InputError`; with "skip" it counts as in `inference score`.
    """
    tasks: dict[Task, list[CaseMetrics]] = {}
    for outcome in outcomes(model, cases, BATCH, hausdorff=False):
        wrong = outcome.problem or outcome.fallback
        if wrong and on_bad_case == "error":
            raise InputError(f"{outcome.case.row.source}: {wrong}")
        if outcome.metrics:
            tasks.setdefault(outcome.case.task, []).append(outcome.metrics)
    results = {}
    for task, group in tasks.items():
        metrics = task_metrics(task.type, group)
        results[task.id] = metrics | {"composite": composite_of(task.type, metrics)}
    return results


def composite(results: dict[str, dict[str, float]], cases: Sequence[Case]) -> float:
    """Return the composite over all tasks: the mean of the types' means."""
    return defined_mean(type_means(results, cases).values())


def type_means(results: dict[str, dict[str, float]], cases: Sequence[Case]) -> dict[TaskType, float]:
    """Return the mean of the tasks' composites for each type."""
    types = {case.task.id: case.task.type for case in cases}
    groups = by_type((types[name], metrics["composite"]) for name, metrics in results.items())
    return {task_type: defined_mean(composites) for task_type, composites in groups.items()}


def outcomes(model: Aurora, cases: Iterable[Case], batch_size: int, *, hausdorff: bool) -> Iterator[Outcome]:
    """Yield every case's outcome, in the order of `predicted_cases`.

    Without `hausdorff`, the Hausdorff distance of masks, which is slow, isn't measured.
    """
    return predicted_cases(model, cases, batch_size, use=partial(_compare, hausdorff=hausdorff))


def predicted_cases(
    model: Aurora, cases: Iterable[Case], batch_size: int, use: Callable[[Case, PredictedRow], Result]
) -> Iterator[Result]:
    """Predict cases, one input root after another, and yield what `use` returns for each case and its prediction.

    Cases that share an image follow the first of them, and the image is encoded once. `use` is called in threads.
    """
    engine = ModuleEngine(model, Spec(model.config, model.tasks, {}))
    roots: dict[Path, list[Case]] = {}
    for case in cases:
        roots.setdefault(case.root, []).append(case)
    for root, group in roots.items():
        by_source = {case.row.source: case for case in group}
        use_row = partial(_use_row, by_source, use)
        yield from predictions(engine, _jobs(group, model.tasks), read_from(root, engine), batch_size, use_row)


def _use_row(cases: Mapping[str, Case], use: Callable[[Case, PredictedRow], Result], predicted: PredictedRow) -> Result:
    return use(cases[predicted.row.source], predicted)


def _jobs(cases: Iterable[Case], tasks: Registry) -> Iterable[Job]:
    """Return one job per image, in the order in which the images first occur."""
    images: dict[str, list[Case]] = {}
    for case in cases:
        images.setdefault(case.row.image_path, []).append(case)
    return [Job([request_of(case.row, tasks) for case in group]) for group in images.values()]


def _compare(case: Case, predicted: PredictedRow, hausdorff: bool) -> Outcome:
    kind, num_classes, warnings = KINDS[case.task.type], case.task.num_classes, predicted.warnings
    try:
        label = label_of(case.row, case.root, num_classes)
    except AuroraError as error:
        reason = str(error).removeprefix(f"{case.row.source}: ")
        return Outcome(case, False, problem=f"the label can't be used: {reason}", warnings=warnings)
    if label is None:
        return Outcome(case, False, problem="the row has no label", warnings=warnings)
    try:
        value = kind.to_value(predicted.prediction, label, num_classes)
        metrics = kind.case_metrics(label, value, num_classes, hausdorff=hausdorff)
    except ValueError as error:
        return Outcome(case, True, None, f"the prediction can't be used: {error}", predicted.fallback, warnings)
    return Outcome(case, True, metrics, None, predicted.fallback, warnings)
