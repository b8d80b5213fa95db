"""Whole runs of `inference`, each a process of its own, timed and weighed from outside."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from aurora.errors import DeviceError
from aurora.runtime.hardware import peak_resident

_AT_WORK = re.compile(r"^at work for ([\d.]+) s: (.*);", re.MULTILINE)
_STAGE = re.compile(r"(\w+) ([\d.]+) s")
_ANSWERED = re.compile(r"^predicted (\d+) of (\d+) rows", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: `weights` in an `engine` on a `device`."""

    engine: str
    device: str
    weights: Path


@dataclass(frozen=True, slots=True)
class Run:
    """One process: rows answered, its wall-clock and processor seconds, and its peak memory in bytes.

    `at_work` are the seconds from the first image being read to the last answer being written, and `stages` how long
    each stage worked of that, its threads added up.
    """

    rows: int
    seconds: float
    processor_seconds: float
    peak_memory: int
    at_work: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


def answer(subject: Subject, data: Path, *, limit: int | None = None) -> Run:
    """Answer the rows of `data`, or the first `limit`; raises `DeviceError` if the run fails."""
    with TemporaryDirectory() as out:
        words = ["run", "--input", str(data), "--output", out, "--weights", str(subject.weights)]
        words += ["--engine", subject.engine, "--device", subject.device, *(["--limit", str(limit)] if limit else [])]
        text, run = _process("inference", words)
    answered, worked = _ANSWERED.search(text), _AT_WORK.search(text)
    if answered is None or worked is None or answered[1] != answered[2]:
        raise DeviceError(f"expected a run that answers every row, found one that said:\n{text}")
    stages = {name: float(seconds) for name, seconds in _STAGE.findall(worked[2])}
    return Run(int(answered[1]), *run, float(worked[1]), stages)


def model_alone(subject: Subject, data: Path) -> dict[str, float]:
    """See `training.bench.model.model_alone`; raises `DeviceError` if that fails."""
    words = [str(data), subject.engine, subject.device, str(subject.weights)]
    text, _ = _process("training.bench.model", words)
    found: dict[str, Any] = json.loads(text)
    return found


def _process(module: str, words: list[str]) -> tuple[str, tuple[float, float, int]]:
    """What a process wrote; and its seconds, its processor seconds and its peak memory in bytes."""
    with TemporaryFile("w+") as out:
        begun = time.perf_counter()
        # Python's own way to start a process counts this one's memory as the other's; so this one stays small.
        process = subprocess.Popen([sys.executable, "-m", module, *words], stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode:
        raise DeviceError(f"'python -m {module} {' '.join(words)}' ended with {process.returncode}:\n{text}")
    return text, (seconds, used.ru_utime + used.ru_stime, peak_resident(used))
