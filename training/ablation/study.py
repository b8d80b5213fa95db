"""Train a row's networks, or go on with what is trained of them, and read how they scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from aurora.errors import UsageError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.tasks import TaskType
from training.ablation.networks import NETWORKS, Mirrored
from training.ablation.variants import DEFAULT, ROWS, Row
from training.config import FitConfig, load_config
from training.data.cases import Case
from training.data.prepare import prepare
from training.evaluation.evaluate import composite, evaluate, type_means
from training.fit.distributed import ProcessGroup
from training.fit.log import LOG, read_log
from training.fit.loop import WEIGHTS, fit


@dataclass(frozen=True, slots=True)
class Score:
    """What one row scored with one seed on the validation cases, at the last step of its training.

    `composite` in 0..1, also by type; `images_per_second` is the speed of training, None where nothing was trained.
    """

    row: str
    seed: int
    composite: float
    types: dict[TaskType, float]
    images_per_second: float | None


class Study:
    """Runs of one configuration on one set of data; each lies in a folder of its own in `out`: ROW/seed-N.

    Args:
        config, changes: as `load_config` takes them; a row's own changes come on top.
        data, val: labelled input roots to train on and to score on.
        group: the processes that train, which score each for itself.

    Raises:
        UsageError, InputError: as `load_config` and `prepare` do.
    """

    def __init__(
        self,
        config: Path,
        changes: Sequence[str],
        data: Sequence[Path],
        val: Sequence[Path],
        out: Path,
        group: ProcessGroup,
    ) -> None:
        self.config, self.changes, self.out, self.group = config, changes, out, group
        self.sources = [folder.name for folder in data]
        self.cases, self.validation = prepare(load_config(config, changes), data, val)
        if not self.validation:
            raise UsageError(
                "expected cases to score the rows on, found none; name a folder with --val, or set val_share"
            )

    def score(self, name: str, seed: int) -> Score:
        """The score of a row; what isn't trained of it yet is trained. Raises as `fit` does."""
        row = ROWS[name]
        if row.mirrored:
            self.score(DEFAULT, seed)
            model = self._mirrored(seed).to(self.group.device)
            bad_cases = load_config(self.config, self.changes).on_bad_case
            return self._score(name, seed, evaluate(model, self.validation, bad_cases=bad_cases), None)
        results: dict[str, dict[str, float]] = {}
        speeds = []
        for config, folder in self._runs(row, self.out / name / f"seed-{seed}", seed):
            last = self._trained(config, name, folder)
            results |= last.get("tasks", {})  # a task may have no case to be scored on
            speeds.append(last["images_per_second"])
        return self._score(name, seed, results, fmean(speeds))

    def _mirrored(self, seed: int) -> Aurora:
        weights = self.out / DEFAULT / f"seed-{seed}" / WEIGHTS
        spec = checkpoint.read_spec(weights)
        model = Mirrored(spec.config, spec.tasks)
        checkpoint.load_into(model, weights)
        return model.eval()

    def _runs(self, row: Row, folder: Path, seed: int) -> list[tuple[FitConfig, Path]]:
        config = load_config(self.config, [*self.changes, *row.changes, f"seed={seed}"])
        config = config.model_copy(update={"steps_per_epoch": config.steps})
        if not row.apart:
            return [(config, folder)]
        names = sorted({case.task.id for case in self.cases})
        share = {
            "steps": -(-config.steps // len(names)),
            "steps_per_epoch": -(-config.steps // len(names)),
            "warmup_steps": config.warmup_steps // len(names),
            # The average is over the same part of the run.
            "ema_decay": config.ema_decay ** len(names),
        }
        return [(config.model_copy(update=share | {"tasks": [name]}), folder / name) for name in names]

    def _trained(self, config: FitConfig, row: str, folder: Path) -> dict:
        """The last record of a run, which is trained to its end."""
        cases, validation = (_of_tasks(cases, config.tasks) for cases in (self.cases, self.validation))
        fit(config, cases, validation, folder, self.sources, self.group, NETWORKS.get(row, Aurora), resume=True)
        return read_log(folder / LOG)[-1]

    def _score(self, name: str, seed: int, results: dict, speed: float | None) -> Score:
        types = type_means(results, self.validation)
        return Score(name, seed, composite(results, self.validation), types, speed)


def _of_tasks(cases: Sequence[Case], tasks: Sequence[str] | None) -> list[Case]:
    return [case for case in cases if tasks is None or case.task.id in tasks]


def as_markdown(scores: Sequence[Score]) -> str:
    """One line per row that `scores` holds, the default among them, in the order of `ROWS`.

    Of the composite: the mean over the seeds, the smallest and the largest, and the mean difference to the default
    with the same seed; of each type the mean.
    """
    by_row = {name: [score for score in scores if score.row == name] for name in ROWS}
    default = {score.seed: score.composite for score in by_row[DEFAULT]}
    kinds = [kind for kind in TaskType if kind in by_row[DEFAULT][0].types]
    head = ["row", "what is changed", "composite", "[least, most]", "against the default", *kinds, "images/s"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for name, found in by_row.items():
        if found:
            values = [score.composite for score in found]
            against = fmean(score.composite - default[score.seed] for score in found)
            speeds = [score.images_per_second for score in found if score.images_per_second is not None]
            lines.append(
                [
                    f"`{name}`",
                    ROWS[name].what,
                    f"{fmean(values):.3f}",
                    f"[{min(values):.3f}, {max(values):.3f}]",
                    "" if name == DEFAULT else f"{against:+.3f}",
                    *(f"{fmean(score.types[kind] for score in found):.3f}" for kind in kinds),
                    f"{fmean(speeds):.0f}" if speeds else "",
                ]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
