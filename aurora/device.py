"""The device that PyTorch computes on."""

import re
import resource
import sys

import torch

from aurora.errors import DeviceError, UsageError


def open_device(name: str) -> torch.device:
    """The device called `auto` (a CUDA device if there is one, or else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: another name.
        DeviceError: PyTorch doesn't find it.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"expected the device auto, cpu, cuda or cuda:N, found {name!r}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = torch.cuda.device_count()
    if name != "cpu" and int(name.partition(":")[2] or 0) >= found:
        raise DeviceError(f"device {name!r} was asked for, but PyTorch finds {found} CUDA devices; use cpu or auto")
    return torch.device(name)


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: by PyTorch on a CUDA device, by the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Kilobytes, except on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
