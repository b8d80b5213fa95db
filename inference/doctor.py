"""Report hardware, libraries and weights, and any problem that would make a run fail."""

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
from aurora.runtime.text import text_table
from inference.output.folder import OutputFolder


@dataclass(frozen=True, slots=True)
class Finding:
    """One examined item; `exit_code` is that of a run that fails because of it, 0 if no run would."""

    name: str
    found: str
    exit_code: int = 0


def examine(weights: Path | None, output: Path | None) -> list[Finding]:
    """Examine everything that a run depends on, except its input; leave nothing behind."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("aurora", lambda: f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        ("processors", lambda: f"{processors()} of {os.cpu_count()}"),
        ("memory", _memory),
        ("shared memory", lambda: _room(Path("/dev/shm"))),
        ("temporary files", _temporary),
        ("libraries", lambda: ", ".join(f"{name} {version}" for name, version in library_versions().items())),
        ("GPU by PyTorch", _torch_gpu),
        ("providers of ONNX Runtime", _providers),
        ("weights and engine", lambda: _engine(weights)),
    ]
    if output:
        checks.append(("output folder", lambda: _output(output)))
    return [_finding(name, check) for name, check in checks]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, check())
    except AuroraError as error:
        return Finding(name, str(error), error.exit_code)
    except Exception as error:  # one broken item must not hide the others
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
        return "no folder for them, which a run doesn't need"


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
    """Load the weights as a run would, which verifies their checksum."""
    engine = open_engine(weights, None, "auto")
    height, width = engine.spec.config.image_size
    tasks = len(engine.spec.tasks)
    return f"{engine.path}, SHA-256 {engine.checksum}, {tasks} tasks, {width}x{height} pixels, {engine.name}"


def _output(folder: Path) -> str:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        OutputFolder(folder)
        return f"can be written, {_room(folder)}"
    finally:
        for path in missing:
            with suppress(OSError):  # it wasn't created, or another process has put something there
                path.rmdir()


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"


def as_json(findings: list[Finding]) -> str:
    """Format the findings as a JSON list."""
    return json.dumps([asdict(finding) for finding in findings])


def as_text(findings: list[Finding]) -> str:
    """Format a line for each finding, with the exit code if a run would fail because of it."""
    rows = [
        (f"!{finding.exit_code}" if finding.exit_code else "ok", finding.name, finding.found) for finding in findings
    ]
    return "\n".join(text_table(rows))
