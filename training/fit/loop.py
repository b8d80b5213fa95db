"""Run training to completion, from the first step or from the last saved state."""

import hashlib
import json
import logging
import math
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch

from aurora import __version__
from aurora.errors import InputError, OutputError, Stopped, UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.runtime import files
from aurora.runtime.cli import graceful_shutdown
from aurora.runtime.hardware import keep_freed_memory, peak_memory
from aurora.tasks import Registry
from training.config import FitConfig, rename_former_keys
from training.data.cases import Case, described, task_registry
from training.data.prepare import first_lines
from training.evaluation.evaluate import composite, evaluate
from training.fit.best_heads import with_better_heads
from training.fit.distillation import check_teachers
from training.fit.distributed import ProcessGroup
from training.fit.initialize import ModelFactory, model_config
from training.fit.loader import Batch, BatchLoader
from training.fit.log import Log, epoch_line, task_table
from training.fit.state import has_state, load_state, save_state
from training.fit.trainer import Trainer

logger = logging.getLogger("aurora.training")

WEIGHTS, CONFIG = "best.safetensors", "config.json"
#: Keys that may be changed on `--resume`: how the run computes and saves, and what an error message advises changing.
RESUMABLE_CHANGES = (
    "device",
    "parallel",
    "num_workers",
    "log_every",
    "save_every",
    "keep_states",
    "gradient_checkpointing",
    "precision",
    "learning_rate",
    "max_skipped_steps",
    "on_bad_case",
    "patience",
)


def fit(
    config: FitConfig,
    cases: Sequence[Case],
    validation: Sequence[Case],
    out: Path,
    sources: Sequence[str],
    group: ProcessGroup,
    make_model: ModelFactory = Aurora,
    *,
    resume: bool = False,
) -> Path:
    """Train on `cases`, and return the path of the weights with the best composite on `validation`.

    Each process of the group calls this with the same arguments; the main one validates and writes.

    Args:
        config: the run's configuration.
        cases: training cases.
        validation: cases for choosing the weights; without any, the last weights are kept.
        out: folder for the weights, the configuration, states, `log.jsonl`, TensorBoard's files and curves.
        sources: names of the data, for the weights' provenance.
        group: the processes.
        make_model: builds the network; only the weights of `Aurora` itself can be loaded again.
        resume: continue the run in `out` from its last valid state; on a CPU the result is exactly the same.

    Raises:
        UsageError: the configuration doesn't fit the encoder, or the run in `out`.
        WeightsError: the encoder file or the checkpoint in `init_from` can't be used, or isn't the one that the
            stopped run used.
        DeviceError: the loss isn't finite.
        InputError: a validation case has a task that isn't trained, the data isn't that of the stopped run, or a case
            can't be used and the configuration doesn't skip it.
        OutputError: `out` can't be written, or holds another run.
        Stopped: SIGTERM or SIGINT arrived; the state is saved.
    """
    check_run(config, out, group, resume=resume)
    keep_freed_memory()
    tasks = task_registry(cases)
    for case in validation:
        if tasks.get(case.task.id) != case.task:
            raise InputError(f"{case.row.source}: expected a task of the training data, found {case.task}")
    described_tasks = described(tasks, config.aliases, config.names, config.trained_on)
    return _Run(config, cases, validation, out, sources, described_tasks, group, make_model).run(resume)


def check_run(config: FitConfig, out: Path, group: ProcessGroup, *, resume: bool) -> None:
    """Prepare the folder `out`, and raise every error of `fit` that doesn't depend on the data."""
    model_config(config)
    check_teachers(config)
    group.run_on_main(_open_folder, out, config, resume)


