"""The processes that train one model together, as `torchrun` starts them; one alone is a group too.

Nothing here is known of models and data: a process knows its number, adds up numbers with the others, and waits for
them. Whatever decides the steps to come is the same in all processes, so that each comes to the same decisions.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from aurora.errors import DeviceError, UsageError
from aurora.model.aurora import Aurora
from aurora.runtime.hardware import open_device

#: How long the others wait for the first process, which validates and writes.
TIMEOUT = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process, the `rank`-th of `count`, and the device that it computes on."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that logs, validates and writes."""
        return self.rank == 0

    def sum(self, numbers: Tensor) -> Tensor:
        """The sums of the `numbers` of all processes, in place."""
        if self.count > 1:
            dist.all_reduce(numbers)
        return numbers

    def union(self, entries: Mapping[int, str]) -> dict[int, str]:
        """The `entries` of all processes."""
        parts = [entries]
        if self.count > 1:
            parts *= self.count
            dist.all_gather_object(parts, dict(entries))
        return {key: text for part in parts for key, text in part.items()}

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def init_distributed(device: str) -> Iterator[ProcessGroup]:
    """The group that the environment tells of, left at the end; all but the first process are silent.

    Each process takes the CUDA device of its number on its machine, or the CPU.

    Raises:
        UsageError: the device is named with its number, which only one process could take; or torchrun's restarts
            can't work.
        DeviceError: there is no such device, or another process has ended.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ProcessGroup(open_device(device))
        return
    _check_restarts()
    if ":" in device:
        raise UsageError(f"expected device=cuda or device=cpu for {count} processes, found {device}")
    found = open_device(device)
    if found.type == "cuda":
        found = open_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(found)
    dist.init_process_group("nccl" if found.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        group = ProcessGroup(found, dist.get_rank(), count)
        if group.first:
            yield group
        else:
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
                yield group
    except RuntimeError as error:
        # What PyTorch says of it names neither the process nor its reason, which that process has said itself.
        if "closed by peer" not in str(error):
            raise
        raise DeviceError("another process of this run has ended; its own last line says why") from error
    finally:
        dist.destroy_process_group()


def _check_restarts() -> None:
    """With a store that outlives a restart, processes look for each other where those before them were, and hang.

    See https://github.com/pytorch/pytorch/issues/135712.
    """
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UsageError(
            "expected TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's environment for --max-restarts, found a store "
            "that is shared; set it, and let torchrun choose the rendezvous (--standalone, or --rdzv-backend=c10d)"
        )


class DistributedModel:
    """What trains `model` in a group: called as the model is, and its gradients are the means over the processes.

    Args:
        model: this process's copy, the same in all; cut into pieces in place where `pieces` is true.
        group: the processes.
        pieces: whether each process holds only a piece of the weights.
    """

    def __init__(self, model: Aurora, group: ProcessGroup, *, pieces: bool) -> None:
        self.group, self.module = group, model
        self.call: nn.Module = model
        if group.count > 1 and pieces:
            cut(model, group)
        elif group.count > 1:
            # A type that no row of a batch wants computes nothing.
            self.call = DistributedDataParallel(model, find_unused_parameters=True)

    def __call__(self, *inputs: Any) -> Any:
        return self.call(*inputs)

    @contextmanager
    def sync_gradients(self, together: bool) -> Iterator[None]:
        """Within it, gradients are exchanged only if `together` is true, and otherwise kept for a later exchange."""
        if isinstance(self.call, DistributedDataParallel) and not together:
            with self.call.no_sync():
                yield
            return
        if isinstance(self.call, FSDPModule):
            self.call.set_requires_gradient_sync(together)
        yield

    def exchange(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make the gradients of parameters that aren't the model's the means over the processes."""
        for parameter in parameters:
            if self.group.count > 1 and parameter.grad is not None:
                self.group.sum(parameter.grad).div_(self.group.count)


def cut(model: Aurora, group: ProcessGroup) -> None:
    """Leave each process its piece of the weights: block by block of the encoder, and all the rest together."""
    mesh = init_device_mesh(group.device.type, (group.count,))
    for block in model.encoder.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """A tensor, put together where it is in pieces; all processes must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """This process's piece of a whole tensor, if `model` is in pieces."""
    if not isinstance(model, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor.to(model.device), model.device_mesh, model.placements, src_data_rank=None)


def load_whole(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load whole tensors into a module that may be in pieces."""
    own = module.state_dict()
    module.load_state_dict({name: like(tensor, own[name]) for name, tensor in tensors.items()})


def gather_into(module: Aurora, plain: Aurora) -> Aurora:
    """`plain`, a model on one device, with the weights of one that may be in pieces; all processes must call this."""
    plain.load_state_dict({name: whole(tensor) for name, tensor in module.state_dict().items()})
    return plain
