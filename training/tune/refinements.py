"""Propose the refinements of masks that fit a task's training labels, and choose those that help."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from aurora.kinds import KINDS
from aurora.scoring.cases import label_of
from aurora.tasks import Registry, Task
from training.data.cases import Case

#: A refinement is proposed if it leaves the labels of at least this share of the training cases (nearly) as they are.
MIN_UNCHANGED = 0.95
#: Two masks are nearly the same from this Dice coefficient.
SAME_DICE = 0.98
#: Training labels to look at per task.
MAX_LABELS = 200


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
