"""A run over a hundred thousand rows needs no more memory, files or threads at the end than near the start."""

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from aurora.model.aurora import Aurora
from aurora.model.checkpoint import save
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.tasks import OFFICIAL
from training.bench.inputs import many_rows
from training.export import export

ROWS = 100_000
# A model so small that the time goes into rows, images and answers, which is what is on trial.
SMALL = ModelConfig(EncoderConfig(4, 32, 32, 1), pyramid_width=8, image_size=(64, 64))


class Moment(NamedTuple):
    """The resources of a process, and the seconds since it started."""

    seconds: float
    megabytes: float
    files: int
    threads: int


def watch(process: subprocess.Popen[str], began: float) -> Moment | None:
    """Return the resources of the process now, or None once it has ended."""
    place = Path(f"/proc/{process.pid}")
    try:
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        held = len(list((place / "fd").iterdir()))
        return Moment(time.monotonic() - began, int(status["VmRSS"].split()[0]) / 1024, held, int(status["Threads"]))
    except (OSError, KeyError):
        return None


@pytest.mark.large
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_files_and_threads_stay_flat(sample_cases: Path, tmp_path: Path) -> None:
    save(tmp_path / "w.safetensors", Aurora(SMALL, OFFICIAL), {})
    export(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    many_rows(sample_cases, tmp_path / "in", ROWS, missing_each=50)
    places = ("--input", tmp_path / "in", "--output", tmp_path / "out", "--weights", tmp_path / "w.onnx")
    command = [sys.executable, "-m", "inference", "run", *map(str, places)]
    moments = []
    began = time.monotonic()
    with (tmp_path / "log").open("w+") as log, subprocess.Popen(command, stdout=log, text=True) as process:
        while process.poll() is None:
            moments += [moment for moment in [watch(process, began)] if moment and moment.seconds > 2]
            time.sleep(0.25)
    log = (tmp_path / "log").read_text()
    assert process.returncode == 0, log
    assert f"predicted {ROWS} of {ROWS} rows" in log
    early, late = moments[len(moments) // 20 :][: len(moments) // 20], moments[-len(moments) // 20 : -1]
    print(f"\n{moments[-1].seconds:.0f} s in all")
    for name in ("megabytes", "files", "threads"):
        most = [max(getattr(moment, name) for moment in part) for part in (early, late)]
        print(f"{name}: {most[0]:.0f} at most near the beginning, {most[1]:.0f} near the end")
        # Some bytes for each row do stay: where it lies in its CSV file, and that its mask's name is taken.
        assert most[1] <= most[0] + (ROWS * 200 / 2**20 if name == "megabytes" else 0), name
