"""Training's own evaluation and `score` of written answers give the same numbers."""

from pathlib import Path

import pytest

from aurora import checkpoint
from aurora.scoring import score
from inference.run import RunSettings, run
from training.data import load_cases
from training.evaluate import composite, evaluate
from training.phantom import generate


def test_evaluate_equals_score(weights: Path, tmp_path: Path) -> None:
    tasks = ["fetal_head", "cardiac_multi", "organ_cls", "thyroid_nodule_det", "IUGC"]
    generate(tmp_path / "data", cases=4, seed=11, tasks=tasks)
    model, _ = checkpoint.load(weights)
    cases = load_cases([tmp_path / "data"])
    found = evaluate(model, cases)
    run(RunSettings(input=tmp_path / "data", output=tmp_path / "out", engine="torch", device="cpu"))
    scores = score(tmp_path / "data", tmp_path / "out")
    for task in scores.tasks:
        expected = {name: value for name, value in task.metrics.items() if name != "hd"}
        assert found[task.task_id] == pytest.approx(expected | {"composite": task.composite}, abs=1e-3, nan_ok=True)
    assert composite(found, cases) == pytest.approx(scores.composite, abs=1e-3)
