"""Time runs of `inference`, each in its own process."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

from aurora.errors import DeviceError
from aurora.runtime.hardware import peak_resident


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a measurement: `weights` in an `engine` on a `device`."""

    engine: str
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
        words = ["run", "--input", str(data), "--output", str(out), "--report", str(report)]
        words += ["--weights", str(subject.weights), "--engine", subject.engine, "--device", subject.device]
        words += ["--limit", str(limit)] if limit else []
        _, usage = _run_process("inference", words)
        return measured_run(json.loads(report.read_text(encoding="utf-8")), usage)


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
    text, _ = _run_process("training.bench.model", [str(data), subject.engine, subject.device, str(subject.weights)])
    rates: dict[str, float] = json.loads(text)
    return rates


def _run_process(module: str, words: list[str]) -> tuple[str, Usage]:
    """Run `python -m module words`; return its output and resource usage. Raises `DeviceError` if it fails."""
    with TemporaryFile("w+") as out:
        start = time.perf_counter()
        # The peak memory of a forked process includes that of its parent, so this process must stay small.
        process = subprocess.Popen([sys.executable, "-m", module, *words], stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode:
        raise DeviceError(f"'python -m {module} {' '.join(words)}' ended with {process.returncode}:\n{text}")
    return text, Usage(seconds, used.ru_utime + used.ru_stime, peak_resident(used))
