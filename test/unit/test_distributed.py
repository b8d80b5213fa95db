"""Processes that train together: one prepares for all, and the others notice when it is gone."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
import torch

from aurora.errors import DeviceError
from training.fit.distributed import ProcessGroup, init_distributed, is_peer_lost

ROOT = Path(__file__).resolve().parents[2]


def prepare_once(calls: Path) -> list[int]:
    with calls.open("a") as file:
        file.write("called\n")
    return [1, 2, 3]


def share(group: ProcessGroup, folder: Path) -> None:
    """Collectives give the same in all processes, and the data is prepared by one of them."""
    assert group.run_on_main(prepare_once, folder / "calls") == [1, 2, 3]
    assert group.total(group.rank + 1) == 3.0
    assert group.union({group.rank: "here"}) == {0: "here", 1: "here"}
    assert group.all_reduce(torch.ones(2)).tolist() == [2.0, 2.0]


def fail(group: ProcessGroup, folder: Path) -> None:
    """What the main process prepares raises an error."""
    group.run_on_main(prepare_once, folder)


def die(group: ProcessGroup, folder: Path) -> None:
    """The other process is killed while this one waits for it."""
    group.wait()
    if group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    group.wait()


def run_two(function: Callable[[ProcessGroup, Path], None], folder: Path) -> list[tuple[int, str]]:
    """Call a function of this module in two processes; return each one's exit code and errors."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, function.__name__, str(folder)]
    processes = [
        Popen(command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=100)[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def test_the_main_process_prepares_for_all(tmp_path: Path) -> None:
    assert [code for code, _ in run_two(share, tmp_path)] == [0, 0]
    assert (tmp_path / "calls").read_text() == "called\n"


def test_an_error_of_the_main_process_ends_the_others(tmp_path: Path) -> None:
    (main, said), (other, heard) = run_two(fail, tmp_path)
    assert main == 1
    assert "IsADirectoryError" in said
    assert other == DeviceError.exit_code
    assert heard.endswith("another process of this run has ended; its own last line says why\n")


def test_a_killed_process_is_noticed_at_once(tmp_path: Path) -> None:
    (code, said), (killed, _) = run_two(die, tmp_path)
    assert killed == -signal.SIGKILL
    assert code == DeviceError.exit_code
    assert said.endswith("another process of this run has ended; its own last line says why\n")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:3210", True),
        ("[gloo/transport/tcp/pair.cc:534] Read error [127.0.0.1]:3210: Connection reset by peer", True),
        ("NCCL error in: NCCLUtils.cpp:77, remote process exited or there was a network error\nncclRemoteError: "
         "A call failed possibly due to a network error or a remote process exiting prematurely.", True),
        ("[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE)", True),
        ("NCCL error in: ProcessGroupNCCL.cpp:268, invalid usage, ncclInvalidUsage: Duplicate GPU detected", False),
        ("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", False),
    ],
)  # fmt: skip
def test_a_lost_peer_is_told_from_other_errors(message: str, expected: bool) -> None:
    assert is_peer_lost(RuntimeError(message)) is expected


def test_a_process_alone_is_its_own_main_one(tmp_path: Path) -> None:
    group = ProcessGroup(torch.device("cpu"))
    assert group.is_main
    assert group.run_on_main(prepare_once, tmp_path / "calls") == [1, 2, 3]
    assert group.total(2) == 2.0
    assert group.union({3: "here"}) == {3: "here"}


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        with init_distributed("cpu") as joined:
            {"share": share, "fail": fail, "die": die}[sys.argv[1]](joined, Path(sys.argv[2]))
    except DeviceError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
