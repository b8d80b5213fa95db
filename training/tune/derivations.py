"""Find the tasks whose labels follow from another task's masks of the same images."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aurora.kinds import KINDS
from aurora.scoring.cases import label_of
from aurora.tasks import Derivation, Registry, TaskType
from training.data.cases import Case

#: A derivation is proposed if it gives the labels of at least this share of the training cases.
MIN_EQUAL = 0.95
#: A label follows from a mask if the prediction that the mask gives has at least this score, in [0, 1].
SAME_SCORE = 0.95
#: The labels to look at per task, at most and at least.
MAX_LABELS, MIN_LABELS = 200, 10


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
    shares = {key: float(np.mean(checked)) for key, checked in follows.items() if len(checked) >= MIN_LABELS}
    best = sorted((share, task, derivation) for (task, derivation), share in shares.items() if share >= MIN_EQUAL)
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
