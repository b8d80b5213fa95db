"""What all tests share: the folder of real images, where there is one."""

import os
from pathlib import Path

import pytest

from aurora.runtime.cli import configure_logging

ROOT = Path(__file__).resolve().parents[1]

# Read when onnxruntime is first imported: a test run reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@pytest.fixture(autouse=True)
def logging_to_stdout() -> None:
    """Print what the program logs, as its command lines do."""
    configure_logging()


@pytest.fixture(scope="session")
def realus() -> Path:
    """The folder of real labelled images; a test that asks for it is skipped where it is absent."""
    folder = Path(os.environ.get("AURORA_REAL_DATA") or ROOT.parent / "shared" / "realus")
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is no folder; AURORA_REAL_DATA names another")
    return folder


@pytest.fixture(scope="session")
def weights() -> Path:
    """The shipped checkpoint."""
    return ROOT / "weights" / "aurora-tiny.safetensors"


@pytest.fixture(scope="session")
def onnx_weights() -> Path:
    """The shipped checkpoint's ONNX export."""
    return ROOT / "weights" / "aurora-tiny.onnx"


@pytest.fixture(scope="session")
def sample_cases() -> Path:
    """The small unlabelled input root that ships with the code."""
    return ROOT / "test" / "cases"


@pytest.fixture(autouse=True)
def messages_on_stdout() -> None:
    """Install the handler that a command line installs, so that tests may call functions below it."""
    configure_logging()
