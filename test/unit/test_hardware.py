"""Threads and batches follow the limits that the machine sets this process, whichever way it states them."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
import torch

from aurora.errors import DeviceError, UsageError
from aurora.predict.pipeline import Stages
from aurora.runtime.hardware import (
    fitting_batch,
    library_threads,
    parse_device,
    peak_resident,
    processors,
    require_threads,
    uses_bfloat16,
)

V1, V2 = "4:memory:/slurm/job_7\n3:cpu,cpuacct:/slurm/job_7\n0::/\n", "0::/system.slice/run.scope\n"


def machine(root: Path, files: dict[str, str], membership: str | None = None) -> Path:
    """A file system whose control groups hold these files, and this process in the groups of `membership`."""
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if membership is not None:
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text(membership)
    return root


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize("membership", [None, "", "0::/\n", V1, V2, "nonsense"])
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "9900000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({}, 8),
    ],
    ids=str,
)
def test_the_quota_of_the_container_counts(
    tmp_path: Path, files: dict[str, str], expected: int, membership: str | None
) -> None:
    assert processors(machine(tmp_path, files, membership)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"memory.max": "max"}, 8),
        ({"memory.max": str(2 << 30)}, 8),
        ({"memory.max": str(400 << 20)}, 4),
        ({"memory.max": str(100 << 20)}, 1),
        ({"memory.max": "1"}, 1),
        ({"memory/memory.limit_in_bytes": str(200 << 20)}, 2),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, 8),
    ],
)
def test_a_batch_fits_the_containers_memory(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert fitting_batch(8, machine(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        (V2, {"system.slice/run.scope/cpu.max": "300000 100000", "system.slice/run.scope/memory.max": "150000000"}),
        (V2, {"system.slice/cpu.max": "300000 100000", "system.slice/memory.max": "150000000"}),
        (
            V2,
            {
                "system.slice/run.scope/cpu.max": "max 100000",
                "system.slice/cpu.max": "300000 100000",
                "cpu.max": "500000 100000",
                "system.slice/run.scope/memory.max": "900000000",
                "system.slice/memory.max": "150000000",
                "memory.max": "max",
            },
        ),
        (
            V1,
            {
                "cpu/slurm/job_7/cpu.cfs_quota_us": "-1",
                "cpu/slurm/job_7/cpu.cfs_period_us": "100000",
                "cpu/slurm/cpu.cfs_quota_us": "300000",
                "cpu/slurm/cpu.cfs_period_us": "100000",
                "memory/slurm/job_7/memory.limit_in_bytes": "150000000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
        ),
    ],
    ids=["own group", "parent", "the smallest of all", "version 1"],
)
def test_limits_of_a_job_or_service_and_of_its_parents_count(
    tmp_path: Path, membership: str, files: dict[str, str]
) -> None:
    root = machine(tmp_path, files | {"other/cpu.max": "100000 100000", "other/memory.max": "1"}, membership)
    assert (processors(root), fitting_batch(8, root)) == (3, 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("auto", ("auto", 0)), ("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:12", ("cuda", 12))],
)
def test_a_device_name_is_split_into_type_and_index(name: str, expected: tuple[str, int]) -> None:
    assert parse_device(name) == expected


@pytest.mark.parametrize("name", ["tpu", "", "cuda:", "cuda:-1", "cpu:0", "auto:0", "CUDA", "cuda:1 ", "cuda:²"])
def test_another_device_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="expected the device auto, cpu, cuda or cuda:N, found"):
        parse_device(name)


def test_peak_memory_is_counted_in_bytes() -> None:
    assert 20e6 < peak_resident(resource.getrusage(resource.RUSAGE_SELF)) < 64e9


def test_stages_add_up_what_their_work_takes_also_where_it_fails() -> None:
    stages = Stages()
    work = stages.timed("work", lambda number: 1 // number)
    assert (work(1), stages.seconds["work"] > 0) == (1, True)
    before = stages.seconds["work"]
    with pytest.raises(ZeroDivisionError):
        work(0)
    assert stages.seconds["work"] > before
    assert str(stages).startswith("at work for 0.00 s: work 0.00 s; ")


def test_too_few_threads_are_an_error_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    real, started = Thread.start, []

    def start(thread: Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    monkeypatch.setattr(Thread, "start", start)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    with pytest.raises(DeviceError, match=r"expected to start \d+ threads, but can't start new thread; let this"):
        require_threads(library_threads())
    assert not any(thread.is_alive() for thread in started)


@pytest.mark.parametrize(
    ("precision", "flags", "expected"),
    [
        ("auto", "avx2 avx512f avx512_bf16", True),
        ("auto", "avx2 avx512f amx_bf16", True),
        ("auto", "avx2 avx512f", False),
        ("bf16", "avx2", True),
        ("fp32", "amx_bf16", False),
    ],
)
def test_training_is_in_bfloat16_where_the_processor_has_it(
    tmp_path: Path, precision: str, flags: str, expected: bool
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
    assert uses_bfloat16(precision, torch.device("cpu"), tmp_path) is expected


FREED = """
import resource
import numpy as np
from aurora.runtime.hardware import keep_freed_memory
if {keep}:
    keep_freed_memory()
np.ones(64 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones(64 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it only has an effect with glibc")
def test_freed_memory_is_used_again() -> None:
    commands = [[sys.executable, "-c", FREED.format(keep=keep)] for keep in (False, True)]
    faults = [int(subprocess.run(command, capture_output=True, check=True).stdout) for command in commands]
    assert faults[1] < 50 < faults[0]
