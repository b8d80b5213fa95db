"""Sources of data, scanners or hospitals: each is left out of a training once, and scored all the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from aurora.errors import InputError, UsageError
from aurora.model import checkpoint
from aurora.tasks import TaskType
from training.config import FitConfig
from training.data.cases import Case
from training.data.prepare import prepare
from training.evaluation.evaluate import evaluate, type_means
from training.fit.distributed import ProcessGroup
from training.fit.loop import fit


@dataclass(frozen=True, slots=True)
class Trained:
    """The run that hasn't seen `without`: of every source, that one too, the mean composite (0..1) by type."""

    without: str
    scores: dict[str, dict[TaskType, float]]


def leave_each_out(settings: FitConfig, sources: Sequence[Path], out: Path, group: ProcessGroup) -> list[Trained]:
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
    cases, validation = prepare(
        settings, [source / "train" for source in sources], [source / "val" for source in sources]
    )
    training = {name: [case for case in cases if case.root != by_name[name] / "train"] for name in by_name}
    scored = {name: [case for case in validation if case.root == by_name[name] / "val"] for name in by_name}
    for name, own in training.items():
        _check_tasks(name, own, validation)
    return [_without(name, settings, training[name], scored, out / f"without-{name}", group) for name in by_name]


def _check_tasks(name: str, training: Sequence[Case], validation: Sequence[Case]) -> None:
    trained = {case.task for case in training}
    for case in validation:
        if case.task not in trained:
            raise InputError(
                f"{case.row.source}: expected a task that is trained without {name} too, found {case.task.id} "
                f"(num_classes {case.task.num_classes}); name the tasks that the sources share with tasks=[...]"
            )


def _without(
    name: str,
    settings: FitConfig,
    training: Sequence[Case],
    validation: dict[str, list[Case]],
    folder: Path,
    group: ProcessGroup,
) -> Trained:
    # No case chooses the weights: those of the source left out would no longer be unseen.
    weights = fit(settings, training, [], folder, [other for other in validation if other != name], group, resume=True)
    model = checkpoint.load(weights)[0].to(group.device)
    scores = {
        source: type_means(evaluate(model, cases, bad_cases=settings.on_bad_case), cases)
        for source, cases in validation.items()
    }
    return Trained(name, scores)


def as_markdown(runs: Sequence[Trained]) -> str:
    """A table with a line per source, and their mean.

    Of the composite: the mean of the runs that were trained on the source, the run that wasn't, and the difference;
    of each type the difference, where the source has validation cases of the type.
    """
    kinds = [kind for kind in TaskType if any(kind in run.scores[run.without] for run in runs)]
    rows = {run.without: _row(run.without, runs) for run in runs}
    columns = ["seen", "unseen", "difference", *kinds]
    rows["mean"] = {name: fmean(row[name] for row in rows.values() if name in row) for name in columns}
    lines = [["source", *columns], ["---", *["---:"] * len(columns)]]
    for name, row in rows.items():
        formats = {"seen": ".3f", "unseen": ".3f"}
        lines.append([name, *(f"{row[key]:{formats.get(key, '+.3f')}}" if key in row else "" for key in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(source: str, runs: Sequence[Trained]) -> dict[str, float]:
    """The numbers of one source by column; those of a type are there if it has validation cases of the type."""
    unseen = next(run.scores[source] for run in runs if run.without == source)
    others = [run.scores[source] for run in runs if run.without != source]
    seen = {kind: fmean(scores[kind] for scores in others) for kind in unseen}
    whole = {"seen": fmean(seen.values()), "unseen": fmean(unseen.values())}
    differences = {str(kind): unseen[kind] - seen[kind] for kind in unseen}
    return whole | {"difference": whole["unseen"] - whole["seen"]} | differences
