"""Learn what follows a trained model: views, refinements, derivations, and what its confidence is worth.

Refinements, and derivations from another task's mask, are proposed by the training labels and kept if they help on
validation labels. So is a second, mirrored view of the image. Confidences are calibrated on validation labels. All
become part of the task registry in the checkpoint, the temperature of a classification task becomes part of its last
layer, and the distribution of the training images part of the model, so inference needs no further file.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from aurora.errors import InputError
from aurora.kinds import Prediction
from aurora.kinds.classification import ClassificationPrediction
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.scoring.reliability import calibration_error
from aurora.tasks import Registry, Task, TaskType, channel_slices, with_mirrored_views, without_refinements
from training.data.cases import Case, load_cases
from training.tune.calibration import (
    Confidences,
    best_temperature,
    calibration_curve,
    cross_validated,
    draw_reliability,
    joined,
)
from training.tune.derivations import proposed_derivations
from training.tune.novelty import fit_novelty
from training.tune.refinements import chosen_refinements, proposed_refinements
from training.tune.validation import TaskCases, composite, means, predict, scores_of

logger = logging.getLogger("aurora.training")

#: The fewest validation cases on which something is fitted or chosen.
MIN_CASES = 10
#: The composite that a mirrored view must add to a task, because it doubles the model's work for the task's images.
MIN_VIEW_GAIN = 0.005


def tune(weights: Path, data: Sequence[Path], val: Sequence[Path], out: Path, batch_size: int = 16) -> Registry:
    """Write a tuned copy of a checkpoint, and return its task registry.

    The figure beside it, with the suffix `.png`, shows the reliability of its confidences before and after.

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
    model.tasks = without_refinements({name: replace(task, calibration=()) for name, task in spec.tasks.items()})
    labelled = load_cases(data)
    # An alias shares the channels of its task, which must not be divided twice.
    own = {name for name, task in model.tasks.items() if task.alias is None}
    validation = [case for case in load_cases(val) if case.task.id in own]
    if not validation:
        raise InputError(f"expected rows of {', '.join(sorted(own))} in the validation data, found none")
    predict_again = partial(predict, model, batch_size=batch_size)
    cases = _enough(predict_again(validation))
    _choose_views(model, cases, validation, predict_again)
    _choose_refinements(model, cases, proposed_refinements(labelled, model.tasks))
    # After the refinements, because a derivation begins with a refined mask.
    _choose_derivations(model, cases, labelled, validation, predict_again)
    confidences = {name: _calibrate(model, name, group) for name, group in cases.items()}
    _copy_to_aliases(model)
    fit_novelty(model, labelled, validation, batch_size)
    checkpoint.save(out, model, {**spec.provenance, "tuned_on": [root.name for root in val]})
    if confidences:
        _report_confidences(model.tasks, confidences, out.with_suffix(".png"))
    return model.tasks


def _enough(cases: dict[str, TaskCases]) -> dict[str, TaskCases]:
    for name, group in cases.items():
        if len(group.labels) < MIN_CASES:
            logger.info("%s: %d validation cases are too few; left as it is", name, len(group.labels))
    return {name: group for name, group in cases.items() if len(group.labels) >= MIN_CASES}


Predict = Callable[[Sequence[Case]], dict[str, TaskCases]]


def _choose_views(
    model: Aurora, cases: dict[str, TaskCases], validation: Sequence[Case], predict_again: Predict
) -> None:
    """Let the tasks see a mirrored view that gain enough by it; their predictions in `cases` become those."""
    plain = dict(model.tasks)
    model.tasks = with_mirrored_views(plain)
    either = {name for name in cases if not plain[name].left_right}
    mirrored = predict_again([case for case in validation if case.task.id in either])
    model.tasks = plain
    for name in sorted(either):
        task = plain[name]
        before, after = composite(task, cases[name]), composite(task, mirrored[name])
        kept = after >= before + MIN_VIEW_GAIN
        logger.info("%s: with a mirrored view %.3f, without %.3f%s", name, after, before, "; kept" if kept else "")
        if kept:
            model.tasks[name], cases[name] = replace(task, mirrored=True), mirrored[name]


