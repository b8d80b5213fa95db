"""What this process may use of the machine: processors and memory, by the container's limits."""

import os
from pathlib import Path

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
