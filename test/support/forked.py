"""Training's command line in processes that start at once: forks of one that has imported PyTorch already."""

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ROOT / "training" / "__main__.py"

_context = multiprocessing.get_context("forkserver")
#: What a run imports; the first three are imported only where they are needed, so that nothing else imports them.
PRELOADED = ["matplotlib.backends.backend_agg", "torch._dynamo", "torch.utils.tensorboard"]
PRELOADED += ["training.ablation.leave_one_out", "training.cli", "training.fit.loop"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


class Forked:
    """A script with its arguments in `count` processes, which find each other as those of torchrun do.

    It is used like a `subprocess.Popen`. What the processes print goes to `log` with the suffixes .out and .err.
    """

    def __init__(self, log: Path, script: Path, *words: str, count: int = 1, **environment: str) -> None:
        self.files = [log.with_suffix(suffix) for suffix in (".out", ".err")]
        for file in self.files:
            file.write_bytes(b"")
        environment |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        self.processes = []
        for rank in map(str, range(count)):
            variables = environment | {"RANK": rank, "LOCAL_RANK": rank}
            self.processes.append(_context.Process(target=_run, args=([str(script), *words], variables, *self.files)))
            self.processes[-1].start()

    @property
    def returncode(self) -> int | None:
        """The first exit code other than 0, the number of a signal below 0; None while a process runs."""
        codes = [process.exitcode for process in self.processes]
        return None if None in codes else next(filter(None, codes), 0)

    def poll(self) -> int | None:
        """Return the exit code, None while a process runs."""
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process, if it still runs."""
        with suppress(ProcessLookupError):
            os.kill(self.processes[0].pid or 0, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end, at most `timeout` seconds for each process; return what went to stdout and stderr."""
        for process in self.processes:
            process.join(timeout)
        if self.returncode is None:
            for process in self.processes:
                process.kill()
            raise subprocess.TimeoutExpired(self.processes[0].name, timeout)
        out, err = (file.read_text(encoding="utf-8") for file in self.files)
        return out, err


def run(log: Path, script: Path, *words: str, count: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end; see `Forked`."""
    forked = Forked(log, script, *words, count=count, **environment)
    out, err = forked.communicate(timeout=120)
    return subprocess.CompletedProcess([str(script), *words], forked.returncode or 0, out, err)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _run(words: list[str], environment: dict[str, str], out: Path, err: Path) -> None:
    """Be the process: what `python SCRIPT WORDS...` does, from after its imports on."""
    os.environ.update(environment)
    for stream, path in ((1, out), (2, err)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), stream)
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
