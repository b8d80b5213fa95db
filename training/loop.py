"""The training loop: batches, losses, steps, validation, and the best weights by composite."""

import json
import platform
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aurora import __version__, checkpoint
from aurora.device import open_device
from aurora.errors import DeviceError, InputError, OutputError, UsageError
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS, ModelConfig
from aurora.tasks import Registry, Task, TaskType, channel_slices
from training.balance import LossBalance
from training.config import FitConfig
from training.data import Case, task_registry
from training.evaluate import composite, evaluate
from training.feed import Batch, Feed
from training.losses import LOSSES
from training.optimizer import freeze, make_optimizer, make_schedule
from training.qwen.encoder_file import load_encoder, read_encoder
from training.sampler import TaskSampler

WEIGHTS = "best.safetensors"


def fit(
    config: FitConfig, cases: Sequence[Case], validation: Sequence[Case], out: Path, sources: Sequence[str]
) -> Path:
    """Train on `cases`; returns the path of the weights, the best by composite on `validation`.

    Without validation cases the last weights are kept. The folder `out` gets the weights, the resolved
    configuration and a log with a JSON object per line. `sources` names the data in the provenance.

    Raises:
        UsageError: the configuration doesn't fit the encoder.
        WeightsError: the configuration's encoder file can't be used.
        DeviceError: no such device, or a loss that isn't finite.
        InputError: a validation case of a task that isn't trained, or a case that can't be read.
        OutputError: `out` can't be written.
    """
    device = open_device(config.device)
    torch.manual_seed(config.seed)
    tasks = task_registry(cases)
    for case in validation:
        if tasks.get(case.task.id) != case.task:
            raise InputError(f"{case.row.source}: expected a task of the training data, found {case.task}")
    model, encoder_source = _build(config, tasks)
    model.to(device)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    balance = LossBalance().to(device)
    optimizer = make_optimizer(model, balance, config)
    schedule = make_schedule(optimizer, config)
    sizes = {name: sum(case.task.id == name for case in cases) for name in tasks}
    sampler = TaskSampler(sizes)
    log = _Log(out, config)
    best, start = float("-inf"), time.monotonic()
    for step, batch in enumerate(islice(Feed(cases, sampler, config), config.steps), start=1):
        losses = task_losses(model.train(), batch, device, bf16=config.precision == "bf16")
        total = balance(losses, sampler.losses)
        if not torch.isfinite(total):
            raise DeviceError(f"the loss is {total.item()} at step {step}; lower learning_rate or use precision=fp32")
        _step(total, optimizer, config.clip_norm)
        schedule.step()
        average.update_parameters(model)
        sampler.update({task.id: loss.item() for task, (loss, _) in losses.items()})
        if step % config.log_every == 0:
            rate = step * config.batch_size / (time.monotonic() - start)
            log.write(step=step, loss=total.item(), images_per_second=round(rate, 1), losses=sampler.losses)
        if step % config.validate_every == 0 or step == config.steps:
            averaged = cast(Aurora, average.module).eval()
            results = evaluate(averaged, validation) if validation else {}
            score = composite(results, validation) if validation else float(step)
            if validation:
                log.write(step=step, composite=score, tasks=results)
            if score > best:
                best = score
                provenance = _provenance(config, device, sources, sizes, step, results) | {"encoder": encoder_source}
                checkpoint.save(out / WEIGHTS, averaged, provenance)
    return out / WEIGHTS


def task_losses(model: Aurora, batch: Batch, device: torch.device, *, bf16: bool) -> dict[Task, tuple[Tensor, int]]:
    """Each task's mean loss on its samples in the batch, in float32, and how many they are."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        outputs = model(batch.images.to(device), {kind: index.to(device) for kind, index in batch.rows.items()})
    slices = {kind: channel_slices(model.tasks, kind) for kind in TaskType}
    losses = {}
    for task, (places, targets) in batch.targets.items():
        logits = outputs[task.type][places, slices[task.type][task.id]].float()
        losses[task] = (LOSSES[task.type](logits, targets.to(device)), len(targets))
    return losses


def _step(loss: Tensor, optimizer: torch.optim.Optimizer, clip_norm: float) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip_norm)
    optimizer.step()


def _build(config: FitConfig, tasks: Registry) -> tuple[Aurora, dict[str, Any]]:
    """The model to be trained, and where its encoder's weights come from; nothing if they are random."""
    preset = PRESETS[config.preset]
    file = read_encoder(config.encoder) if config.encoder else None
    shape = file.config if file else preset.encoder
    try:
        model = Aurora(ModelConfig(shape, preset.pyramid_width, config.image_size), tasks)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if file:
        load_encoder(model.encoder, file)
    freeze(model.encoder, config.freeze_blocks)
    model.encoder.recompute = config.gradient_checkpointing
    return model, file.provenance if file else {}


def _provenance(
    config: FitConfig,
    device: torch.device,
    sources: Sequence[str],
    sizes: dict[str, int],
    step: int,
    results: dict[str, dict[str, float]],
) -> dict[str, Any]:
    return {
        "version": __version__,
        "torch": torch.__version__,
        "hardware": f"{device}, {torch.get_num_threads()} threads, {platform.platform()}",
        "config": config.model_dump(mode="json"),
        "data": list(sources),
        "cases": sizes,
        "step": step,
        "validation": results,
    }


class _Log:
    """A JSON object per line in `log.jsonl`, and the same on the terminal in short."""

    def __init__(self, out: Path, config: FitConfig) -> None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / "config.json").write_text(config.model_dump_json(indent=2), encoding="utf-8")
            self.file = (out / "log.jsonl").open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"can't write to {out}: {error.strerror}; name another folder with --out") from error

    def write(self, **entry: Any) -> None:
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in entry.items()}
        print("  ".join(f"{key} {value}" for key, value in shown.items() if not isinstance(value, dict)), flush=True)
        for name, metrics in entry.get("tasks", {}).items():
            print(f"  {name:28}" + "  ".join(f"{key} {value:.3f}" for key, value in metrics.items()), flush=True)
