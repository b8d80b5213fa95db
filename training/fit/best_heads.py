"""The second stage of training: the body is frozen, and each task type keeps the better of its heads."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from torch import nn

from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from training.data.cases import Case
from training.evaluation.evaluate import type_means

#: Metrics by task id.
Results = dict[str, dict[str, float]]


def freeze_body(model: Aurora) -> None:
    """Exclude everything except the heads from training."""
    for module in (model.encoder, model.stem, model.pyramid):
        if isinstance(module, nn.Module):
            module.requires_grad_(False)


def with_better_heads(
    model: Aurora, results: Results, weights: Path, validation: Sequence[Case]
) -> tuple[Aurora, Results]:
    """Return a copy of a model in which each task type has the better of its head and that of a checkpoint.

    Because both have the same frozen body, no type depends on the choice for another.

    Args:
        model: the trained model.
        results: its metrics on the validation cases.
        weights: the checkpoint of the best heads so far, whose provenance has their metrics.
        validation: the validation cases.

    Returns:
        The model, and its metrics; a type without validation cases has the trained head.
    """
    best, spec = checkpoint.load(weights)
    before: Results = spec.provenance["validation"]
    types = {case.task.id: case.task.type for case in validation}
    new, old = type_means(results, validation), type_means(before, validation)
    kept = [task_type for task_type in old if not new.get(task_type, 0.0) > old[task_type]]
    merged = deepcopy(model)
    for task_type in kept:
        merged.heads[task_type].load_state_dict(best.heads[task_type].state_dict())
    return merged, {name: (before if types[name] in kept else results)[name] for name in results}
