"""The processes that train one model together, as `torchrun` starts them; one alone is a group too.

Nothing here is known of models and data: a process knows its number, adds up numbers with the others, and waits for
them. Whatever decides the steps to come is the same in all processes, so that each comes to the same decisions.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from aurora.device import open_device
from aurora.errors import DeviceError, UsageError

#: How long the others wait for the first process, which validates and writes.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Group:
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
def joined(device: str) -> Iterator[Group]:
    """The group that the environment tells of, left at the end; all but the first process are silent.

    Each process takes the CUDA device of its number on its machine, or the CPU.

    Raises:
        UsageError: the device is named with its number, which only one process could take; or torchrun's restarts
            can't work.
        DeviceError: there is no such device, or another process has ended.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Group(open_device(device))
        return
    _check_restarts()
    if ":" in device:
        raise UsageError(f"expected device=cuda or device=cpu for {count} processes, found {device}")
    found = open_device(device)
    if found.type == "cuda":
        found = open_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(found)
    dist.init_process_group("nccl" if found.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        group = Group(found, dist.get_rank(), count)
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
