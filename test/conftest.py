"""What all tests share: one thread for each library, and the data and weights that ship with the code."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Read when the libraries are first imported, here and in the processes that tests start. Tests run in several processes
# at once, and the threads of each would wait for a core that the others use.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
# A test run reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Accept, without pytest-xdist (`-p no:xdist`), the options that pyproject.toml gives it."""
    if not pluginmanager.hasplugin("xdist"):
        for option in ("--numprocesses", "--dist"):
            parser.addoption(option)
        parser.addoption("--no-loadscope-reorder", action="store_true")


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Undo what an earlier test has set."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True)
def logging_to_stdout() -> None:
    """Print what the program logs, as its command lines do."""
    from aurora.runtime.cli import configure_logging

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
