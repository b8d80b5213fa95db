"""How many processors this process may use."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def processors() -> int:
    """The processors that the scheduler and the container's quota leave to this process, at least 1.

    Threads beyond them only wait for each other. macOS can't say more than how many processors there are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, int(_quota() or allowed)))


def _quota() -> float | None:
    """The processors' worth of time that control groups allow, by version 2 or 1; None if they say nothing."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((CGROUPS / file).read_text() for file in files).split()
            return int(quota) / int(period) if int(quota) > 0 else None
        except (OSError, ValueError):  # another version or system, or no quota: "max 100000"
            continue
    return None
