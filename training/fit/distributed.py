"""Train in several processes started by `torchrun`: collectives, and replicated or sharded models.

Everything that determines the next step is the same in all processes, so all of them make the same decisions.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

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

T = TypeVar("T")

#: The longest time that processes wait for the main one, which prepares the data, validates and writes.
TIMEOUT = timedelta(hours=2)
# Messages about a lost peer: by gloo at once, by NCCL with its error code or when its watchdog's timeout has passed.
_PEER_LOST = re.compile(r"(closed|reset) by peer|ncclRemoteError|Watchdog caught collective operation timeout")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process: its `rank` among `world_size` processes, and the device that it computes on.

    `control` connects the processes through gloo on every device. Long waits use it, because gloo
    notices at once that a peer is gone, while NCCL waits for its timeout.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    control: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prepares the data, logs, validates and writes."""
        return self.rank == 0

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum a tensor on `device` over the processes, in place, and return it."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def total(self, number: float) -> float:
        """Return the sum of a number over the processes."""
        numbers = torch.tensor(float(number), dtype=torch.float64)
        if self.world_size > 1:
            dist.all_reduce(numbers, group=self.control)
        return numbers.item()

    def union(self, entries: Mapping[int, str]) -> dict[int, str]:
        """Return the `entries` of all processes."""
        gathered = [entries]
        if self.world_size > 1:
            gathered *= self.world_size
            dist.all_gather_object(gathered, dict(entries), group=self.control)
        return {key: text for mapping in gathered for key, text in mapping.items()}

    def run_on_main(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call `function` in the main process alone, and return its result, which must be picklable, in all.

        If it raises, the main process ends with that error, and the others with a `DeviceError`.

        Example:
            >>> cases, validation = group.run_on_main(prepare, config, data, val)
        """
        results = [function(*args, **kwargs) if self.is_main else None]
        if self.world_size > 1:
            dist.broadcast_object_list(results, src=0, group=self.control)
        return cast(T, results[0])

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.world_size > 1:
            dist.barrier(group=self.control)


@contextmanager
def init_distributed(device: str) -> Iterator[ProcessGroup]:
    """Join the process group that the environment describes, and leave it on exit; without one, yield a single process.

    Each process takes the CUDA device of its local rank, or the CPU.

    Raises:
        UsageError: the device has a number, so that only one process could use it; or torchrun is to restart
            processes with settings that would make them hang.
        DeviceError: there is no such device, or another process has ended.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield ProcessGroup(open_device(device))
        return
    _check_restarts()
    if ":" in device:
        raise UsageError(f"expected device=cuda or device=cpu for {world_size} processes, found {device}")
    local_device = open_device(device)
    if local_device.type == "cuda":
        local_device = open_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(local_device)
    # With PyTorch's own timeout, because only the steps, which are short, use this group.
    dist.init_process_group("nccl" if local_device.type == "cuda" else "gloo")
    try:
        control = dist.new_group(backend="gloo", timeout=TIMEOUT)
        yield ProcessGroup(local_device, dist.get_rank(), world_size, control)
    except RuntimeError as error:
        if not is_peer_lost(error):
            raise
        raise DeviceError("another process of this run has ended; its own last line says why") from error
    finally:
        dist.destroy_process_group()


def is_peer_lost(error: RuntimeError) -> bool:
    """Return whether a collective failed because another process has ended."""
    return _PEER_LOST.search(str(error)) is not None


def _check_restarts() -> None:
    """Reject restarts with a store that outlives them: the new processes would look for the old ones, and hang.

    See https://github.com/pytorch/pytorch/issues/135712.
    """
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UsageError(
            "expected TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's environment for --max-restarts, found a store "
            "that is shared; set it, and let torchrun choose the rendezvous (--standalone, or --rdzv-backend=c10d)"
        )


class DistributedModel:
    """A model trained by a group: call it like the model; its gradients are the means over the processes.

    Args:
        model: this process's copy, the same in all; sharded in place if `sharded` is true.
        group: the processes.
        sharded: whether each process holds only a shard of the weights (FSDP) instead of all of them (DDP).
    """

    def __init__(self, model: Aurora, group: ProcessGroup, *, sharded: bool) -> None:
        self.group = group
        self.module: nn.Module = model
        if group.world_size > 1 and sharded:
            shard(model, group)
        elif group.world_size > 1:
            # The head of a type that has no row in a batch computes nothing.
            self.module = DistributedDataParallel(model, find_unused_parameters=True)

    def __call__(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    @contextmanager
    def sync_gradients(self, enabled: bool) -> Iterator[None]:
        """Exchange the gradients of the backward passes inside; if not `enabled`, accumulate them for a later one."""
        if isinstance(self.module, DistributedDataParallel) and not enabled:
            with self.module.no_sync():
                yield
            return
        if isinstance(self.module, FSDPModule):
            self.module.set_requires_gradient_sync(enabled)
        yield

    def all_reduce_grads(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of parameters outside the model by their means over the processes."""
        for parameter in parameters:
            if self.group.world_size > 1 and parameter.grad is not None:
                self.group.all_reduce(parameter.grad).div_(self.group.world_size)


def shard(model: Aurora, group: ProcessGroup) -> None:
    """Keep only this process's shard of the weights; each block of the encoder is a unit, and the rest is another."""
    mesh = init_device_mesh(group.device.type, (group.world_size,))
    for block in model.encoder.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor, gathered if it is sharded; all processes must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, reference: Tensor) -> Tensor:
    """Return this process's shard of a full tensor if `reference` is sharded, and otherwise the tensor."""
    if not isinstance(reference, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(
        tensor.to(reference.device), reference.device_mesh, reference.placements, src_data_rank=None
    )


def load_full_state(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load full tensors into a module that may be sharded."""
    state = module.state_dict()
    module.load_state_dict({name: shard_like(tensor, state[name]) for name, tensor in tensors.items()})


def gather_into(unsharded: Aurora, model: Aurora) -> Aurora:
    """Load the weights of `model`, sharded or not, into `unsharded` and return it; all processes must call this."""
    unsharded.load_state_dict({name: full_tensor(tensor) for name, tensor in model.state_dict().items()})
    return unsharded
