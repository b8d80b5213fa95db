"""A fifth kind of task is a module, a head, a loss and a label reader: no other file knows of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from support import counting

from aurora.model import checkpoint
from aurora.scoring.score import score
from aurora.tasks import TaskType
from inference.cli import main as inference
from training.cli import main as training
from training.phantom import generate


@pytest.fixture(scope="module", autouse=True)
def kind() -> Iterator[TaskType]:
    with counting.registered() as task_type:
        yield task_type


def call(group: object, *words: object) -> str:
    result = CliRunner().invoke(group, [*map(str, words)])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of one to four discs, beside phantoms of two of the challenge's tasks."""
    root = tmp_path_factory.mktemp("counting") / "data"
    generate(root, cases=4, seed=0, tasks=["breast_2cls", "uterine_fibroid_det"], size_scale=0.3)
    (root / "Counting").mkdir()
    lines = ["task_id,task_name,num_classes,image_path,count"]
    for number in range(20):
        pixels = np.zeros((64, 64), np.uint8)
        count = 1 + number % 4
        for disc in range(count):
            centre = (16 + 32 * (disc % 2), 16 + 32 * (disc // 2))
            cv2.circle(pixels, centre, 6 + number % 5, 200 + number, cv2.FILLED)
        cv2.imwrite(str(root / "Counting" / f"{number}.png"), pixels)
        lines.append(f"discs,counting,1,../Counting/{number}.png,{count}")
    (root / "csv_files" / "discs.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def weights(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    config = Path(__file__).resolve().parents[2] / "training" / "configs" / "smoke.yaml"
    settings = ["preset=micro", "image_size=64", "steps=60", "batch_size=8", "val_share=0", "precision=fp32"]
    settings += ["num_workers=1", "device=cpu", "augment=false", "log_every=30"]
    call(training, "fit", "--config", config, "--data", data, "--val", data, "--out", out, *settings)
    return out / "best.safetensors"


def test_it_is_trained_predicted_scored_and_reported(data: Path, weights: Path, tmp_path: Path) -> None:
    assert checkpoint.read_spec(weights).tasks["discs"].type == counting.COUNTING
    out = tmp_path / "out"
    words = ["--input", data, "--output", out, "--weights", weights, "--engine", "torch", "--device", "cpu", "--strict"]
    call(inference, "run", *words, "--report", tmp_path / "report.html", "--preview", tmp_path / "preview")
    entries = json.loads((out / "counting_predictions.json").read_text())
    assert [entry["image_path"] for entry in entries] == [f"../Counting/{number}.png" for number in range(20)]
    by_count = [np.mean([entry["predicted_count"] for entry in entries[start::4]]) for start in range(4)]
    assert by_count == sorted(by_count), "more discs are counted as more"
    task = next(task for task in score(data, out).tasks if task.task_id == "discs")
    assert (task.rows, task.predicted) == (20, 20)
    assert task.metrics["error"] < 1.2  # the mean of 1 to 4 for every image would be off by 1
    text = call(training, "evaluate", "--weights", weights, "--data", data, "--resamples", 20, "--device", "cpu")
    line = next(line for line in text.splitlines() if line.startswith("discs "))
    assert f"count error {task.metrics['error']:.1f}" in line
    page = tmp_path / "score.html"
    call(inference, "score", "--truth", data, "--predictions", out, "--html", page)
    assert "whether the count is right" in page.read_text()


def test_it_is_checked_packed_and_has_a_baseline(data: Path, weights: Path, tmp_path: Path) -> None:
    assert "discs" in call(inference, "check", "--input", data)
    out = tmp_path / "baseline"
    call(training, "baseline", "--train", data, "--data", data, "--out", out)
    entries = json.loads((out / "counting_predictions.json").read_text())
    assert {entry["predicted_count"] for entry in entries} == {2.5}
    call(inference, "pack", "--input", data, "--predictions", out, "--out", tmp_path / "a.zip")
    entries[0]["predicted_count"] = 5000
    (out / "counting_predictions.json").write_text(json.dumps(entries))
    result = CliRunner().invoke(
        inference, ["pack", "--input", str(data), "--predictions", str(out), "--out", str(tmp_path / "b.zip")]
    )
    assert "expected a count up to 1000" in str(result.exception)


def test_without_the_kind_its_weights_are_refused(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aurora.errors import WeightsError
    from aurora.tasks import TYPES

    monkeypatch.delitem(TYPES, counting.COUNTING)
    with pytest.raises(WeightsError, match="counting"):
        checkpoint.read_spec(weights)
