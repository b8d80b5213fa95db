"""A command line stops gracefully at the first signal and at once at the second, and its streams never fail it."""

import io
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import click
import pytest

from aurora.runtime.cli import TolerantStream, graceful_shutdown, run_command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks_and_the_second_acts_as_before(number: signal.Signals) -> None:
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {other: signal.signal(other, note) for other in (signal.SIGINT, signal.SIGTERM)}
    try:
        with graceful_shutdown() as shutdown:
            assert not shutdown.requested
            signal.raise_signal(number)
            assert (shutdown.requested, received) == (True, [])
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            assert received == [signal.SIGINT, signal.SIGTERM]
        with graceful_shutdown():
            pass
        signal.raise_signal(number)
        assert received[2:] == [number]
    finally:
        for other, handler in before.items():
            signal.signal(other, handler)


def test_a_second_signal_ends_a_process_that_does_not_look() -> None:
    code = (
        "import signal, time\nfrom aurora.runtime.cli import graceful_shutdown\n"
        "with graceful_shutdown():\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('once', flush=True)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('twice')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "once\n", "")


def test_a_limit_of_threads_is_no_defect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def start() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        run_command(start)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 6
    assert line.startswith("error: can't start new thread; let this process have more threads (ulimit -u")


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_stream_that_cannot_be_written_is_ignored() -> None:
    for stream in (TolerantStream(FullDisk()), TolerantStream(None)):
        assert stream.write("text") == 4
        stream.flush()


def test_characters_that_cannot_be_encoded_are_escaped() -> None:
    raw = io.BytesIO()
    stream = TolerantStream(io.TextIOWrapper(raw, encoding="ascii", newline=""))
    stream.write("é\n")
    stream.flush()
    assert raw.getvalue() == b"\\xe9\n"