@dataclass
class _Progress:
    """The progress of a run.

    `loss` and `steps` are sums since the last record; `drawn` counts the samples since the last epoch.
    """

    step: int = 0
    best: float | None = None
    epochs_without_improvement: int = 0
    loss: float = 0.0
    steps: int = 0
    drawn: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Restore a record made by `asdict`; in states of version 0.1, one key has another name."""
        values = {"epochs_without_improvement": record.get("stale"), **record}
        return cls(**{item.name: values[item.name] for item in fields(cls)})

    def update_best(self, score: float) -> bool:
        """Take the score of an epoch into account; return whether to save its weights.

        NaN, the score of a validation without a usable case, is never the best. Its weights are saved only while there
        is no best score.
        """
        improved = not math.isnan(score) and (self.best is None or not score <= self.best)
        first = self.best is None
        self.best = score if improved else self.best
        self.epochs_without_improvement = 0 if improved else self.epochs_without_improvement + 1
        return improved or first


class _Run:
    def __init__(
        self,
        config: FitConfig,
        cases: Sequence[Case],
        validation: Sequence[Case],
        out: Path,
        sources: Sequence[str],
        tasks: Registry,
        group: ProcessGroup,
        make_model: ModelFactory,
    ) -> None:
        self.config, self.validation, self.out, self.sources, self.group = config, validation, out, sources, group
        self.sizes = dict(Counter(case.task.id for case in cases))
        self.data = _fingerprint(cases, validation)
        sizes = {name: self.sizes[name] for name in tasks if name in self.sizes}  # an alias has no cases
        self.trainer = Trainer(config, tasks, sizes, group, make_model)
        self.loader = BatchLoader(cases, self.trainer.sampler, config, group)
        self.progress = _Progress()

    def run(self, resume: bool) -> Path:
        if resume:
            self._restore()
            if self._out_of_patience():  # the run had already ended
                return self.out / WEIGHTS
        start = self.progress.step
        if self.config.stage == "heads" and self.validation and start == 0:
            self._save_initial_heads()
        self.log = Log(self.out, self.config.steps, start) if self.group.is_main else None
        self.clock = time.monotonic(), start
        try:
            with graceful_shutdown() as shutdown:
                batches = iter(self.loader)
                for step in range(start + 1, self.config.steps + 1):
                    self._step(step, list(islice(batches, self.config.gradient_accumulation)))
                    ended = step == self.config.steps or self._out_of_patience()
                    # A signal may reach one process before the others.
                    stopping = self.group.total(shutdown.requested) > 0
                    if ended or stopping or step % self.config.save_every == 0:
                        self._save(keep=1 if ended else self.config.keep_states)
                    if ended:
                        break
                    if stopping:
                        raise Stopped(f"stopped at step {step} of {self.config.steps}; continue with --resume")
        finally:
            if self.log:
                self.log.close()
        # The main process may still be writing the files that the others will read.
        self.group.wait()
        return self.out / WEIGHTS

    def _step(self, step: int, batches: list[Batch]) -> None:
        progress = self.progress
        progress.step = step
        result = self.trainer.step(step, batches)
        if result:
            loss, counts = result
            progress.loss += loss
            progress.steps += 1
            progress.drawn = dict(Counter(progress.drawn) + Counter(counts))
            if self.log:
                self.log.advance(step, loss)
        if step % self.config.steps_per_epoch == 0 or step == self.config.steps:
            self._end_epoch(step)
        elif step % self.config.log_every == 0:
            entry = self._entry(step)
            if self.log:
                self.log.write(**entry)

    def _entry(self, step: int) -> dict[str, Any]:
        """Return the record of the steps since the last one, and start the next."""
        loss = self.progress.loss / max(self.progress.steps, 1)
        self.progress.loss, self.progress.steps = 0.0, 0
        return {"step": step, "loss": loss, "losses": dict(self.trainer.sampler.losses)}

    def _end_epoch(self, step: int) -> None:
        entry = self._epoch_entry(step)
        for line in first_lines([f"left out: {reason}" for reason in self.loader.newly_skipped()]):
            logger.info("%s", line)
        model, results, score = self._validate(self.trainer.ema_model(), step)
        improved = self.progress.update_best(score)
        if self.validation:
            best = self.progress.best
            entry |= {"composite": score, "tasks": results, "best": math.nan if best is None else best}
        if improved and self.group.is_main:
            checkpoint.save(self.out / WEIGHTS, model, self._provenance(step, results))
        if self.log:
            self.log.write(**entry)
            left = (time.monotonic() - self.clock[0]) / (step - self.clock[1]) * (self.config.steps - step)
            logger.info("%s\n%s", epoch_line(entry, left), task_table(entry))
        self.progress.drawn, self.loader.wait_seconds, self.clock = {}, 0.0, (time.monotonic(), step)

    def _epoch_entry(self, step: int) -> dict[str, Any]:
        """Return the record of an epoch without its validation."""
        seconds, steps = time.monotonic() - self.clock[0], step - self.clock[1]
        return self._entry(step) | {
            "epoch": -(-step // self.config.steps_per_epoch),
            "drawn": self.progress.drawn,
            "images_per_second": steps * self.config.batch_size * self.config.gradient_accumulation / seconds,
            "waiting": self.loader.wait_seconds / seconds,
            "memory_mb": peak_memory(self.trainer.device) / 1e6,
            "skipped": len(self.loader.skipped),
        }

    def _save_initial_heads(self) -> None:
        """Save the weights that the second stage starts from, the best until others are better."""
        if self.group.is_main:
            results = evaluate(self.trainer.ema_model(), self.validation, on_bad_case=self.config.on_bad_case)
            checkpoint.save(self.out / WEIGHTS, self.trainer.ema_model(), self._provenance(0, results))

    def _validate(self, model: Aurora, step: int) -> tuple[Aurora, dict[str, dict[str, float]], float]:
        """Return the weights to save, their metrics by task, and the score that chooses among them.

        Only the main process computes metrics. Without validation cases the score is the number of the step, so that
        the last weights are the best.
        """
        if not self.validation:
            return model, {}, float(step)
        results: dict[str, dict[str, float]] = {}
        if self.group.is_main:
            results = evaluate(model, self.validation, on_bad_case=self.config.on_bad_case)
            if self.config.stage == "heads":
                model, results = with_better_heads(model, results, self.out / WEIGHTS, self.validation)
        return model, results, self.group.total(composite(results, self.validation) if self.group.is_main else 0.0)

    def _out_of_patience(self) -> bool:
        return 0 < self.config.patience <= self.progress.epochs_without_improvement

    def _save(self, keep: int) -> None:
        tensors, trainer = self.trainer.state()
        record = asdict(self.progress) | {
            "trainer": trainer,
            "feed": self.loader.state(),
            "data": self.data,
            "origin": self.trainer.origin,
        }
        self.group.run_on_main(save_state, self.out, self.progress.step, tensors, record, keep)

    def _restore(self) -> None:
        state = load_state(self.out)
        if state is None:
            logger.info("no state in %s: the run starts at step 1", self.out)
            return
        tensors, record = state
        if record["data"] != self.data:
            raise InputError(f"expected the data that the run in {self.out} began with, found other rows or labels")
        for key, origin in rename_former_keys(record.get("origin", {})).items():
            if origin != self.trainer.origin.get(key):
                raise WeightsError(
                    f"expected the weights that the run in {self.out} began with, found others in {key}; restore them, "
                    "or train in another folder"
                )
        self.trainer.restore(tensors, record["trainer"])
        self.loader.restore(record["feed"])
        self.progress = _Progress.from_record(record)

    def _provenance(self, step: int, results: dict[str, dict[str, float]]) -> dict[str, Any]:
        processes = f", {self.group.world_size} processes" if self.group.world_size > 1 else ""
        return {
            "version": __version__,
            "torch": torch.__version__,
            "hardware": f"{self.trainer.device}, {torch.get_num_threads()} threads, {platform.platform()}{processes}",
            "precision": "bf16" if self.trainer.bf16 else "fp32",
            "config": self.config.model_dump(mode="json"),
            **self.trainer.origin,
            "data": list(self.sources),
            "cases": self.sizes,
            "step": step,
            "validation": results,
        }


def _open_folder(out: Path, config: FitConfig, resume: bool) -> None:
    """Create `out` with the resolved configuration in it; reject a folder that has another run."""
    if has_state(out) and not resume:
        raise UsageError(f"{out} already holds a run; continue it with --resume, or name another folder with --out")
    resolved = config.model_dump(mode="json")
    try:
        if resume and (out / CONFIG).exists():
            record = rename_former_keys(json.loads((out / CONFIG).read_text(encoding="utf-8")))
            before = FitConfig(**record).model_dump(mode="json")
            for key in resolved:
                if key not in RESUMABLE_CHANGES and resolved[key] != before[key]:
                    raise UsageError(
                        f"expected {key} = {before[key]}, which the run in {out} began with, found {resolved[key]}"
                    )
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise OutputError(f"{out / CONFIG} is damaged ({reason}); restore it, or train in another folder") from error
    except OSError as error:
        raise OutputError(f"can't read {out / CONFIG}: {error.strerror}; name another folder with --out") from error
    with files.replacing(out / CONFIG) as tmp:
        tmp.write_text(json.dumps(resolved, indent=2) + "\n", encoding="utf-8")


def _fingerprint(cases: Sequence[Case], validation: Sequence[Case]) -> str:
    """Return a digest of the rows and labels, in order."""
    digest = hashlib.sha256()
    for subset in (cases, validation):
        for case in subset:
            row = case.row
            line = (row.task_id, row.type, row.num_classes, row.image_path, row.mask_path, sorted(row.labels.items()))
            digest.update(json.dumps(line).encode())
        digest.update(b"|")
    return digest.hexdigest()
