"""A training run from its first step, or from where it was stopped, to its last."""

import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from aurora import __version__
from aurora.errors import InputError, OutputError, Stopped, UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.runtime.cli import graceful_shutdown
from aurora.runtime.hardware import peak_memory
from aurora.tasks import Registry
from training.config import FitConfig
from training.data.cases import Case, task_registry
from training.data.prepare import first_lines
from training.evaluation.evaluate import composite, evaluate
from training.fit.distributed import ProcessGroup
from training.fit.initialize import ModelFactory, check_beginning
from training.fit.loader import BatchLoader
from training.fit.log import Log, epoch_line, task_table
from training.fit.state import has_state, load_state, save_state
from training.fit.trainer import Trainer

WEIGHTS, CONFIG = "best.safetensors", "config.json"
#: What may differ between a run and its continuation.
RESUMABLE_CHANGES = ("device", "parallel", "loader_threads", "log_every", "save_every", "keep_states")


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
    """Train on `cases`; returns the path of the weights, the best by composite on `validation`.

    Each process of the `group` calls this with the same arguments; the first one validates and writes.

    Without validation cases the last weights are kept. The folder `out` gets the weights, the resolved configuration,
    states to go on from, a log with a JSON object per line, TensorBoard's files and curves. `sources` names the data
    in the provenance. `make_model` builds the network; only `Aurora`'s own weights can be loaded again. With `resume`
    the run in `out` goes on from its last whole state, exactly on a CPU.

    Raises:
        UsageError: the configuration doesn't fit the encoder, or not the run in `out`.
        WeightsError: the configuration's encoder file, or the checkpoint to start from, can't be used or isn't the one
            that the stopped run had.
        DeviceError: a loss that isn't finite.
        InputError: a validation case of a task that isn't trained, other data than the stopped run had, or, unless
            the configuration skips them, a case that can't be used.
        OutputError: `out` can't be written, or holds another run.
        Stopped: SIGTERM or SIGINT came; the state is saved.
    """
    check_run(config, out, group, resume=resume)
    tasks = task_registry(cases)
    for case in validation:
        if tasks.get(case.task.id) != case.task:
            raise InputError(f"{case.row.source}: expected a task of the training data, found {case.task}")
    return _Run(config, cases, validation, out, sources, tasks, group, make_model).go(resume)


