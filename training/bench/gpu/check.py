"""Run every part of the check of a GPU, each with a time limit, and write what they found as JSON and as a table."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from aurora.errors import DeviceError, OutputError
from aurora.runtime.files import replacing
from aurora.runtime.text import dump_json, markdown_table
from training.bench.bench import machine

# A worker of torchrun puts its rank in front of each line.
_ERROR = re.compile(r"(?:\[rank\d+\]: ?)?((?:[\w.]*Error|error): \S.*)")
#: Seconds that a part which is stopped has to end by itself.
GRACE_SECONDS = 3.0


class Part(NamedTuple):
    """The longest time that a part may take in seconds, and whether torchrun starts it."""

    limit_s: float = 60
    torchrun: bool = False


#: The part without which the others are useless, because the device can't be used.
FIRST = "versions"
#: The parts in the order in which they run, what answers most first; `training.bench.gpu.parts` has their functions.
PARTS = {
    FIRST: Part(),
    "phantoms": Part(),
    "agreement-float32": Part(),
    "agreement-bfloat16": Part(),
    "agreement-onnx": Part(),
    "streams": Part(),
    "fit": Part(120),
    "distributed": Part(torchrun=True),
    "encoder-tiny": Part(),
    "encoder-2b": Part(),
    "encoder-8b": Part(),
    "run-torch": Part(90),
    "run-onnx": Part(90),
    "agreement-tensorrt": Part(150),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a part found; `reason` says in a line why it failed or was skipped."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    reason: str = ""
    seconds: float = 0.0
    limit_s: float = 0.0
    figures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Check:
    """The machine, the device, the time taken and allowed in seconds, and the result of every part."""

    machine: str
    device: str
    seconds: float
    limit_s: float
    parts: list[Result]


def gpu_check(
    device: str, limit_s: float, report_progress: Callable[[str], None], parts: Mapping[str, Part] = PARTS
) -> Check:
    """Run the parts in order, each in a process of its own that is stopped at its limit or the check's.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        limit_s: the longest time for all parts together in seconds.
        report_progress: called with one line after each part.
        parts: the parts by name.
    """
    start = time.monotonic()
    results: list[Result] = []
    with TemporaryDirectory() as folder:
        for name, part in parts.items():
            left = limit_s - (time.monotonic() - start) - GRACE_SECONDS
            broken = next((r for r in results if r.name == FIRST and r.status == "failed"), None)
            if broken or left <= 0:
                results.append(Result(name, "skipped", f"{FIRST} failed" if broken else "no time was left"))
            else:
                results.append(_run_part(name, device, Path(folder), min(part.limit_s, left), part.torchrun))
            report_progress(f"{name}: {results[-1].status} in {results[-1].seconds:.1f} s {results[-1].reason}".strip())
    return Check(machine(), device, time.monotonic() - start, limit_s, results)


def _run_part(name: str, device: str, folder: Path, limit_s: float, torchrun: bool) -> Result:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"] if torchrun else []
    command = [sys.executable, *launcher, "-m", "training.bench.gpu.parts", name, device, str(folder)]
    log, start = folder / f"{name}.log", time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _stop(process)
    seconds = time.monotonic() - start
    if code is None:
        return Result(name, "failed", f"it took longer than {limit_s:.0f} s", seconds, limit_s)
    found = folder / f"{name}.json"
    if code or not found.is_file():
        return Result(name, "failed", _last_error(log) or f"it ended with {code}", seconds, limit_s)
    record = json.loads(found.read_text(encoding="utf-8"))
    return Result(name, seconds=seconds, limit_s=limit_s, **record)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process that still runs, and all that it started: torchrun's workers are in sessions of their own."""
    if process.poll() is not None:
        return
    family = [process.pid, *_descendants(process.pid)]
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):  # it has ended, or the system has no such file
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            yield child
            yield from _descendants(child)


def _last_error(log: Path) -> str:
    """Return the last line that states an error, or else the last line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [found[1] for line in lines if (found := _ERROR.match(line))]
    return (errors or lines or [""])[-1]


def write(check: Check, out: Path) -> str:
    """Write the check to `out` as JSON, and beside it (`.md`) as a table; return the table.

    Raises `OutputError` if a file can't be written.
    """
    table = as_text(check)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for path, text in ((out, dump_json(asdict(check), indent=1)), (out.with_suffix(".md"), table)):
            with replacing(path) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"can't write {out}: {error.strerror}; name another file with --out") from error
    return table


def as_text(check: Check) -> str:
    """Format a Markdown table with a line per figure."""
    rows = []
    for part in check.parts:
        status = f"{part.status}, {part.seconds:.0f} s"
        if part.reason:
            rows.append((part.name, status, part.reason, "", ""))
        rows += [(part.name, status, f["name"], _number(f["value"]), f["unit"]) for f in part.figures]
    counts = ", ".join(
        f"{sum(part.status == status for part in check.parts)} {status}" for status in ("ok", "failed", "skipped")
    )
    lines = [
        check.machine,
        f"device {check.device}: {counts}, {check.seconds:.0f} s of at most {check.limit_s:.0f} s",
        "",
    ]
    return "\n".join([*lines, *markdown_table(["part", "status", "figure", "value", "unit"], rows)])


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def require_success(check: Check) -> None:
    """Raise `DeviceError` if a part has failed."""
    failed = [part.name for part in check.parts if part.status == "failed"]
    if failed:
        raise DeviceError(f"expected every part to work, found {len(failed)} that failed: {', '.join(failed)}")
