"""Compare engines: interleaved runs of each, and their medians in one table."""

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from aurora import __version__
from aurora.runtime.hardware import library_versions, processors
from aurora.runtime.text import markdown_table
from aurora.tasks import OFFICIAL
from training.bench.inputs import many_rows
from training.bench.runs import Run, Subject, time_model, time_run

#: Phantoms of each task.
PHANTOMS = 8
#: Labels of the stages whose name in the report of a run would be unclear in the table.
STAGE_LABELS = {"predictions": "decoding"}
_LIBRARIES = ("torch", "onnxruntime", "numpy", "opencv-python-headless")


@dataclass(slots=True)
class Measurement:
    """The measurements of one subject.

    Attributes:
        model: rates of the model alone.
        first: runs of one row.
        runs: complete runs by their number of rows.
    """

    model: list[dict[str, float]] = field(default_factory=list)
    first: list[Run] = field(default_factory=list)
    runs: dict[int, list[Run]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """A benchmark: the versions and the hardware, the input data, and the measurements by engine."""

    machine: str
    data: str
    repeats: int
    measured: dict[str, Measurement]


def bench(
    subjects: Sequence[Subject],
    data: Path | None,
    sizes: Sequence[int],
    repeats: int,
    report_progress: Callable[[str], None] = lambda line: None,
) -> Bench:
    """Measure every subject `repeats` times, alternating, so that other load on the machine affects all of them alike.

    Args:
        subjects: one per engine.
        data: an input folder whose images can all be read; phantoms if None.
        sizes: numbers of rows; images of `data` are repeated under other names. Empty: `data` as it is.
        repeats: number of measurements.
        report_progress: called with one line after each run.

    Raises:
        DeviceError: a run failed.
    """
    measured = {str(subject.engine): Measurement() for subject in subjects}
    with TemporaryDirectory() as folder:
        name = data.name if data else f"phantoms, {PHANTOMS * len(OFFICIAL)} images"
        roots = input_roots(Path(folder), data, sizes)
        for number in range(1, repeats + 1):
            for subject in subjects:
                measurement = measured[str(subject.engine)]
                measurement.model.append(time_model(subject, roots[0]))
                measurement.first.append(time_run(subject, roots[0], limit=1))
                for root in roots:
                    run = time_run(subject, root)
                    measurement.runs.setdefault(run.rows, []).append(run)
                    report_progress(f"{number} of {repeats}: {subject.engine}, {run.rows} rows in {run.seconds:.1f} s")
    return Bench(machine(), name, repeats, measured)


def input_roots(folder: Path, data: Path | None, sizes: Sequence[int]) -> list[Path]:
    """Return an input folder for each of `sizes`, made in `folder`, or `data` itself if there are none.

    Without `data` they hold phantoms.
    """
    if data is None:
        data = folder / "phantoms"
        words = ["--out", str(data), "--cases", str(PHANTOMS), "--seed", "0", "--split", "test"]
        # In another process, because this one must stay small: see `training.bench.runs`.
        subprocess.run([sys.executable, "-m", "training", "phantom", *words], check=True, stdout=subprocess.DEVNULL)
    roots = [folder / str(size) for size in sizes]
    for size, root in zip(sizes, roots, strict=True):
        many_rows(data, root, size)
    return roots or [data]


def machine() -> str:
    """Describe the versions and the hardware."""
    versions = library_versions()
    libraries = ", ".join(f"{name} {versions[name]}" for name in _LIBRARIES)
    return (
        f"AURORA {__version__}{_commit()}, Python {platform.python_version()}, {libraries}; "
        f"{processors()} processors, {_processor()}, {platform.system()}"
    )


def _commit() -> str:
    """Return the commit of the code in words, empty if it isn't in a git repository."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", "-C", folder, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    except OSError:
        return ""
    return f" at {done.stdout.strip()}" if done.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def as_json(result: Bench) -> dict[str, Any]:
    """Return every measurement, ready for JSON."""
    return asdict(result)


def as_text(result: Bench) -> str:
    """Format a Markdown table of medians, with the smallest and the largest value in brackets."""
    columns = [list(_column(measurement)) for measurement in result.measured.values()]
    rows = [[name, *(column[index][1] for column in columns)] for index, (name, _) in enumerate(columns[0])]
    lines = [result.machine, f"{result.data}; medians of {result.repeats} and, in brackets, smallest to largest", ""]
    return "\n".join([*lines, *markdown_table(["", *result.measured], rows, text_columns=1)])


def _column(measurement: Measurement) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each row of the table."""
    alone = [rates["rows_per_second"] for rates in measurement.model]
    yield "model-only, images/s", spread([rates["images_per_second"] for rates in measurement.model])
    yield "model-only, rows/s", spread(alone)
    yield "time to the first prediction, whole process, s", spread([run.seconds for run in measurement.first], 2)
    for size, runs in measurement.runs.items():
        inside = [run.rows / run.at_work for run in runs]
        yield f"{size:,} rows: rows/s, whole process", spread([run.rows / run.seconds for run in runs])
        yield f"{size:,} rows: rows/s, from the first image to the last prediction", spread(inside)
        yield f"{size:,} rows: share of the model-only rate", f"{median(inside) / median(alone):.0%}"
        yield f"{size:,} rows: peak memory, MB", spread([run.peak_memory / 1e6 for run in runs])
        yield f"{size:,} rows: processors used", spread([run.processor_seconds / run.seconds for run in runs], 2)
        for stage in runs[0].stages:
            share = median(run.stages[stage] / run.at_work for run in runs)
            yield f"{size:,} rows: {STAGE_LABELS.get(stage, stage)}, share of the run", f"{share:.0%}"


def spread(values: list[float], digits: int = 0) -> str:
    """Format the median, the smallest and the largest value."""
    return f"{median(values):,.{digits}f} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"
