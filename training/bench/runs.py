"""Time runs of `inference`, each in its own process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

from aurora.errors import DeviceError
from aurora.runtime.hardware import peak_resident


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a measurement: `weights` in an `engine`, None for the one that a run chooses, on a `device`."""

    engine: str | None
    device: str
    weights: Path


@dataclass(frozen=True, slots=True)
class Run:
    """One run of `inference run`.

    Attributes:
        rows: rows with a prediction.
        seconds: wall-clock time of the process.
        processor_seconds: processor time of the process.
        peak_memory: of the process, in bytes.
        at_work: seconds from the first image read to the last prediction written.
        stages: seconds that each stage worked, summed over its threads.
    """

    rows: int
    seconds: float
    processor_seconds: float
    peak_memory: int
    at_work: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


class Usage(NamedTuple):
    """The resource usage of a process: wall-clock seconds, processor seconds and peak memory in bytes."""

    seconds: float
    processor_seconds: float
    peak_memory: int


def time_run(subject: Subject, data: Path, *, limit: int | None = None) -> Run:
    """Run inference on the rows of `data`, or the first `limit`; raise `DeviceError` if the run fails."""
    with TemporaryDirectory() as folder:
        out, report = Path(folder, "out"), Path(folder, "report.json")
        command = [*run_command(subject, data, out), "--report", str(report)]
        command += ["--limit", str(limit)] if limit else []
        _, usage = run_process(command)
        return measured_run(json.loads(report.read_text(encoding="utf-8")), usage)


def run_command(subject: Subject, data: Path, out: Path) -> list[str]:
    """Return the command of `inference run` from `data` to `out`."""
    command = [sys.executable, "-m", "inference", "run", "--input", str(data), "--output", str(out)]
    command += ["--weights", str(subject.weights), "--device", subject.device]
    return [*command, "--engine", subject.engine] if subject.engine else command


def measured_run(report: dict[str, Any], usage: Usage) -> Run:
    """Combine the report of a run, as written by `inference run --report FILE.json`, with the usage of its process.

    Raises `DeviceError` if rows have no prediction.
    """
    if report["predicted"] != report["rows"]:
        raise DeviceError(
            f"expected a prediction for each of {report['rows']} rows, found {report['predicted']}; "
            "use data whose images can all be read"
        )
    work = report["at_work"]
    return Run(report["rows"], *usage, at_work=work["seconds"], stages=work["stages"])


def time_model(subject: Subject, data: Path) -> dict[str, float]:
    """Time the model alone in a process, see `training.bench.model.model_alone`; raise `DeviceError` if it fails."""
    words = [str(data), subject.engine or "", subject.device, str(subject.weights)]
    text, _ = run_process([sys.executable, "-m", "training.bench.model", *words])
    rates: dict[str, float] = json.loads(text)
    return rates


def run_process(command: Sequence[str]) -> tuple[str, Usage]:
    """Run a command; return its output and its resource usage, with that of processes which it started and waited for.

    Raises `DeviceError` if it fails.
    """
    with TemporaryFile("w+", errors="replace") as out:
        start = time.perf_counter()
        # The peak memory of a forked process includes that of its parent, so this process must stay small.
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode:
        raise DeviceError(f"'{' '.join(command)}' ended with {process.returncode}:\n{text}")
    return text, Usage(seconds, used.ru_utime + used.ru_stime, peak_resident(used))
