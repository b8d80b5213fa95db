"""What C libraries print is caught in the thread in which they print it, and nothing else is."""

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.files import encoded

from aurora.images import read_image
from aurora.runtime.c_stderr import caught_stderr

LIBRARY = ctypes.CDLL(None)


def complain(text: str) -> None:
    ctypes.set_errno(0)
    LIBRARY.fputs(f"{text}\n".encode(), ctypes.c_void_p.in_dll(LIBRARY, "stderr"))


def test_each_thread_has_its_own_lines(capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> list[str]:
        with caught_stderr() as lines:
            for _ in range(50):
                complain(f"number {number}")
        return lines

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40))) == [[f"number {number}"] for number in range(40)]
    assert capfd.readouterr().err == ""


def test_what_is_printed_outside_a_block_or_by_python_passes(capfd: pytest.CaptureFixture[str]) -> None:
    with caught_stderr() as lines:
        os.write(2, b"python's own\n")
    complain("outside")
    assert lines == []
    assert capfd.readouterr().err == "python's own\noutside\n"


CRASH = """
import ctypes, os, sys
sys.path.insert(0, ".")
from aurora.runtime.c_stderr import caught_stderr
library = ctypes.CDLL(None)
with caught_stderr():
    library.__assert_fail(b"size > 0", b"decoder.c", 7, b"decode")
"""


def test_the_last_words_of_a_crash_are_printed() -> None:
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, cwd=root)
    assert ended.returncode < 0
    assert "Assertion `size > 0' failed" in ended.stderr


def test_damage_inside_a_jpeg_is_a_warning_and_stderr_stays_empty(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded("JPEG")
    (tmp_path / "i.jpg").write_bytes(data[:-25] + data[-2:])
    warnings = read_image(tmp_path / "i.jpg", tmp_path).warnings
    assert any(warning.startswith("damaged in part, its decoder reported: Corrupt JPEG") for warning in warnings)
    assert capfd.readouterr().err == ""
