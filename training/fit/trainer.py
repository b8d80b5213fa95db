"""One run's model, averages, optimizer and sampler, and what a step does to them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aurora.device import open_device
from aurora.errors import DeviceError, UsageError
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.tasks import Registry, Task, TaskType, channel_slices
from training.config import FitConfig
from training.fit.balance import LossBalance
from training.fit.feed import Batch
from training.fit.losses import LOSSES
from training.fit.optimizer import freeze, make_optimizer, set_rate
from training.fit.sampler import TaskSampler
from training.qwen.encoder_file import load_encoder, read_encoder


class Trainer:
    """Everything that changes from step to step, apart from the data.

    Args:
        config: the run's configuration.
        tasks: what the model answers.
        sizes: the number of training cases of each task.

    Raises:
        UsageError: the configuration doesn't fit the encoder.
        WeightsError: the configuration's encoder file can't be used.
        DeviceError: there is no such device.
    """

    def __init__(self, config: FitConfig, tasks: Registry, sizes: Mapping[str, int]) -> None:
        self.config = config
        self.device = open_device(config.device)
        torch.manual_seed(config.seed)
        self.model, self.encoder_source = _build(config, tasks)
        self.model.to(self.device)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        self.balance = LossBalance().to(self.device)
        self.optimizer = make_optimizer(self.model, self.balance, config)
        self.sampler = TaskSampler(sizes, config.loss_exponent)
        self.bad_steps = 0

    @property
    def averaged(self) -> Aurora:
        """The model with the moving average of the weights, in evaluation mode."""
        return cast(Aurora, self.average.module).eval()

    def step(self, number: int, batches: Sequence[Batch]) -> tuple[float, dict[str, int]] | None:
        """Step `number` (from 1) on `batches`; the mean loss, and how many samples of each task there were.

        None if loss or gradient isn't finite and the configuration passes over such a step: nothing has changed.
        Raises `DeviceError` where it doesn't.
        """
        self.model.train()
        self.optimizer.zero_grad()
        total, sums, counts = 0.0, dict[str, float](), dict[str, int]()
        for batch in batches:
            found = task_losses(self.model, batch, self.device, bf16=self.config.precision == "bf16")
            joined = self.balance(found, self.sampler.losses) / len(batches)
            joined.backward()
            # One transfer for all the numbers, because each waits for the device.
            values = torch.stack([joined.detach(), *(loss.detach() for loss, _ in found.values())]).tolist()
            total += values[0]
            for (task, (_, count)), value in zip(found.items(), values[1:], strict=True):
                sums[task.id] = sums.get(task.id, 0.0) + value * count
                counts[task.id] = counts.get(task.id, 0) + count
        norm = nn.utils.clip_grad_norm_(
            [p for group in self.optimizer.param_groups for p in group["params"]], self.config.clip_norm
        )
        if not (math.isfinite(total) and torch.isfinite(norm)):
            self._bad_step(number, total)
            return None
        self.bad_steps = 0
        set_rate(self.optimizer, self.config, number)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.sampler.update({name: sums[name] / count for name, count in counts.items()})
        return total, counts

    def _bad_step(self, number: int, total: float) -> None:
        self.bad_steps += 1
        if self.bad_steps > self.config.skip_bad_steps:
            raise DeviceError(
                f"expected a finite loss and gradient, found a loss of {total} at step {number}; "
                "lower learning_rate, use precision=fp32, or allow some with skip_bad_steps"
            )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All tensors and plain values that decide the steps to come."""
        tensors = {"rng.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        for part, module in self._modules().items():
            tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in slots.items()}
        return tensors, {"sampler": dict(self.sampler.losses), "bad_steps": self.bad_steps}

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Go on as the trainer that gave this state would have."""
        for part, module in self._modules().items():
            own = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
            module.load_state_dict(own)
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            if part == "optimizer":
                index, _, slot = rest.partition(".")
                slots.setdefault(int(index), {})[slot] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        torch.set_rng_state(tensors["rng.cpu"])
        if self.device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        self.sampler.losses = dict(record["sampler"])
        self.bad_steps = record["bad_steps"]

    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "average": self.average, "balance": self.balance}


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


def _build(config: FitConfig, tasks: Registry) -> tuple[Aurora, dict[str, Any]]:
    """The model to be trained, and where its encoder's weights come from; nothing if they are random."""
    preset = PRESETS[config.preset]
    file = read_encoder(config.encoder) if config.encoder else None
    shape = file.config if file else preset.encoder
    try:
        model = Aurora(replace(preset, encoder=shape, image_size=config.image_size), tasks)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if file:
        load_encoder(model.encoder, file)
    freeze(model.encoder, config.freeze_blocks)
    model.encoder.recompute = config.gradient_checkpointing
    return model, file.provenance if file else {}
