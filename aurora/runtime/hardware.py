"""What the machine offers this process: processors, memory and the device that computes."""

import os
import re
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aurora.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

CGROUPS = Path("/sys/fs/cgroup")
#: Memory that a default batch leaves for each of its images.
BYTES_PER_IMAGE = 64 << 20


def processors() -> int:
    """The processors that the scheduler and the container's quota leave to this process, at least 1.

    Threads beyond them only wait for each other. macOS can't say more than how many processors there are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, int(_quota() or allowed)))


def fitting_batch(images: int) -> int:
    """How many of `images` fit into the container's memory: all, or halved until they do; at least 1."""
    limit = memory()
    while limit is not None and images > 1 and images * BYTES_PER_IMAGE > limit:
        images //= 2
    return images


def _quota() -> float | None:
    """The processors' worth of time that control groups allow, by version 2 or 1; None if they say nothing."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((CGROUPS / file).read_text() for file in files).split()
            return int(quota) / int(period) if int(quota) > 0 else None
        except (OSError, ValueError):  # another version or system, or no quota: "max 100000"
            continue
    return None


def memory() -> int | None:
    """The bytes that control groups allow, by version 2 or 1; None if they say nothing."""
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((CGROUPS / file).read_text())  # version 1 says "no limit" by a number beyond all machines
        except (OSError, ValueError):  # another version or system, or no limit: "max"
            continue
    return None


# Either is there when a container or host shows an NVIDIA driver; asking PyTorch would mean importing it.
_NVIDIA_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def nvidia_driver() -> bool:
    """Whether the container or host shows an NVIDIA driver."""
    return any(device.exists() for device in _NVIDIA_DEVICES)


def open_device(name: str) -> "torch.device":
    """The device called `auto` (a CUDA device if there is one, or else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: another name.
        DeviceError: PyTorch doesn't find it.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"expected the device auto, cpu, cuda or cuda:N, found {name!r}")
    import torch  # seconds, which `--help` and `check` need not wait for

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = torch.cuda.device_count()
    if name != "cpu" and int(name.partition(":")[2] or 0) >= found:
        raise DeviceError(f"device {name!r} was asked for, but PyTorch finds {found} CUDA devices; use cpu or auto")
    return torch.device(name)


def peak_memory(device: "torch.device") -> int:
    """The most bytes held so far: by PyTorch on a CUDA device, by the whole process on a CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    # Kilobytes, except on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "SimpleITK",
    "pillow",
    "pydantic",
    "onnxruntime",
    "torch",
    "scikit-learn",
)


def library_versions() -> dict[str, str]:
    """The version of each of `LIBRARIES`, or "absent"."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
