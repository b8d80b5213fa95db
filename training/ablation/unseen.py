"""Sources of data, scanners or hospitals: each is left out of a training once, and scored all the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from aurora import checkpoint
from aurora.errors import InputError, UsageError
from aurora.tasks import TaskType
from training.config import FitConfig
from training.data.cases import Case
from training.data.prepare import prepare
from training.evaluation.evaluate import evaluate, type_means
from training.fit.group import Group
from training.fit.loop import fit


@dataclass(frozen=True, slots=True)
class Trained:
    """The run that hasn't seen `without`: of every source, that one too, the mean composite (0..1) by type."""

    without: str
    scores: dict[str, dict[TaskType, float]]


def leave_each_out(settings: FitConfig, sources: Sequence[Path], out: Path, group: Group) -> list[Trained]:
    """One run per source, on all the others; the weights of its last step are scored on each.

    Args:
        sources: folders with two labelled input roots each, `train` and `val`; a source bears its folder's name.
        out: gets the runs, each in a folder `without-NAME`. What is trained already is only scored.
        group: the processes that train, which score each for itself.

    Raises:
        UsageError: fewer than two sources, or two of one name.
        InputError: as `prepare` does; a validation case of a task that one of the runs doesn't train.
        Others as `fit` does.
    """
    by_name = {source.resolve().name: source for source in sources}
    if len(by_name) < max(len(sources), 2):
        raise UsageError(f"expected two sources or more, of different names, found: {', '.join(map(str, sources))}")
    # All before the first run: what is wrong with the last source is said at once.
    data = {name: _data_without(name, settings, by_name) for name in by_name}
    return [_without(name, settings, by_name, *data[name], out / f"without-{name}", group) for name in by_name]


def _data_without(name: str, settings: FitConfig, sources: dict[str, Path]) -> tuple[list[Case], list[Case]]:
    """The training cases of the other sources, and the validation cases of all."""
    training = [source / "train" for other, source in sources.items() if other != name]
    cases, validation = prepare(settings, training, [source / "val" for source in sources.values()])
    trained = {case.task for case in cases}
    for case in validation:
        if case.task not in trained:
            raise InputError(
                f"{case.row.source}: expected a task that is trained without {name} too, found {case.task.id} "
                f"(num_classes {case.task.num_classes}); name the tasks that the sources share with tasks=[...]"
            )
    return cases, validation


def _without(
    name: str,
    settings: FitConfig,
    sources: dict[str, Path],
    cases: Sequence[Case],
    validation: Sequence[Case],
    folder: Path,
    group: Group,
) -> Trained:
    # No case chooses the weights: those of the source left out would no longer be unseen.
    weights = fit(settings, cases, [], folder, [other for other in sources if other != name], group, resume=True)
    model = checkpoint.load(weights)[0].to(group.device)
    scores = {}
    for scored, source in sources.items():
        own = [case for case in validation if case.root == source / "val"]
        scores[scored] = type_means(evaluate(model, own, bad_cases=settings.bad_cases), own)
    return Trained(name, scores)


def as_markdown(runs: Sequence[Trained]) -> str:
    """A table with a line per source, and their mean.

    Of the composite: the mean of the runs that were trained on the source, the run that wasn't, and the difference;
    of each type the difference.
    """
    kinds = [kind for kind in TaskType if kind in runs[0].scores[runs[0].without]]
    lines = [["source", "seen", "unseen", "difference", *kinds], ["---", *["---:"] * (len(kinds) + 3)]]
    rows = []
    for run in runs:
        unseen = run.scores[run.without]
        others = [other.scores[run.without] for other in runs if other is not run]
        seen = {kind: fmean(scores[kind] for scores in others) for kind in kinds}
        whole = fmean(seen.values()), fmean(unseen[kind] for kind in kinds)
        rows.append([*whole, whole[1] - whole[0], *(unseen[kind] - seen[kind] for kind in kinds)])
    rows.append([fmean(column) for column in zip(*rows, strict=True)])
    for name, row in zip([*(run.without for run in runs), "mean"], rows, strict=True):
        lines.append([name, *(f"{score:.3f}" for score in row[:2]), *(f"{difference:+.3f}" for difference in row[2:])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
