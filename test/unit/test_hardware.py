"""Threads and batches follow the limits of the container, whichever way it says them."""

import os
from pathlib import Path

import pytest

from aurora.predict.pipeline import Stages
from aurora.runtime import hardware as module
from aurora.runtime.hardware import fitting_batch, processors


def control_groups(files: dict[str, str], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these files, by name, be what the control groups say."""
    for name, text in files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    monkeypatch.setattr(module, "CGROUPS", place)


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    control_groups(files, tmp_path, monkeypatch)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert processors() == expected


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
def test_a_batch_fits_the_containers_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    control_groups(files, tmp_path, monkeypatch)
    assert fitting_batch(8) == expected


def test_stages_add_up_what_their_work_takes_also_where_it_fails() -> None:
    stages = Stages()
    work = stages.timed("work", lambda number: 1 // number)
    assert (work(1), stages.seconds["work"] > 0) == (1, True)
    before = stages.seconds["work"]
    with pytest.raises(ZeroDivisionError):
        work(0)
    assert stages.seconds["work"] > before
    assert str(stages).startswith("at work for 0.00 s: work 0.00 s; ")
