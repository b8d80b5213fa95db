"""Run ablation studies: train each variant, unless it is already trained, and tabulate the scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from aurora.errors import UsageError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.runtime.text import markdown_table
from aurora.tasks import TYPES, TaskType, with_mirrored_views
from training.ablation.networks import NETWORKS
from training.ablation.variants import DEFAULT, VARIANTS, Variant
from training.config import FitConfig, load_config
from training.data.cases import Case
from training.data.prepare import prepare
from training.evaluation.evaluate import composite, evaluate, type_means
from training.fit.distributed import ProcessGroup
from training.fit.log import LOG, read_log
from training.fit.loop import WEIGHTS, fit


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a variant with one seed on the validation cases, at the last step of training.

    Attributes:
        composite: 0 to 1.
        types: the composite of each type that has validation cases.
        images_per_second: speed of training; None if nothing was trained.
    """

    variant: str
    seed: int
    composite: float
    types: dict[TaskType, float]
    images_per_second: float | None


class Study:
    """Runs of the variants of one configuration on the same data, each in its own folder `out`/VARIANT/seed-N.

    Args:
        config, changes: as in `load_config`; a variant's changes are applied on top.
        data, val: labelled input roots to train on and to score on.
        group: the processes that train; each computes the scores.

    Raises:
        UsageError: there are no validation cases, or as for `load_config`.
        InputError: as for `prepare`.
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
        self.cases, self.validation = group.run_on_main(prepare, load_config(config, changes), data, val)
        if not self.validation:
            raise UsageError(
                "expected cases to score the variants on, found none; name a folder with --val, or set val_share"
            )

    def score(self, name: str, seed: int) -> Score:
        """Return the score of the variant `name`, training it first if necessary; raises the errors of `fit`."""
        variant = VARIANTS[name]
        if variant.flip_tta:
            self.score(DEFAULT, seed)
            model, _ = checkpoint.load(self.out / DEFAULT / f"seed-{seed}" / WEIGHTS)
            model.tasks = with_mirrored_views(model.tasks)
            on_bad_case = load_config(self.config, self.changes).on_bad_case
            return self._score(
                name, seed, evaluate(model.to(self.group.device), self.validation, on_bad_case=on_bad_case), None
            )
        results: dict[str, dict[str, float]] = {}
        speeds = []
        for config, folder in self._runs(variant, self.out / name / f"seed-{seed}", seed):
            last = self._train(config, name, folder)
            results |= last.get("tasks", {})  # a task may have no validation case
            speeds.append(last["images_per_second"])
        return self._score(name, seed, results, fmean(speeds))

    def _runs(self, variant: Variant, folder: Path, seed: int) -> list[tuple[FitConfig, Path]]:
        """Return the configuration and the folder of each run of a variant."""
        config = load_config(self.config, [*self.changes, *variant.changes, f"seed={seed}"])
        config = config.model_copy(update={"steps_per_epoch": config.steps})
        if not variant.per_task:
            return [(config, folder)]
        names = sorted({case.task.id for case in self.cases})
        share = {
            "steps": -(-config.steps // len(names)),
            "steps_per_epoch": -(-config.steps // len(names)),
            "warmup_steps": config.warmup_steps // len(names),
            # The average covers the same fraction of the run.
            "ema_decay": config.ema_decay ** len(names),
        }
        return [(config.model_copy(update=share | {"tasks": [name]}), folder / name) for name in names]

    def _train(self, config: FitConfig, name: str, folder: Path) -> dict:
        """Complete a run of the variant `name` and return its last record."""
        cases, validation = (_of_tasks(cases, config.tasks) for cases in (self.cases, self.validation))
        fit(config, cases, validation, folder, self.sources, self.group, NETWORKS.get(name, Aurora), resume=True)
        return read_log(folder / LOG)[-1]

    def _score(self, name: str, seed: int, results: dict, speed: float | None) -> Score:
        types = type_means(results, self.validation)
        return Score(name, seed, composite(results, self.validation), types, speed)


def _of_tasks(cases: Sequence[Case], tasks: Sequence[str] | None) -> list[Case]:
    return [case for case in cases if tasks is None or case.task.id in tasks]


def as_markdown(scores: Sequence[Score]) -> str:
    """Format a table with a line per variant in `scores`, which include the default, in the order of `VARIANTS`.

    The composite is given as the mean over the seeds, its range, and the mean difference to the default with the same
    seed; the composite of each type as its mean.
    """
    by_variant = {name: [score for score in scores if score.variant == name] for name in VARIANTS}
    default = {score.seed: score.composite for score in by_variant[DEFAULT]}
    task_types = [task_type for task_type in TYPES if task_type in by_variant[DEFAULT][0].types]
    columns = ["composite", "[min, max]", "difference", *task_types, "images/s"]
    rows = [_table_row(name, scores, default, task_types) for name, scores in by_variant.items() if scores]
    return "\n".join(markdown_table(["variant", "change", *columns], rows, text_columns=2))


def _table_row(
    name: str, scores: Sequence[Score], default: dict[int, float], task_types: Sequence[TaskType]
) -> list[str]:
    composites = [score.composite for score in scores]
    difference = fmean(score.composite - default[score.seed] for score in scores)
    speeds = [score.images_per_second for score in scores if score.images_per_second is not None]
    return [
        f"`{name}`",
        VARIANTS[name].description,
        f"{fmean(composites):.3f}",
        f"[{min(composites):.3f}, {max(composites):.3f}]",
        "" if name == DEFAULT else f"{difference:+.3f}",
        *(f"{fmean(score.types[task_type] for score in scores):.3f}" for task_type in task_types),
        f"{fmean(speeds):.0f}" if speeds else "",
    ]
