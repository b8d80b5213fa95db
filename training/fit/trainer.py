"""One run's model, averages, optimizer and sampler, and what a step does to them."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aurora.errors import DeviceError
from aurora.model.aurora import Aurora
from aurora.tasks import Registry, Task, TaskType, channel_slices
from training.config import FitConfig
from training.fit.distributed import DistributedModel, ProcessGroup, cut, gather_into, like, load_whole, whole
from training.fit.initialize import ModelFactory, build_model
from training.fit.loader import Batch
from training.fit.losses import LOSSES, LossBalance, loss_weight
from training.fit.optimizer import make_optimizer, set_lr
from training.fit.sampler import TaskSampler


class Trainer:
    """Everything that changes from step to step, apart from the data.

    Args:
        config: the run's configuration.
        tasks: what the model answers.
        sizes: the number of training cases of each task.
        group: the processes that train together; each calls every method.
        make_model: builds the network.

    Raises:
        UsageError, WeightsError: as `build_model` does.
    """

    def __init__(
        self,
        config: FitConfig,
        tasks: Registry,
        sizes: Mapping[str, int],
        group: ProcessGroup,
        make_model: ModelFactory = Aurora,
    ) -> None:
        self.config, self.group, self.device = config, group, group.device
        torch.manual_seed(config.seed)
        self.model, self.origin = build_model(config, tasks, make_model)
        self.model.to(self.device)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        self.spread = DistributedModel(self.model, group, pieces=config.parallel == "fsdp")
        if isinstance(self.model, FSDPModule):
            self.plain = deepcopy(cast(Aurora, self.average.module)).eval()
            cut(cast(Aurora, self.average.module), group)
        self.balance = LossBalance(config.balance).to(self.device)
        self.optimizer = make_optimizer(self.model, self.balance, config)
        self.sampler = TaskSampler(sizes, config.size_exponent, config.loss_exponent)
        self.bad_steps = 0

    def averaged(self) -> Aurora:
        """The model with the moving average of the weights, whole and in evaluation mode."""
        average = cast(Aurora, self.average.module)
        return gather_into(average, self.plain) if isinstance(self.model, FSDPModule) else average.eval()

    def step(self, number: int, batches: Sequence[Batch]) -> tuple[float, dict[str, int]] | None:
        """Step `number` (from 1) on `batches`; the mean loss, and how many samples of each task there were.

        None if loss or gradient isn't finite and the configuration passes over such a step: nothing has changed.
        Raises `DeviceError` where it doesn't.
        """
        # Whatever is random in a step depends on its number alone, so that a resumed run goes on exactly.
        torch.manual_seed((self.config.seed * 1_000_003 + number) * 4096 + self.group.rank)
        self.model.train()
        self.optimizer.zero_grad()
        tasks = list(self.model.tasks.values())
        total, sums, counts = 0.0, dict[str, float](), dict[str, int]()
        for index, batch in enumerate(batches):
            with self.spread.sync_gradients(index == len(batches) - 1):
                part = self._backward(batch, tasks, 1 / len(batches))
            # One transfer for all the numbers, because each waits for the device.
            init_distributed, *values = self.group.sum(part.losses).tolist()
            total += init_distributed
            for task, value, count in zip(tasks, values, part.counts.tolist(), strict=True):
                if count:
                    sums[task.id] = sums.get(task.id, 0.0) + value * count
                    counts[task.id] = counts.get(task.id, 0) + int(count)
        self.spread.exchange(self.balance.parameters())
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = whole(nn.utils.clip_grad_norm_(parameters, self.config.clip_norm))
        if not (math.isfinite(total) and torch.isfinite(norm)):
            self._bad_step(number, total)
            return None
        self.bad_steps = 0
        set_lr(self.optimizer, self.config, number)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.sampler.update({name: sums[name] / count for name, count in counts.items()})
        return total, counts

    def _backward(self, batch: Batch, tasks: Sequence[Task], share: float) -> "_Part":
        """Add the gradient of `share` of a batch's loss, of which this process has a part."""
        bf16 = self.config.precision == "bf16"
        found, idle = task_losses(self.spread, self.model.tasks, batch, self.device, bf16=bf16)
        none = torch.zeros((), device=self.device)
        here = [float(found[task].count) if task in found else 0.0 for task in tasks]
        weight = [found[task].weight if task in found else none for task in tasks]
        own = torch.stack([torch.tensor(here, device=self.device), torch.stack(weight)])
        counts, weights = self.group.sum(own.clone())
        samples = counts.sum().clamp(min=1)
        parts = own[1] / weights.clamp(min=1)
        shares = (parts * counts / samples).unbind(), (own[0] / samples).unbind()
        terms = {task: (found[task].loss, *both) for task, *both in zip(tasks, *shares, strict=True) if task in found}
        # What is learned of a type gets a gradient in all processes or in none.
        unused = [s * 0.0 for kind, s in self.balance.log_variance.items() if TaskType(kind) in batch.rows]
        init_distributed = (self.balance(terms, self.sampler.losses) if terms else none) + idle + sum(unused)
        # The gradients' mean over the processes is to be their sum.
        (init_distributed * (share * self.group.count)).backward()
        losses = torch.stack([found[task].loss.detach() if task in found else none for task in tasks]) * parts
        return _Part(torch.cat([(init_distributed.detach() * share)[None], losses]), counts)

    def _bad_step(self, number: int, total: float) -> None:
        self.bad_steps += 1
        if self.bad_steps > self.config.skip_bad_steps:
            raise DeviceError(
                f"expected a finite loss and gradient, found a loss of {total} at step {number}; "
                "lower learning_rate, use precision=fp32, or allow some with skip_bad_steps"
            )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All tensors, whole, and plain values that decide the steps to come."""
        tensors: dict[str, Tensor] = {}
        for part, module in self._modules().items():
            tensors |= {f"{part}.{name}": whole(tensor) for name, tensor in module.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": whole(tensor) for name, tensor in slots.items()}
        return tensors, {"sampler": dict(self.sampler.losses), "bad_steps": self.bad_steps}

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Go on as the trainer that gave this state would have, in whatever number of processes that was."""
        for part, module in self._modules().items():
            own = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
            load_whole(module, own)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            if part == "optimizer":
                index, _, slot = rest.partition(".")
                # A slot is of its parameter's shape, or the number of steps.
                piece = like(tensor, parameters[int(index)]) if tensor.ndim else tensor
                slots.setdefault(int(index), {})[slot] = piece
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.sampler.losses = dict(record["sampler"])
        self.bad_steps = record["bad_steps"]

    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "average": self.average, "balance": self.balance}