def check_run(config: FitConfig, out: Path, group: ProcessGroup, *, resume: bool) -> None:
    """Make `out` ready, and raise what `fit` would, as far as it can be known before the data is read."""
    check_beginning(config)
    if group.first:
        _open_folder(out, config, resume)
    group.wait()


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
        self.trainer = Trainer(config, tasks, {name: self.sizes[name] for name in tasks}, group, make_model)
        self.feed = BatchLoader(cases, self.trainer.sampler, config, group)
        # What a state holds beside the trainer's and the feed's own.
        self.record: dict[str, Any] = {"step": 0, "best": None, "stale": 0, "loss": 0.0, "steps": 0, "drawn": {}}

    def go(self, resume: bool) -> Path:
        if resume:
            self._restore()
            if self._out_of_patience():  # it had ended
                return self.out / WEIGHTS
        start = self.record["step"]
        self.log = Log(self.out, self.config.steps, start) if self.group.first else None
        self.clock = time.monotonic(), start
        try:
            with graceful_shutdown() as stop:
                batches = iter(self.feed)
                for step in range(start + 1, self.config.steps + 1):
                    self._step(step, list(islice(batches, self.config.accumulate)))
                    ended = step == self.config.steps or self._out_of_patience()
                    # A signal may reach one process before the others.
                    stopping = self._together(stop.requested) > 0
                    if ended or stopping or step % self.config.save_every == 0:
                        self._save(keep=1 if ended else self.config.keep_states)
                    if ended:
                        break
                    if stopping:
                        raise Stopped(f"stopped at step {step} of {self.config.steps}; go on with --resume")
        finally:
            if self.log:
                self.log.close()
        # The first process may still be writing what the others are about to read.
        self.group.wait()
        return self.out / WEIGHTS

    def _step(self, step: int, batches: list[Any]) -> None:
        record = self.record
        record["step"] = step
        done = self.trainer.step(step, batches)
        if done:
            record["loss"] += done[0]
            record["steps"] += 1
            record["drawn"] = dict(Counter(record["drawn"]) + Counter(done[1]))
            if self.log:
                self.log.advance(step, done[0])
        if step % self.config.steps_per_epoch == 0 or step == self.config.steps:
            self._end_epoch(step)
        elif step % self.config.log_every == 0:
            entry = self._entry(step)
            if self.log:
                self.log.write(**entry)

    def _together(self, number: float) -> float:
        """The sum of a number over the processes."""
        return self.group.sum(torch.tensor(float(number), dtype=torch.float64, device=self.group.device)).item()

    def _entry(self, step: int) -> dict[str, Any]:
        """What is recorded of the steps since the last record."""
        record = self.record
        loss = record["loss"] / max(record["steps"], 1)
        record["loss"], record["steps"] = 0.0, 0
        return {"step": step, "loss": loss, "losses": dict(self.trainer.sampler.losses)}

    def _end_epoch(self, step: int) -> None:
        seconds, steps = time.monotonic() - self.clock[0], step - self.clock[1]
        left_out = self.feed.newly_skipped()
        entry = self._entry(step) | {
            "epoch": -(-step // self.config.steps_per_epoch),
            "drawn": self.record["drawn"],
            "images_per_second": steps * self.config.batch_size * self.config.accumulate / seconds,
            "waiting": self.feed.waited / seconds,
            "memory_mb": peak_memory(self.trainer.device) / 1e6,
            "skipped": len(self.feed.skipped),
        }
        if self.log and left_out:
            self.log.tell("\n".join(first_lines([f"left out: {why}" for why in left_out])))
        score, results = float(step), {}
        averaged = self.trainer.averaged()
        if self.validation:
            if self.group.first:
                results = evaluate(averaged, self.validation, bad_cases=self.config.bad_cases)
            score = self._together(composite(results, self.validation) if self.group.first else 0.0)
            entry |= {"composite": score, "tasks": results}
        better = self.record["best"] is None or score > self.record["best"]
        self.record["best"] = score if better else self.record["best"]
        self.record["stale"] = 0 if better else self.record["stale"] + 1
        if self.validation:
            entry["best"] = self.record["best"]
        if better and self.group.first:
            checkpoint.save(self.out / WEIGHTS, averaged, self._provenance(step, results))
        if self.log:
            self.log.write(**entry)
            left = (time.monotonic() - self.clock[0]) / steps * (self.config.steps - step)
            self.log.tell(epoch_line(entry, left) + "\n" + task_table(entry))
        self.record["drawn"], self.feed.waited, self.clock = {}, 0.0, (time.monotonic(), step)

    def _out_of_patience(self) -> bool:
        return 0 < self.config.patience <= self.record["stale"]

    def _save(self, keep: int) -> None:
        tensors, trainer = self.trainer.state()
        begun = {"data": self.data, "origin": self.trainer.origin}
        record = self.record | {"trainer": trainer, "feed": self.feed.state(), **begun}
        if self.group.first:
            save_state(self.out, self.record["step"], tensors, record, keep)

    def _restore(self) -> None:
        found = load_state(self.out)
        if found is None:
            print(f"no state in {self.out}: the run begins at step 1", flush=True)
            return
        tensors, record = found
        if record["data"] != self.data:
            raise InputError(f"expected the data that the run in {self.out} began with, found other rows or labels")
        for part, origin in record.get("origin", {}).items():
            if origin != self.trainer.origin.get(part):
                raise WeightsError(
                    f"expected the weights that the run in {self.out} began with, found others under {part}; put them "
                    "back, or begin in another folder"
                )
        self.trainer.restore(tensors, record["trainer"])
        self.feed.restore(record["feed"])
        self.record = {key: record[key] for key in self.record}

    def _provenance(self, step: int, results: dict[str, dict[str, float]]) -> dict[str, Any]:
        count = self.group.count
        threads = f"{torch.get_num_threads()} threads, {platform.platform()}"
        return {
            "version": __version__,
            "torch": torch.__version__,
            "hardware": f"{self.trainer.device}, {threads}" + (f", {count} processes" if count > 1 else ""),
            "config": self.config.model_dump(mode="json"),
            **self.trainer.origin,
            "data": list(self.sources),
            "cases": self.sizes,
            "step": step,
            "validation": results,
        }


def _open_folder(out: Path, config: FitConfig, resume: bool) -> None:
    """Make `out` ready, with the resolved configuration in it; refuse a folder that holds another run."""
    if has_state(out) and not resume:
        raise UsageError(f"{out} holds a run already: go on with --resume, or name another folder with --out")
    wanted = config.model_dump(mode="json")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if resume and (out / CONFIG).exists():
            before = json.loads((out / CONFIG).read_text(encoding="utf-8"))
            for key in wanted:
                if key not in RESUMABLE_CHANGES and wanted[key] != before.get(key):
                    raise UsageError(
                        f"expected {key} = {before.get(key)}, which the run in {out} began with, found {wanted[key]}"
                    )
        beside = out / (CONFIG + ".part")
        beside.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        os.replace(beside, out / CONFIG)
    except ValueError as error:
        raise OutputError(f"{out / CONFIG} is damaged ({error}); restore it, or begin in another folder") from error
    except OSError as error:
        raise OutputError(f"can't write to {out}: {error.strerror}; name another folder with --out") from error


def _fingerprint(cases: Sequence[Case], validation: Sequence[Case]) -> str:
    """The same for the same rows and labels in the same order."""
    digest = hashlib.sha256()
    for part in (cases, validation):
        for case in part:
            row = case.row
            line = (row.task_id, row.type, row.num_classes, row.image_path, row.mask_path, sorted(row.labels.items()))
            digest.update(json.dumps(line).encode())
        digest.update(b"|")
    return digest.hexdigest()
