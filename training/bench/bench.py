"""What `training bench` does: everything side by side, interleaved, the medians in one table."""

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from aurora import __version__
from aurora.runtime.hardware import processors
from training.bench.inputs import many_rows
from training.bench.runs import Run, Subject, answer, model_alone

#: Phantoms of each of the 27 tasks.
PHANTOMS = 8
LIBRARIES = ("torch", "onnxruntime", "numpy", "opencv-python-headless")


@dataclass(slots=True)
class Measured:
    """All that was measured of one subject: the model alone, the first answer alone, and runs by number of rows."""

    model: list[dict[str, float]] = field(default_factory=list)
    first: list[Run] = field(default_factory=list)
    runs: dict[int, list[Run]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """`machine` names the versions and the hardware, `data` the input; `measured` is by engine."""

    machine: str
    data: str
    repeats: int
    measured: dict[str, Measured]


def bench(
    subjects: Sequence[Subject],
    data: Path | None,
    sizes: Sequence[int],
    repeats: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Bench:
    """Measure every subject `repeats` times, in turns, so that whatever slows the machine slows all of them.

    Args:
        subjects: what is measured, each with another engine.
        data: an input folder all of whose images can be read; phantoms unless given.
        sizes: numbers of rows; the images of `data` are repeated under other names. None: `data` as it is.
        repeats: how often.
        tell: is given a line now and then.

    Raises:
        DeviceError: a run failed.
    """
    measured = {subject.engine: Measured() for subject in subjects}
    with TemporaryDirectory() as place:
        name = data.name if data else f"phantoms, {27 * PHANTOMS} images"
        roots = _inputs(Path(place), data, sizes)
        for number in range(1, repeats + 1):
            for subject in subjects:
                found = measured[subject.engine]
                found.model.append(model_alone(subject, roots[0]))
                found.first.append(answer(subject, roots[0], limit=1))
                for root in roots:
                    run = answer(subject, root)
                    found.runs.setdefault(run.rows, []).append(run)
                    tell(f"{number} of {repeats}: {subject.engine}, {run.rows} rows in {run.seconds:.1f} s")
    return Bench(machine(), name, repeats, measured)


def _inputs(place: Path, data: Path | None, sizes: Sequence[int]) -> list[Path]:
    if data is None:
        data = place / "phantoms"
        words = ["--out", str(data), "--cases", str(PHANTOMS), "--seed", "0", "--split", "test"]
        # In a process of its own: see `training.bench.runs`.
        subprocess.run([sys.executable, "-m", "training", "phantom", *words], check=True, stdout=subprocess.DEVNULL)
    roots = [place / str(size) for size in sizes]
    for size, root in zip(sizes, roots, strict=True):
        many_rows(data, root, size)
    return roots or [data]


def machine() -> str:
    """The versions and the hardware that figures depend on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"AURORA {__version__}, Python {platform.python_version()}, {libraries}; "
        f"{processors()} processors, {_processor()}, {platform.system()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def as_json(found: Bench) -> dict[str, Any]:
    """Every single measurement, JSON-ready."""
    return asdict(found)


def as_text(found: Bench) -> str:
    """A Markdown table of medians, with the smallest and the largest value behind."""
    head = ["", *found.measured]
    columns = [list(_column(measured)) for measured in found.measured.values()]
    rows = [[name, *(column[index][1] for column in columns)] for index, (name, _) in enumerate(columns[0])]
    table = [head, ["---", *["---:"] * len(columns)], *rows]
    lines = [found.machine, f"{found.data}; medians of {found.repeats} and, in brackets, smallest to largest", ""]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in table)])


def _column(found: Measured) -> Iterator[tuple[str, str]]:
    alone = [one["rows_per_second"] for one in found.model]
    yield "model alone, images/s", _spread([one["images_per_second"] for one in found.model])
    yield "model alone, rows/s", _spread(alone)
    yield "time to the first answer, whole process, s", _spread([run.seconds for run in found.first], 2)
    for size, runs in found.runs.items():
        inside = [run.rows / run.at_work for run in runs]
        yield f"{size:,} rows: rows/s, whole process", _spread([run.rows / run.seconds for run in runs])
        yield f"{size:,} rows: rows/s, from the first image to the last answer", _spread(inside)
        yield f"{size:,} rows: that, of the model alone", f"{median(inside) / median(alone):.0%}"
        yield f"{size:,} rows: peak memory, MB", _spread([run.peak_memory / 1e6 for run in runs])
        yield f"{size:,} rows: processors busy", _spread([run.processor_seconds / run.seconds for run in runs], 2)
        for stage in runs[0].stages:
            share = median(run.stages[stage] / run.at_work for run in runs)
            yield f"{size:,} rows: {stage} at work", f"{share:.0%}"


def _spread(values: list[float], digits: int = 0) -> str:
    return f"{median(values):,.{digits}f} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"
