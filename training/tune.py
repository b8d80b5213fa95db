"""Learn what follows a trained model: the refinements of its predictions, and what its confidence is worth.

Refinements, and derivations from another task's mask, are proposed by the training labels and kept if they help on
validation labels. Confidences are calibrated on validation labels. All become part of the task registry in the
checkpoint, and the temperature of a classification task becomes part of its last layer, so inference needs no further
file and hardly any further time.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from aurora.errors import InputError
from aurora.kinds import KINDS, Prediction
from aurora.kinds.classification import ClassificationPrediction
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.scoring.cases import label_of
from aurora.tasks import Derivation, Registry, Task, TaskType, channel_slices, without_refinements
from training.data.cases import Case, load_cases
from training.evaluation.evaluate import predicted_cases

logger = logging.getLogger("aurora.training")

#: A refinement is proposed if it leaves the labels of at least this share of the training cases (nearly) as they are.
MIN_UNCHANGED = 0.95
#: Two masks are nearly the same from this Dice coefficient.
SAME_DICE = 0.98
#: A label follows from a mask if the prediction that the mask gives has at least this score, in [0, 1].
SAME_SCORE = 0.95
#: Training labels to look at per task, and the fewest validation cases on which something is fitted.
MAX_LABELS, MIN_CASES = 200, 10
# Temperatures are searched among these, which are equally spaced in their logarithm.
_TEMPERATURES = np.geomspace(0.25, 8.0, 101)


@dataclass(slots=True)
class _TaskCases:
    """The validation cases of a task: labels, predictions and raw confidences, in the same order."""

    labels: list[np.ndarray] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)


def tune(weights: Path, data: Sequence[Path], val: Sequence[Path], out: Path, batch_size: int = 16) -> Registry:
    """Write a copy of a checkpoint with refinements, derivations and calibration, and return its task registry.

    Args:
        weights: the trained checkpoint, `.safetensors`.
        data: labelled input roots whose labels say what a task's predictions look like.
        val: labelled input roots to choose and fit on, which the model wasn't trained on.
        out: the checkpoint to write, `.safetensors`.
        batch_size: images per batch.

    Raises:
        WeightsError: the checkpoint can't be used.
        InputError: a root has no usable labelled rows.
        OutputError: `out` can't be written.

    Example:
        >>> tune(Path("runs/a/best.safetensors"), [train], [val], Path("runs/a/tuned.safetensors"))  # doctest: +SKIP
    """
    model, spec = checkpoint.load(weights)
    model.tasks = without_refinements({name: replace(t, calibration=()) for name, t in spec.tasks.items()})
    labelled, validation = load_cases(data), load_cases(val)
    proposed = proposed_refinements(labelled, model.tasks)
    cases = _predict(model, validation, batch_size)
    for name, group in cases.items():
        task = model.tasks[name]
        if len(group.labels) < MIN_CASES:
            logger.info("%s: %d validation cases are too few; left as it is", name, len(group.labels))
        elif task.type == TaskType.CLASSIFICATION:
            temperature = best_temperature(_log_probabilities(group.predictions), np.array(group.labels))
            _divide_logits(model, task, temperature)
            logger.info("%s: temperature %.2f", name, temperature)
        else:
            model.tasks[name] = _tuned(task, group, proposed.get(name, ()))
    # After the refinements, because a derivation begins with a refined mask.
    for name, derivation in proposed_derivations(labelled, model.tasks).items():
        if len(cases[name].labels) >= MIN_CASES:
            own_cases = [case for case in validation if case.task.id == name]
            model.tasks[name] = _better_derived(model, derivation, cases[name], own_cases, batch_size)
    for task in list(model.tasks.values()):
        if task.alias is not None:
            own = model.tasks[task.alias]
            model.tasks[task.id] = replace(
                task, refinements=own.refinements, derivation=own.derivation, calibration=own.calibration
            )
    checkpoint.save(out, model, {**spec.provenance, "tuned_on": [root.name for root in val]})
    return model.tasks


def proposed_refinements(cases: Iterable[Case], tasks: Registry) -> dict[str, tuple[str, ...]]:
    """Return, by task, the refinements that leave nearly all training labels nearly as they are."""
    unchanged: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    seen: dict[str, int] = defaultdict(int)
    for case in cases:
        steps = KINDS[case.task.type].REFINEMENTS
        if not steps or case.task.id not in tasks or seen[case.task.id] == MAX_LABELS:
            continue
        label = label_of(case.row, case.root, case.task.num_classes)
        if label is None:
            continue
        seen[case.task.id] += 1
        for name, step in steps.items():
            metrics = KINDS[case.task.type].case_metrics(label, step(label), case.task.num_classes, hausdorff=False)
            unchanged[case.task.id][name].append(bool(metrics["dsc"].min() >= SAME_DICE))
    return {
        task: tuple(name for name, same in steps.items() if np.mean(same) >= MIN_UNCHANGED)
        for task, steps in unchanged.items()
    }


def proposed_derivations(cases: Sequence[Case], tasks: Registry) -> dict[str, Derivation]:
    """Return, by task, the rule and the segmentation task whose masks give nearly all its training labels."""
    masks: dict[tuple[Path, str], list[Case]] = defaultdict(list)
    for case in cases:
        if case.task.type == TaskType.SEGMENTATION and case.task.id in tasks:
            masks[case.root, case.row.image_path].append(case)
    follows: dict[tuple[str, Derivation], list[bool]] = defaultdict(list)
    for case in cases:
        rules = KINDS[case.task.type].DERIVATIONS
        for other in masks[case.root, case.row.image_path] if rules and case.task.id in tasks else ():
            for rule in rules:
                checked = follows[case.task.id, Derivation(rule, other.task.id)]
                if len(checked) < MAX_LABELS:
                    checked.append(_label_follows(case, other, rule))
    shares = {key: float(np.mean(checked)) for key, checked in follows.items() if len(checked) >= MIN_CASES}
    best = sorted((share, task, derivation) for (task, derivation), share in shares.items() if share >= MIN_UNCHANGED)
    return {task: derivation for _, task, derivation in best}


def _label_follows(case: Case, other: Case, rule: str) -> bool:
    """Return whether a label is (nearly) what a rule makes of another case's mask of the same image."""
    kind, count = KINDS[case.task.type], case.task.num_classes
    label = label_of(case.row, case.root, count)
    mask = label_of(other.row, other.root, other.task.num_classes)
    if label is None or mask is None:
        return False
    derived = kind.DERIVATIONS[rule](case.row, count, mask)
    if derived is None:
        return False
    metrics = kind.case_metrics(label, kind.to_value(derived, label, count), count, hausdorff=False)
    return kind.rank(metrics).score >= SAME_SCORE


