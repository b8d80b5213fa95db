"""The shipped weights reproduce their golden predictions; other predictions are detected."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inference.cli import main

SHIPPED = Path(__file__).resolve().parents[2] / "weights"


def selftest(*words: object) -> Result:
    return CliRunner().invoke(main, ["selftest", "--device", "cpu", *map(str, words)])


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_the_shipped_weights_reproduce_their_golden_predictions(engine: str) -> None:
    result = selftest("--engine", engine)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("the golden predictions are reproduced\n")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a copy of the shipped weights whose golden predictions may be changed."""
    shutil.copytree(SHIPPED, tmp_path / "w")
    return tmp_path / "w" / "aurora-tiny.safetensors"


@pytest.mark.parametrize(
    ("file", "key", "change", "said"),
    [
        ("classification", "predicted_probs", 0.05, "fractions: 0.05 at most"),
        ("detection", "bbox_pixels", 6.0, "pixels: 6 at most"),
    ],
)
def test_other_predictions_are_detected(weights: Path, file: str, key: str, change: float, said: str) -> None:
    path = weights.parent / "golden" / "answers" / f"{file}_predictions.json"
    entries = json.loads(path.read_text())
    entries[-1][key][0] += change
    path.write_text(json.dumps(entries))
    result = selftest("--weights", weights)
    assert result.exit_code == 6
    assert said in result.stdout
    assert result.stdout.endswith("the predictions differ from the golden ones\n")


def test_weights_without_golden_cases_say_so(weights: Path) -> None:
    shutil.rmtree(weights.parent / "golden")
    result = selftest("--weights", weights)
    assert "expected golden cases next to the weights" in str(result.exception)
