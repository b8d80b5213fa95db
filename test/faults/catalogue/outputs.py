"""Output folders that can't be written or aren't empty."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.catalogue.bench import Bench, Ended, fault, needs
from faults.catalogue.stopping import stopped

SECTION = "The output folder"


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Mount a small file system in memory, or skip the fault if that isn't allowed."""
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "aurora", str(place)]
    works = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    needs(works, "no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@fault(SECTION, "an output folder mounted read-only")
def read_only(bench: Bench) -> Ended:
    with mounted(bench.out, "ro"):
        return bench.run()


@fault(SECTION, "an immutable output folder")
def immutable(bench: Bench) -> Ended:
    bench.out.mkdir()
    works = os.geteuid() == 0 and subprocess.run(["chattr", "+i", str(bench.out)], capture_output=True).returncode == 0
    needs(works, "no folder can be made immutable here")
    try:
        return bench.run()
    finally:
        subprocess.run(["chattr", "-i", str(bench.out)], check=True)


@fault(SECTION, "an output folder below a file")
def below_a_file(bench: Bench) -> Ended:
    (bench.folder / "file").touch()
    return bench.run(output=bench.folder / "file" / "out")


@fault(SECTION, "an output folder where none can be created")
def in_proc(bench: Bench) -> Ended:
    return bench.run(output=Path("/proc/aurora"))


@fault(SECTION, "another user's output folder")
def somebody_elses(bench: Bench) -> Ended:
    bench.out.mkdir()
    return bench.as_nobody()


@fault(SECTION, "a folder with the name of a prediction file")
def folder_for_a_file(bench: Bench) -> Ended:
    (bench.out / "detection_predictions.json").mkdir(parents=True)
    return bench.run()


@fault(SECTION, "a disk that fills up during the run")
def full(bench: Bench) -> Ended:
    with mounted(bench.out, "size=12k"):
        ended = bench.run()
        assert not list(bench.out.glob("*.json")), ended
        subprocess.run(["mount", "-o", "remount,size=1m", str(bench.out)], check=True)
        again = bench.run("--resume")
        assert again.code == 0, again
        assert bench.predictions() == 4
    return ended


@fault(SECTION, "a report below a file")
def report_below_a_file(bench: Bench) -> Ended:
    (bench.folder / "file").touch()
    return bench.run("--report", str(bench.folder / "file" / "report.html"))


@fault(SECTION, "a report with another ending")
def report_of_another_kind(bench: Bench) -> Ended:
    return bench.run("--report", str(bench.folder / "report.pdf"))


@fault(SECTION, "a disk that is too full for the report")
def full_for_the_report(bench: Bench) -> Ended:
    place = bench.folder / "file"
    with mounted(place, "size=4k"):
        ended = bench.run("--report", str(place / "report.html"))
    assert bench.predictions() == 4
    return ended


@fault(SECTION, "another run into the same folder at the same time")
def another_run(bench: Bench) -> Ended:
    bench.out.mkdir()
    with (bench.out / ".aurora-run.part").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return bench.run()


@fault(SECTION, "an interrupted run with other flags")
def other_flags(bench: Bench) -> Ended:
    stopped(bench, signal.SIGKILL)
    return bench.run("--resume", "--batch-size", 2)


@fault(SECTION, "old predictions of another set")
def old_answers(bench: Bench) -> Ended:
    bench.out.mkdir()
    (bench.out / "detection_predictions.json").write_text('[{"image_path": "old"}]')
    return bench.run()