def chosen_refinements(
    predictions: Sequence[np.ndarray],
    score: Callable[[Sequence[np.ndarray]], tuple[float, float]],
    task: Task,
    proposed: Iterable[str],
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Return the proposed refinements that help, and the predictions after them.

    One after another, each is kept if the score, which compares as a tuple, rises.
    """
    refined, kept = list(predictions), tuple[str, ...]()
    best = score(refined)
    for name in proposed:
        candidates = [KINDS[task.type].REFINEMENTS[name](prediction) for prediction in refined]
        result = score(candidates)
        if result > best:
            refined, kept, best = candidates, (*kept, name), result
    return kept, refined


def best_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that maximises the likelihood of the labels (Guo et al., 2017).

    Args:
        log_probabilities: (N, C), the logarithms of predicted probabilities.
        labels: the true classes, (N,).

    Example:
        >>> certain = np.log([[0.99, 0.01]] * 4)
        >>> best_temperature(certain, np.array([0, 0, 0, 1])) > 3
        True
    """
    scaled = log_probabilities[None] / _TEMPERATURES[:, None, None]
    normalised = scaled - np.logaddexp.reduce(scaled, axis=2, keepdims=True)
    likelihood = normalised[:, np.arange(len(labels)), labels].mean(axis=1)
    return float(_TEMPERATURES[likelihood.argmax()])


def calibration_curve(confidences: np.ndarray, scores: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return the points of the increasing line through (confidence, score) with the least squared error.

    Both are in [0, 1], and so are the line's values. Where scores fall with confidence, the line is their mean.

    Example:
        >>> calibration_curve(np.array([0.2, 0.4]), np.array([0.4, 0.8]))
        ((0.0, 0.0), (0.5, 1.0))
    """
    deviation = confidences - confidences.mean()
    variance = float((deviation**2).sum())
    slope = max(float((deviation * scores).sum()) / variance, 0.0) if variance else 0.0
    start = float(scores.mean()) - slope * float(confidences.mean())
    # The line from 0 to 1, cut off where its value leaves [0, 1].
    ends = {0.0, 1.0} | ({-start / slope, (1.0 - start) / slope} if slope else set())
    points = [(round(x, 4), round(min(max(start + slope * x, 0.0), 1.0), 4)) for x in sorted(ends) if 0.0 <= x <= 1.0]
    return tuple(dict(points).items())


def _predict(model: Aurora, cases: Sequence[Case], batch_size: int) -> dict[str, _TaskCases]:
    tasks: dict[str, _TaskCases] = defaultdict(_TaskCases)
    # An alias shares the channels of its task, which must not be divided twice.
    own = {name for name, task in model.tasks.items() if task.alias is None}
    known = [case for case in cases if case.task.id in own]
    if not known:
        raise InputError(f"expected rows of {', '.join(sorted(own))} in the validation data, found none")
    for case, predicted in predicted_cases(model, known, batch_size, use=lambda case, predicted: (case, predicted)):
        label = label_of(case.row, case.root, case.task.num_classes)
        if label is not None and predicted.fallback is None and predicted.confidence is not None:
            group = tasks[case.task.id]
            group.labels.append(label)
            group.predictions.append(predicted.prediction)
            group.confidences.append(predicted.confidence)
    return tasks


def _tuned(task: Task, group: _TaskCases, proposed: Iterable[str]) -> Task:
    """Return the task with refinements and a calibration."""

    def quality(masks: Sequence[np.ndarray]) -> tuple[float, float]:
        metrics = KINDS[task.type].task_metrics(_measured(task, group, masks))
        # Rounded, so that a distance decides between masks of practically the same overlap.
        return round(metrics["dsc"], 3), -metrics["hd"]

    kept: tuple[str, ...] = ()
    predictions: Sequence[Prediction] = group.predictions
    if proposed:
        masks = [prediction for prediction in predictions if isinstance(prediction, np.ndarray)]
        kept, predictions = chosen_refinements(masks, quality, task, proposed)
    scores = _scores(task, group, predictions)
    raw = np.array(group.confidences)
    curve = calibration_curve(raw, scores)
    expected = np.interp(raw, [x for x, _ in curve], [y for _, y in curve])
    before, after = np.abs(raw - scores).mean(), np.abs(expected - scores).mean()
    logger.info("%s: refinements %s; error of the confidence %.3f, before %.3f", task.id, list(kept), after, before)
    return replace(task, refinements=kept, calibration=curve)


def _better_derived(
    model: Aurora, derivation: Derivation, own: _TaskCases, cases: Sequence[Case], batch_size: int
) -> Task:
    """Return the task of `cases` with the derivation and its calibration if it scores better, else as it is."""
    task = model.tasks[cases[0].task.id]
    candidate = replace(task, derivation=derivation, calibration=())
    model.tasks[task.id] = candidate
    derived = _predict(model, cases, batch_size)[task.id]
    before, after = (float(_scores(task, group, group.predictions).mean()) for group in (own, derived))
    logger.info("%s: by %s of %s %.3f, by its own channels %.3f", task.id, *derivation, after, before)
    return _tuned(candidate, derived, ()) if after > before else task


def _measured(task: Task, group: _TaskCases, predictions: Sequence[Prediction]) -> list[Mapping[str, np.ndarray]]:
    kind, count = KINDS[task.type], task.num_classes
    return [
        kind.case_metrics(label, kind.to_value(prediction, label, count), count, hausdorff=True)
        for label, prediction in zip(group.labels, predictions, strict=True)
    ]


def _scores(task: Task, group: _TaskCases, predictions: Sequence[Prediction]) -> np.ndarray:
    """Return the score of each prediction, (N,) in [0, 1]."""
    return np.array([KINDS[task.type].rank(metrics).score for metrics in _measured(task, group, predictions)])


def _log_probabilities(predictions: Iterable[Prediction]) -> np.ndarray:
    values = [p.predicted_probs for p in predictions if isinstance(p, ClassificationPrediction)]
    return np.log(np.maximum(values, math.exp(-30)))


@torch.no_grad()
def _divide_logits(model: Aurora, task: Task, temperature: float) -> None:
    channels = channel_slices(model.tasks, task.type)[task.id]
    for parameter in model.heads[task.type].get_submodule("last").parameters():
        parameter[channels] /= temperature