@dataclass(frozen=True, slots=True)
class _Part:
    """Of a batch: `losses`, this process's part of the joined loss and of each task's; and `counts` over all, (T,)."""

    losses: Tensor
    counts: Tensor


@dataclass(frozen=True, slots=True)
class TaskLoss:
    """A task's mean loss on its `count` samples, in float32; `weight` is that of `training.fit.losses.loss_weight`."""

    loss: Tensor
    count: int
    weight: Tensor


def task_losses(
    model: Callable[..., Any], tasks: Registry, batch: Batch, device: torch.device, *, bf16: bool
) -> tuple[dict[Task, TaskLoss], Tensor]:
    """Each task's loss on its samples in the batch; and 0, by way of all heads that computed something for nothing."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        outputs = model(batch.images.to(device), {kind: index.to(device) for kind, index in batch.rows.items()})
    slices = {kind: channel_slices(tasks, kind) for kind in TaskType}
    losses = {}
    for task, (places, targets) in batch.targets.items():
        logits, targets = outputs[task.type][places, slices[task.type][task.id]].float(), targets.to(device)
        weight = loss_weight(task.type, logits, targets)
        losses[task] = TaskLoss(LOSSES[task.type](logits, targets), len(targets), weight)
    wanted = {task.type for task in losses}
    idle = [outputs[kind].sum() * 0.0 for kind in batch.rows if kind not in wanted]
    return losses, torch.stack(idle).sum() if idle else torch.zeros((), device=device)
