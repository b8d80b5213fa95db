"""What a run of these tests says at its end: how many faults were made, and how the runs ended."""

from collections import Counter
from pathlib import Path

import pytest
from faults.catalogue.bench import Bench


@pytest.fixture
def bench(
    tmp_path: Path, onnx_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """An input folder with four good rows, and runs on it."""
    return Bench(tmp_path, onnx_weights, monkeypatch, capsys)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the faults of the catalogue, from the tests that passed."""
    passed = terminalreporter.stats.get("passed", [])
    counts = Counter(value for report in passed for key, value in report.user_properties if key == "fault")
    if counts:
        terminalreporter.write_line(
            f"faults: {counts.total()} tried, {counts['survived']} survived with every row answered, "
            f"{counts['refused']} refused in one sentence, all as docs/faults.md says"
        )
