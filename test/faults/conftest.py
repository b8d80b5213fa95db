"""The bench of the fault tests, and a line that counts the faults after a test run."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from faults.catalogue.bench import Bench

import inference.run
from aurora.engine.base import Engine, EngineName
from aurora.engine.select import open_engine

_open_once = cache(open_engine)


def _open_engine(shipped: Path, weights: Path | None, engine: EngineName | None, device: str) -> Engine:
    """Load the shipped weights once for all tests of this process, and any other weights each time."""
    return (_open_once if weights == shipped else open_engine)(weights, engine, device)


@pytest.fixture
def bench(
    tmp_path: Path, onnx_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """Return an input folder with four good rows, ready for a fault."""
    monkeypatch.setattr(inference.run, "open_engine", lambda *wanted: _open_engine(onnx_weights, *wanted))
    return Bench(tmp_path, onnx_weights, monkeypatch, capsys)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the faults of the catalogue whose tests passed."""
    passed = terminalreporter.stats.get("passed", [])
    counts = Counter(value for report in passed for key, value in report.user_properties if key == "fault")
    if counts:
        terminalreporter.write_line(
            f"faults: {counts.total()} tried, {counts['survived']} survived with every row answered, "
            f"{counts['refused']} refused in one sentence, all as docs/faults.md says"
        )
