"""A run on a hostile input folder opens only its own files, starts no process and makes no connection.

Tested by watching a whole `python -m inference run`, once from inside Python and once below it. Directories that are
only looked up (stat, readlink) aren't opened and don't count.
"""

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from support import adversary
from support.watched import FORBIDDEN, READ, WRITE, Event, audited, strace, traced

import aurora
import inference
from aurora.kinds import prediction_files

#: What a run may read in addition to its input, its weights and its own code.
SYSTEM = (
    *(sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), sysconfig.get_path("platlib")),  # the interpreter
    *("/lib", "/lib64", "/usr", "/etc/ld.so.cache", "/etc/ssl/openssl.cnf"),  # shared libraries and their settings
    *(
        "/etc/localtime",
        "/etc/locale.alias",
        "/etc/os-release",
    ),  # the C library's settings; `platform`, which ONNX Runtime asks
    "/proc/mounts",  # where libffi looks whether SELinux forbids its callbacks
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys", "/proc/self/maps", "/sys"),  # the processors
    *("/proc/self/cgroup", "/proc/self/status", "/proc/self/mountinfo"),  # how much of them a container may use
    *("/dev/null", "/dev/urandom"),
)
WATCHES = [
    pytest.param(audited, id="audit hook"),
    pytest.param(traced, id="strace", marks=pytest.mark.skipif(not strace(), reason="strace is absent or refused")),
]
Watch = Callable[..., tuple[object, list[Event]]]


class Watched(NamedTuple):
    root: Path
    out: Path
    names: list[str]
    events: list[Event]
    ended: object


def run_flags(root: Path, out: Path, weights: Path) -> list[object]:
    return ["run", "--input", root, "--output", out, "--weights", weights, "--engine", "onnx", "--device", "cpu"]


@pytest.fixture(scope="module", params=WATCHES)
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, onnx_weights: Path) -> Watched:
    """Run once on the adversary's folder under each watch."""
    folder = tmp_path_factory.mktemp("hostile")
    root, names = adversary.make(folder)
    ended, events = request.param(folder / "log", *run_flags(root, folder / "out", onnx_weights))
    assert ended.returncode == 0, ended.stderr
    return Watched(root, folder / "out", names, events, ended)


def outside(events: list[Event], deed: str, *allowed: str | Path) -> list[Event]:
    """Return the events of this deed on files that are in none of the folders."""
    places = [Path(os.path.realpath(place)) for place in allowed]
    return [
        event
        for event in events
        if event.deed == deed and not any(Path(os.path.realpath(event.what)).is_relative_to(p) for p in places)
    ]


def own_code() -> list[Path]:
    return [Path(package.__file__ or "").parent for package in (aurora, inference)]


def stray_reads(watched: Watched, weights: Path) -> list[Event]:
    # The folder of the code is where Python looks for modules.
    listed = [event for event in watched.events if Path(event.what) != own_code()[0].parent]
    return outside(listed, READ, watched.root, watched.out, weights.parent, *own_code(), *SYSTEM)


def test_nothing_outside_the_input_and_the_weights_is_read(hostile: Watched, onnx_weights: Path) -> None:
    assert stray_reads(hostile, onnx_weights) == []
    lures = [hostile.root.parent / "outside", Path("/etc/passwd")]
    real = {Path(os.path.realpath(event.what)) for event in hostile.events}
    assert [place for place in real if any(place.is_relative_to(lure) for lure in lures)] == []


def test_nothing_outside_the_output_is_written(hostile: Watched) -> None:
    assert outside(hostile.events, WRITE, hostile.out, "/dev/null") == []
    assert not list(Path.cwd().glob("adversary*"))
    assert sorted(place.name for place in hostile.root.parent.iterdir() if place.name != "log") == [
        *("in", "out", "outside"),
    ]


def test_there_is_no_connection_no_process_and_no_pickle(hostile: Watched) -> None:
    assert [event for event in hostile.events if event.deed == FORBIDDEN] == []


def test_no_code_is_loaded_from_the_input(hostile: Watched) -> None:
    loaders = ("import", "compile", "ctypes.dlopen")
    loaded = [event for event in hostile.events if event.call in loaders and str(hostile.root) in event.what]
    assert loaded == []


def test_what_is_harmless_was_read_and_answered(hostile: Watched) -> None:
    read = {Path(event.what).name for event in hostile.events if event.deed == READ}
    assert {"a.csv", "good.png", "good.mha", "good.nii", "good.nii.gz", "good.dcm", "pickle.png", "svg.png"} <= read
    assert (hostile.out / "masks" / "good.png").is_file()
    answered = sum(len(json.loads((hostile.out / name).read_bytes())) for name in prediction_files().values())
    assert answered == len(hostile.names) + 12


DEEDS = {
    "reads": ("open('/etc/hostname')", READ),
    "reads a link": ("open({link!r})", READ),
    "lists": ("import os; os.listdir('/root' if os.access('/root', os.R_OK) else '/var')", READ),
    "writes": ("open({stray!r}, 'w')", WRITE),
    "renames": ("import os; open({inner!r}, 'w').close(); os.rename({inner!r}, {stray!r})", WRITE),
    "makes a folder": ("import os; os.mkdir({stray!r})", WRITE),
    "links": ("import os; os.symlink('/etc/passwd', {stray!r})", WRITE),
    "removes": ("import os; os.remove({lure!r})", WRITE),
    "chmods": ("import os; os.chmod({lure!r}, 0o600)", WRITE),
    "connects": ("import socket; socket.socket(socket.AF_UNIX).connect_ex('/nowhere')", FORBIDDEN),
    "starts": ("import subprocess; subprocess.run(['true'])", FORBIDDEN),
    "shells": ("import os; os.system('true')", FORBIDDEN),
    "forks": ("import os; os.fork() or os._exit(0)", FORBIDDEN),
    "unpickles": ("import pickle; pickle.loads(pickle.dumps(print))", FORBIDDEN),
    "compiles": ("eval('1 if True else adversary')", FORBIDDEN),
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an input folder without a CSV file, on which a run ends at once."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "in").mkdir()
    return folder


@pytest.mark.parametrize("name", DEEDS)
def test_the_audit_hook_sees_each_deed(name: str, empty: Path, onnx_weights: Path) -> None:
    (empty / "lure").touch()
    (empty / "out").mkdir(exist_ok=True)
    (empty / "in" / "link").unlink(missing_ok=True)
    (empty / "in" / "link").symlink_to(empty / "lure")
    places = {"stray": "stray", "lure": "lure", "link": "in/link", "inner": "out/inner"}
    code, deed = DEEDS[name]
    flags = run_flags(empty / "in", empty / "out", onnx_weights)
    _, events = audited(empty / "log", *flags, deed=code.format(**{k: str(empty / v) for k, v in places.items()}))
    watched = Watched(empty / "in", empty / "out", [], events, None)
    clear(empty)
    found = {
        READ: stray_reads(watched, onnx_weights),
        WRITE: outside(events, WRITE, watched.out, "/dev/null"),
        FORBIDDEN: [event for event in events if event.deed == FORBIDDEN],
    }
    assert found[deed], events


def clear(folder: Path) -> None:
    for name in ("stray", "log"):
        place = folder / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
