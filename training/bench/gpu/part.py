"""What the parts of the check share: what they measure with, and what they report."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aurora.errors import DeviceError


class Figure(NamedTuple):
    """One result: a number with its unit, or a text without one."""

    name: str
    value: float | str
    unit: str = ""


class Skipped(Exception):
    """The part can't be measured here; the message says why."""


class Disagreement(Exception):
    """What was compared differs more than it may; the message says what, and the `figures` say by how much."""

    def __init__(self, reason: str, figures: Sequence[Figure]) -> None:
        super().__init__(reason)
        self.figures = figures


@dataclass(frozen=True, slots=True)
class Setup:
    """The device to check, and the folder that the parts share."""

    device: str
    folder: Path

    @property
    def small(self) -> bool:
        """Whether this is a rehearsal."""
        return self.device == "cpu"

    @property
    def phantoms(self) -> Path:
        """The input root that the part `phantoms` makes."""
        return self.folder / "phantoms"


def require_provider(provider: str) -> None:
    """Raise `Skipped` unless ONNX Runtime has the provider, such as `CUDA`."""
    try:
        import onnxruntime
    except ImportError:
        raise Skipped("onnxruntime isn't installed") from None
    if f"{provider}ExecutionProvider" not in onnxruntime.get_available_providers():
        raise Skipped(f"this onnxruntime has no {provider}")


def run_training(*words: str) -> None:
    """Run `python -m training words`; raise `DeviceError` with its last line if it fails."""
    command = [sys.executable, "-m", "training", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        last_line = done.stdout.strip().rpartition("\n")[2]
        raise DeviceError(last_line.removeprefix("error: ") or f"training {words[0]} ended with {done.returncode}")
