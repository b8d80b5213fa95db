"""Leave-one-source-out: train without each source (a scanner, a hospital) in turn and score on all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from aurora.errors import InputError, UsageError
from aurora.model import checkpoint
from aurora.runtime.text import markdown_table
from aurora.tasks import TYPES, TaskType
from training.config import FitConfig
from training.data.cases import Case
from training.data.prepare import prepare
from training.evaluation.evaluate import evaluate, type_means
from training.fit.distributed import ProcessGroup
from training.fit.loop import fit


@dataclass(frozen=True, slots=True)
class LeaveOneOutResult:
    """The scores of the run trained without the source `without`.

    `scores` has the mean composite (0 to 1) by source, `without` included, and type.
    """

    without: str
    scores: dict[str, dict[TaskType, float]]


def leave_one_out(
    settings: FitConfig, sources: Sequence[Path], out: Path, group: ProcessGroup
) -> list[LeaveOneOutResult]:
    """Train one run per source on all other sources, and score its last weights on each source.

    Args:
        sources: folders with two labelled input roots each, `train` and `val`; the folder's name is the source's.
        out: folder of the runs, each in `without-NAME`. Completed runs are only scored.
        group: the processes that train; each computes the scores.

    Raises:
        UsageError: there are fewer than two sources, or two have the same name.
        InputError: as for `prepare`, or a validation case has a task that one of the runs does not train.
        Other errors: as for `fit`.
    """
    by_name = {source.resolve().name: source for source in sources}
    if len(by_name) < max(len(sources), 2):
        raise UsageError(f"expected two sources or more, of different names, found: {', '.join(map(str, sources))}")
    train, val = ([source / split for source in sources] for split in ("train", "val"))
    cases, validation = group.run_on_main(prepare, settings, train, val)
    training = {name: [case for case in cases if case.root != by_name[name] / "train"] for name in by_name}
    scored = {name: [case for case in validation if case.root == by_name[name] / "val"] for name in by_name}
    for name, cases in training.items():
        _check_tasks(name, cases, validation)
    return [_run_without(name, settings, training[name], scored, out / f"without-{name}", group) for name in by_name]


def _check_tasks(name: str, training: Sequence[Case], validation: Sequence[Case]) -> None:
    """Raise `InputError` if the run without the source `name` does not train a task of the validation cases."""
    trained = {case.task for case in training}
    for case in validation:
        if case.task not in trained:
            raise InputError(
                f"{case.row.source}: expected a task that other sources than {name} have too, found {case.task.id} "
                f"(num_classes {case.task.num_classes}); list the tasks that the sources share in tasks=[...]"
            )


def _run_without(
    name: str,
    settings: FitConfig,
    training: Sequence[Case],
    validation: dict[str, list[Case]],
    folder: Path,
    group: ProcessGroup,
) -> LeaveOneOutResult:
    # No validation cases: if they chose the weights, the source left out would no longer be unseen.
    weights = fit(settings, training, [], folder, [other for other in validation if other != name], group, resume=True)
    model = checkpoint.load(weights)[0].to(group.device)
    scores = {
        source: type_means(evaluate(model, cases, on_bad_case=settings.on_bad_case), cases)
        for source, cases in validation.items()
    }
    return LeaveOneOutResult(name, scores)


def as_markdown(results: Sequence[LeaveOneOutResult]) -> str:
    """Format a table with a line per source, and their mean.

    The composite is given as the mean of the runs trained on the source ("seen"), that of the run trained without it
    ("unseen"), and their difference; for each type with validation cases of the source, the difference only.
    """
    task_types = [task_type for task_type in TYPES if any(task_type in r.scores[r.without] for r in results)]
    columns = ["seen", "unseen", "difference", *task_types]
    numbers = {result.without: _numbers(result.without, results) for result in results}
    numbers["mean"] = {key: fmean(row[key] for row in numbers.values() if key in row) for key in columns}
    formats = {"seen": ".3f", "unseen": ".3f"}
    rows = [
        [name, *(f"{row[key]:{formats.get(key, '+.3f')}}" if key in row else "" for key in columns)]
        for name, row in numbers.items()
    ]
    return "\n".join(markdown_table(["source", *columns], rows, text_columns=1))


def _numbers(source: str, results: Sequence[LeaveOneOutResult]) -> dict[str, float]:
    """Return the numbers of one source by column; a type without validation cases of the source has none."""
    unseen = next(result.scores[source] for result in results if result.without == source)
    others = [result.scores[source] for result in results if result.without != source]
    seen = {task_type: fmean(scores[task_type] for scores in others) for task_type in unseen}
    means = {"seen": fmean(seen.values()), "unseen": fmean(unseen.values())}
    differences = {str(task_type): unseen[task_type] - seen[task_type] for task_type in unseen}
    return means | {"difference": means["unseen"] - means["seen"]} | differences
