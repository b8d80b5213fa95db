"""Take training steps: update the model, its moving average, the optimizer and the sampler."""

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
from aurora.runtime.hardware import uses_bfloat16
from aurora.tasks import TYPES, Registry, Task, TaskType, channel_slices
from training.config import FitConfig
from training.fit.distillation import Teachers, distillation_loss
from training.fit.distributed import (
    DistributedModel,
    ProcessGroup,
    full_tensor,
    gather_into,
    load_full_state,
    shard,
    shard_like,
)
from training.fit.initialize import ModelFactory, build_model
from training.fit.loader import Batch
from training.fit.losses import LOSSES, LossBalance, loss_weight
from training.fit.optimizer import make_optimizer, set_lr
from training.fit.sampler import TaskSampler


class Trainer:
    """Everything that changes from step to step, apart from the data.

    Args:
        config: the run's configuration.
        tasks: the tasks of the model.
        sizes: the number of training cases of each task.
        group: the processes that train together; all of them call every method.
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
        self.bf16 = uses_bfloat16(config.precision, self.device)
        self.teachers = Teachers(config, tasks, self.device, bf16=self.bf16) if config.teachers else None
        if self.teachers:
            self.origin["teachers"] = self.teachers.origin
        self.ema = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        self.distributed = DistributedModel(self.model, group, sharded=config.parallel == "fsdp")
        if isinstance(self.model, FSDPModule):
            self.unsharded = deepcopy(cast(Aurora, self.ema.module)).eval()
            shard(cast(Aurora, self.ema.module), group)
        self.balance = LossBalance(config.balance).to(self.device)
        self.optimizer = make_optimizer(self.model, self.balance, config)
        self.sampler = TaskSampler(sizes, config.size_exponent, config.loss_exponent)
        self.skipped_steps = 0

    def ema_model(self) -> Aurora:
        """Return the model with the moving average of the weights, unsharded and in evaluation mode."""
        ema = cast(Aurora, self.ema.module)
        return gather_into(self.unsharded, ema) if isinstance(self.model, FSDPModule) else ema.eval()

    def step(self, number: int, batches: Sequence[Batch]) -> tuple[float, dict[str, int]] | None:
        """Take step `number` (from 1) on `batches`; return the mean loss and each task's number of samples.

        Returns None, without changing anything, if the loss or the gradient isn't finite and the configuration allows
        skipping the step.

        Raises:
            DeviceError: the loss or the gradient isn't finite, and no more consecutive steps may be skipped.
        """
        # All randomness in a step depends on its number alone, so that a resumed run continues exactly.
        torch.manual_seed((self.config.seed * 1_000_003 + number) * 4096 + self.group.rank)
        self.model.train()
        self.optimizer.zero_grad()
        total, sums, counts = self._accumulate_gradients(batches)
        self.distributed.all_reduce_grads(self.balance.parameters())
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = full_tensor(nn.utils.clip_grad_norm_(parameters, self.config.grad_clip_norm))
        if not (math.isfinite(total) and torch.isfinite(norm)):
            self._skip_step(number, total)
            return None
        self.skipped_steps = 0
        set_lr(self.optimizer, self.config, number)
        self.optimizer.step()
        self.ema.update_parameters(self.model)
        self.sampler.update({name: sums[name] / count for name, count in counts.items()})
        return total, counts

    def _accumulate_gradients(self, batches: Sequence[Batch]) -> tuple[float, dict[str, float], dict[str, int]]:
        """Run the backward passes; return the mean loss, and by task the sum of its losses and its samples."""
        tasks = list(self.model.tasks.values())
        total, sums, counts = 0.0, dict[str, float](), dict[str, int]()
        for index, batch in enumerate(batches):
            with self.distributed.sync_gradients(index == len(batches) - 1):
                numbers, global_counts = self._backward(batch, tasks, 1 / len(batches))
            # One transfer for all the numbers, because every transfer waits for the device.
            loss, *task_means = self.group.all_reduce(numbers).tolist()
            total += loss
            for task, mean, count in zip(tasks, task_means, global_counts.tolist(), strict=True):
                if count:
                    sums[task.id] = sums.get(task.id, 0.0) + mean * count
                    counts[task.id] = counts.get(task.id, 0) + int(count)
        return total, sums, counts

    def _backward(self, batch: Batch, tasks: Sequence[Task], scale: float) -> tuple[Tensor, Tensor]:
        """Add this process's share of the gradient of `scale` times a batch's loss.

        Returns this process's terms of the batch's scaled loss and of the mean loss of each task, (1 + T,), and the
        number of samples of each task in all processes, (T,).
        """
        predicted = self.teachers.predict(batch) if self.teachers else {}
        share = self.config.distillation_share
        losses, unused_heads = task_losses(
            self.distributed, self.model.tasks, batch, self.device, bf16=self.bf16, predicted=predicted, share=share
        )
        zero = torch.zeros((), device=self.device)
        shares = global_shares(
            torch.tensor([float(losses[task].count) if task in losses else 0.0 for task in tasks], device=self.device),
            torch.stack([losses[task].weight if task in losses else zero for task in tasks]),
            self.group,
        )
        terms = {
            task: (losses[task].loss, loss_share, sample_share)
            for task, loss_share, sample_share in zip(tasks, shares.loss, shares.samples, strict=True)
            if task in losses
        }
        # A type's learned uncertainty needs a gradient in all processes or in none.
        unused = [s * 0.0 for name, s in self.balance.log_variance.items() if TaskType(name) in batch.rows]
        loss = (self.balance(terms, self.sampler.losses) if terms else zero) + unused_heads + sum(unused)
        # The processes' gradients are averaged, but must be summed.
        (loss * (scale * self.group.world_size)).backward()
        means = torch.stack([losses[task].loss.detach() if task in losses else zero for task in tasks]) * shares.task
        return torch.cat([(loss.detach() * scale)[None], means]), shares.counts

    def _skip_step(self, number: int, total: float) -> None:
        self.skipped_steps += 1
        if self.skipped_steps > self.config.max_skipped_steps:
            raise DeviceError(
                f"expected a finite loss and gradient, found a loss of {total} at step {number}; "
                "lower learning_rate, use precision=fp32, or allow some with max_skipped_steps"
            )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all full tensors and the plain values that determine the next steps."""
        tensors: dict[str, Tensor] = {}
        for prefix, module in self._modules().items():
            tensors |= {f"{prefix}.{name}": full_tensor(tensor) for name, tensor in module.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": full_tensor(tensor) for name, tensor in slots.items()}
        return tensors, {"sampler": dict(self.sampler.losses), "bad_steps": self.skipped_steps}

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Restore what `state` returned, in any number of processes."""
        for prefix, module in self._modules().items():
            start = f"{prefix}."
            load_full_state(
                module, {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
            )
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            prefix, _, rest = name.partition(".")
            if prefix == "optimizer":
                index, _, slot = rest.partition(".")
                # A slot has its parameter's shape, or is a scalar: the number of steps.
                value = shard_like(tensor, parameters[int(index)]) if tensor.ndim else tensor
                slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.sampler.losses = dict(record["sampler"])
        self.skipped_steps = record["bad_steps"]

    def _modules(self) -> dict[str, nn.Module]:
        """Return the modules by the prefix of their tensors in a state file; prefixes stay the same across versions."""
        return {"model": self.model, "average": self.ema, "balance": self.balance}


@dataclass(frozen=True, slots=True)
class GlobalShares:
    """This process's shares of the batch that all processes share, by task, each (T,); see `global_shares`."""

    counts: Tensor
    task: Tensor
    loss: Tensor
    samples: Tensor


def global_shares(counts: Tensor, weights: Tensor, group: ProcessGroup) -> GlobalShares:
    """Return the weights of this process's losses in the loss of the batch that all processes share.

    The batch's loss is the mean over its samples, so a task t with n_t of the N samples counts for n_t / N. A task's
    loss is a mean with weight w_t (see `loss_weight`), so a process's mean counts in proportion to its
    share of the sum of the weights. With n_tp and w_tp those of process p:

        n_t = sum_p n_tp       N = sum_t n_t       task_p = w_tp / sum_p w_tp
        loss_p = task_p * n_t / N                  samples_p = n_tp / N

    so that sum_p loss_p * (loss of t in p) is the task's term of the batch's loss.

    Args:
        counts: n_tp, this process's samples of each task, (T,).
        weights: w_tp, (T,); 0 for a task without a sample here.
        group: the processes; all must call this.

    Returns:
        `counts` n_t, `task`, `loss` and `samples`, each (T,); 0 for a task without a sample.
    """
    total_counts, total_weights = group.all_reduce(torch.stack([counts, weights]))
    total_samples = total_counts.sum().clamp(min=1)
    task = weights / total_weights.clamp(min=1)
    return GlobalShares(total_counts, task, task * total_counts / total_samples, counts / total_samples)


@dataclass(frozen=True, slots=True)
class TaskLoss:
    """A task's mean loss on its `count` samples, (), float32, and its `training.fit.losses.loss_weight`."""

    loss: Tensor
    count: int
    weight: Tensor


def task_losses(
    model: Callable[..., Any],
    tasks: Registry,
    batch: Batch,
    device: torch.device,
    *,
    bf16: bool,
    predicted: Mapping[Task, Tensor],
    share: float,
) -> tuple[dict[Task, TaskLoss], Tensor]:
    """Return the loss of each task in the batch, and a zero that keeps unused heads in the autograd graph.

    Of the loss of a task in `predicted`, the teachers' prediction, `share` is the loss against that.
    """
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        rows = {task_type: index.to(device) for task_type, index in batch.rows.items()}
        outputs = model(batch.images.to(device), rows)
    slices = {task_type: channel_slices(tasks, task_type) for task_type in TYPES}
    losses = {}
    for task, (task_rows, targets) in batch.targets.items():
        logits, targets = outputs[task.type][task_rows, slices[task.type][task.id]].float(), targets.to(device)
        weight = loss_weight(task.type, logits, targets)
        loss = LOSSES[task.type](logits, targets)
        if task in predicted:
            loss = torch.lerp(loss, distillation_loss(task.type, logits, predicted[task], weight), share)
        losses[task] = TaskLoss(loss, len(targets), weight)
    used = {task.type for task in losses}
    unused = [outputs[task_type].sum() * 0.0 for task_type in batch.rows if task_type not in used]
    return losses, torch.stack(unused).sum() if unused else torch.zeros((), device=device)
