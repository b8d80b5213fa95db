"""Any number of workers writes the same files; an interrupt or an error ends them all."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aurora.errors import OutputError, UsageError
from training.phantom import generate, writer
from training.phantom.writer import default_workers, run_parallel


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    for workers in (1, 2, 3):
        generate(tmp_path / str(workers), cases=19, seed=4, tasks=["lung", "IUGC"], size_scale=0.3, workers=workers)
    one, two, three = (contents(tmp_path / str(workers)) for workers in (1, 2, 3))
    assert len(one) == 2 * 19 + 19 + 2
    assert one == two == three


def test_results_are_in_the_order_of_the_items() -> None:
    assert run_parallel(math.isqrt, [n**2 for n in range(40)], 3) == list(range(40))


def test_one_worker_is_this_process_and_two_are_others() -> None:
    jobs = ["__import__('os').getpid()"] * 4
    assert set(run_parallel(eval, jobs, 1)) == {os.getpid()}
    assert os.getpid() not in run_parallel(eval, jobs, 2)


def test_workers_leave_an_interrupt_to_the_first_process() -> None:
    job = "__import__('signal').getsignal(2) is __import__('signal').SIG_IGN"
    assert run_parallel(eval, [job] * 4, 2) == [True] * 4


@pytest.mark.parametrize(("images", "workers"), [(159, 1), (160, 3)])
def test_the_default_is_the_processors_of_the_container_but_few_images_are_not_worth_a_process(
    monkeypatch: pytest.MonkeyPatch, images: int, workers: int
) -> None:
    monkeypatch.setattr(writer, "processors", lambda: 3)
    assert default_workers(images) == workers


def test_an_error_in_a_worker_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"can't write .*; name another folder with --out"):
        generate(tmp_path / "file" / "out", cases=20, seed=1, tasks=["lung"], size_scale=0.3, workers=2)


def test_no_worker_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="worker"):
        generate(tmp_path, cases=1, seed=1, workers=0)


def test_an_interrupt_ends_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "phantom", "--out", str(tmp_path), "--seed", "0", "--cases", "4000",
               "--workers", "2"]  # fmt: skip
    # As from a terminal: what a shell starts in its background ignores SIGINT, and so does all that it starts in turn.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.rglob("*.png"))) < 150 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"Traceback" not in errors
    assert list(tmp_path.rglob("*.png"))
    # The session's last process is gone with it, but for what is only just being reaped.
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("workers outlive the command")
