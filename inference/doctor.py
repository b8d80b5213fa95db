"""Whether this machine can run: what is there, how much of it, and what is amiss."""

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from aurora import __version__
from aurora.engine.select import open_engine
from aurora.errors import AuroraError
from aurora.runtime.hardware import library_versions, memory, processors
from inference.output.folder import OutputFolder


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `exit_code` is what a run would end with because of it, 0 if it wouldn't."""

    name: str
    found: str
    exit_code: int = 0


def examine(weights: Path | None, output: Path | None) -> list[Finding]:
    """Look at everything that a run depends on but its input; nothing is left behind."""
    looks: list[tuple[str, Callable[[], str]]] = [
        ("aurora", lambda: f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        ("processors", lambda: f"{processors()} of {os.cpu_count()}"),
        ("memory", _memory),
        ("shared memory", lambda: _room(Path("/dev/shm"))),
        ("temporary files", _temporary),
        ("libraries", lambda: ", ".join(f"{name} {found}" for name, found in library_versions().items())),
        ("GPU by PyTorch", _torch_gpu),
        ("providers of ONNX Runtime", _providers),
        ("weights and engine", lambda: _engine(weights)),
    ]
    if output:
        looks.append(("output folder", lambda: _output(output)))
    return [_finding(name, look) for name, look in looks]


def _finding(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, look())
    except AuroraError as error:
        return Finding(name, str(error), error.exit_code)
    except Exception as error:  # whatever is broken here, the rest is still worth a look
        return Finding(name, f"{type(error).__name__}: {error}", AuroraError.exit_code)


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = memory()
    return _size(total) if limit is None or limit >= total else f"{_size(limit)} of {_size(total)}"


def _room(folder: Path) -> str:
    return f"{_size(shutil.disk_usage(folder).free)} free in {folder}" if folder.is_dir() else f"no {folder}"


def _temporary() -> str:
    try:
        return _room(Path(tempfile.gettempdir()))
    except FileNotFoundError:
        return "no folder for them; a run needs none"


def _torch_gpu() -> str:
    if find_spec("torch") is None:
        return "no PyTorch"
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(names) or "none"


def _providers() -> str:
    if find_spec("onnxruntime") is None:
        return "no ONNX Runtime"
    import onnxruntime

    return ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())


def _engine(weights: Path | None) -> str:
    """Load the weights with the engine that a run would take, which verifies their checksum."""
    engine = open_engine(weights, None, "auto")
    height, width = engine.spec.config.image_size
    tasks = len(engine.spec.tasks)
    return f"{engine.path}, SHA-256 {engine.checksum}, {tasks} tasks, {width}x{height} pixels, {engine.name}"


def _output(folder: Path) -> str:
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        OutputFolder(folder)
        return f"can be written, {_room(folder)}"
    finally:
        for place in made:
            with suppress(OSError):  # it wasn't made, or another process has put something there
                place.rmdir()


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"


def as_json(findings: list[Finding]) -> str:
    """The findings as a JSON list."""
    return json.dumps([asdict(finding) for finding in findings])


def as_text(findings: list[Finding]) -> str:
    """A line for each finding; those that would end a run come with their exit code."""
    width = max(len(finding.name) for finding in findings)
    return "\n".join(
        f"{'ok' if not found.exit_code else f'!{found.exit_code}':<4}{found.name:<{width}}  {found.found}"
        for found in findings
    )