def _choose_refinements(model: Aurora, cases: Mapping[str, TaskCases], proposed: Mapping[str, Iterable[str]]) -> None:
    """Give the tasks the proposed refinements that help; their predictions in `cases` become the refined ones."""
    for name in sorted(cases.keys() & proposed.keys()):
        task, group = model.tasks[name], cases[name]
        quality = partial(_mask_quality, task, group)
        masks = [prediction for prediction in group.predictions if isinstance(prediction, np.ndarray)]
        kept, refined = chosen_refinements(masks, quality, task, proposed[name])
        logger.info("%s: refinements %s", name, list(kept))
        model.tasks[name], group.predictions = replace(task, refinements=kept), list(refined)


def _mask_quality(task: Task, group: TaskCases, masks: Sequence[np.ndarray]) -> tuple[float, float]:
    metrics = means(task, replace(group, predictions=list(masks)))
    # Rounded, so that a distance decides between masks of practically the same overlap.
    return round(metrics["dsc"], 3), -metrics["hd"]


def _choose_derivations(
    model: Aurora,
    cases: dict[str, TaskCases],
    labelled: Sequence[Case],
    validation: Sequence[Case],
    predict_again: Predict,
) -> None:
    """Derive the tasks from masks that score better so; their predictions in `cases` become the derived ones."""
    for name, derivation in proposed_derivations(labelled, model.tasks).items():
        if name not in cases:
            continue
        task = model.tasks[name]
        model.tasks[name] = replace(task, derivation=derivation)
        derived = predict_again([case for case in validation if case.task.id == name])[name]
        before, after = composite(task, cases[name]), composite(task, derived)
        logger.info("%s: by %s of %s %.3f, by its own channels %.3f", name, *derivation, after, before)
        if after > before:
            cases[name] = derived
        else:
            model.tasks[name] = task


def _calibrate(model: Aurora, name: str, group: TaskCases) -> Confidences:
    """Calibrate a task's confidences, and return them for the report."""
    task = model.tasks[name]
    before = np.array(group.confidences)
    if task.type == TaskType.CLASSIFICATION:
        logits, labels = _log_probabilities(group.predictions), np.array(group.labels)
        _divide_logits(model, task, best_temperature(logits, labels))
        scores = (logits.argmax(axis=1) == labels).astype(float)
        after = cross_validated(partial(_fit_temperature, logits, labels), len(labels))
    else:
        scores = scores_of(task, group)
        model.tasks[name] = replace(task, calibration=calibration_curve(before, scores))
        after = cross_validated(partial(_fit_curve, before, scores), len(scores))
    return Confidences(before, after, scores)


def _fit_temperature(logits: np.ndarray, labels: np.ndarray, known: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    temperature = best_temperature(logits[known], labels[known])
    scaled = logits / temperature
    best = np.exp(scaled.max(axis=1) - np.logaddexp.reduce(scaled, axis=1))
    return best.__getitem__


def _fit_curve(confidences: np.ndarray, scores: np.ndarray, known: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    raw, expected = zip(*calibration_curve(confidences[known], scores[known]), strict=True)
    return lambda held_out: np.interp(confidences[held_out], raw, expected)


def _copy_to_aliases(model: Aurora) -> None:
    for task in list(model.tasks.values()):
        if task.alias is not None:
            own = model.tasks[task.alias]
            model.tasks[task.id] = replace(
                own, id=task.id, alias=task.alias, trained_on=task.trained_on, left_right=task.left_right
            )


def _report_confidences(tasks: Registry, confidences: Mapping[str, Confidences], figure: Path) -> None:
    by_type: dict[str, list[Confidences]] = defaultdict(list)
    for name, group in confidences.items():
        by_type[str(tasks[name].type)].append(group)
        errors = [calibration_error(values, group.scores) for values in (group.before, group.after)]
        logger.info("%s: calibration error %.3f, before %.3f", name, errors[1], errors[0])
    draw_reliability({name: joined(groups) for name, groups in sorted(by_type.items())}, figure)
    logger.info("reliability of the confidences: %s", figure)


def _log_probabilities(predictions: Iterable[Prediction]) -> np.ndarray:
    values = [p.predicted_probs for p in predictions if isinstance(p, ClassificationPrediction)]
    return np.log(np.maximum(values, math.exp(-30)))


@torch.no_grad()
def _divide_logits(model: Aurora, task: Task, temperature: float) -> None:
    logger.info("%s: temperature %.2f", task.id, temperature)
    channels = channel_slices(model.tasks, task.type)[task.id]
    for parameter in model.heads[task.type].get_submodule("last").parameters():
        parameter[channels] /= temperature
