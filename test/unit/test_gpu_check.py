"""The check of a GPU, rehearsed on the CPU, and what it says of parts that fail, hang or can't run."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aurora.engine.pytorch import ModuleEngine
from aurora.errors import DeviceError, OutputError, UsageError
from aurora.model import checkpoint
from aurora.tasks import TaskType
from training.bench.gpu import agreement, part, parts
from training.bench.gpu.check import FIRST, PARTS, Check, Part, Result, as_text, gpu_check, require_success, write
from training.cli import main
from training.phantom import generate


def check(device: str, parts: dict[str, Part], limit_s: float = 60) -> list[Result]:
    return gpu_check(device, limit_s, lambda line: None, parts).parts


def test_every_part_has_a_function() -> None:
    assert PARTS.keys() == parts.FUNCTIONS.keys()


def test_without_the_device_the_other_parts_are_skipped() -> None:
    first, second = check("cuda:99", {FIRST: Part(), "phantoms": Part()})
    assert (first.status, second.status, second.reason) == ("failed", "skipped", "versions failed")
    assert first.reason.startswith("aurora.errors.DeviceError: device 'cuda:99' was asked for, but PyTorch finds")


def test_a_part_that_takes_too_long_is_stopped_and_the_next_one_runs() -> None:
    slow, unknown, late = check("cpu", {"distributed": Part(0.5, torchrun=True), "unknown": Part(), "fit": Part()}, 8)
    assert (slow.status, slow.reason, slow.figures) == ("failed", "it took longer than 0 s", [])
    assert (unknown.status, unknown.reason) == ("failed", "KeyError: 'unknown'")
    assert late.status in ("failed", "skipped")


def test_no_part_begins_without_time() -> None:
    (late,) = check("cpu", {"phantoms": Part()}, limit_s=1)
    assert (late.status, late.reason) == ("skipped", "no time was left")


def test_an_engine_that_predicts_something_else_fails_with_its_figures(weights: Path, tmp_path: Path) -> None:
    setup = part.Setup("cpu", tmp_path)
    generate(setup.phantoms, cases=1, seed=0, tasks=["lung", "breast_2cls", "IUGC"])
    model, spec = checkpoint.load(weights)
    engine = ModuleEngine(model, spec)
    assert [figure.value for figure in agreement.agreement(setup, engine, 0.001)][:2] == [0, 0]
    model.heads[TaskType.REGRESSION].requires_grad_(False).apply(
        lambda module: [parameter.zero_() for parameter in module.parameters(recurse=False)]
    )
    with pytest.raises(part.Disagreement, match=r"found 0\.00% and 50\.0%") as caught:
        agreement.agreement(setup, engine, 0.001)
    assert caught.value.figures[3].value > 0.01


def test_the_files_hold_every_figure_and_every_reason(tmp_path: Path) -> None:
    results = [
        Result("a", "ok", "", 1.0, 60, [{"name": "rate", "value": 1234.5, "unit": "images/s"}]),
        Result("b", "failed", "no room"),
    ]
    found = Check("here", "cpu", 2.0, 60, results)
    table = write(found, tmp_path / "out" / "check.json")
    assert "| a | ok, 1 s | rate | 1,234 | images/s |\n| b | failed, 0 s | no room |  |  |" in table
    assert (tmp_path / "out" / "check.md").read_text() == as_text(found) + "\n"
    assert json.loads((tmp_path / "out" / "check.json").read_text())["parts"][0]["figures"] == results[0].figures
    with pytest.raises(DeviceError, match="found 1 that failed: b"):
        require_success(found)
    with pytest.raises(OutputError, match="name another file"):
        write(found, tmp_path / "out" / "check.json" / "x.json")


def test_the_device_is_named() -> None:
    done = CliRunner().invoke(main, ["gpu-check", "--out", "x", "--device", "auto"])
    assert isinstance(done.exception, UsageError)


@pytest.mark.slow
@pytest.mark.timeout(600)  # the check ends by itself after 480 s
def test_the_whole_check_is_rehearsed_on_the_cpu(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["gpu-check", "--out", str(tmp_path / "c.json"), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    found = {entry["name"]: entry for entry in json.loads((tmp_path / "c.json").read_text())["parts"]}
    assert [name for name, entry in found.items() if entry["status"] != "ok"] == ["agreement-tensorrt"]
    numbers = [f for entry in found.values() for f in entry["figures"] if not isinstance(f["value"], str)]
    assert all(figure["unit"] and np.isfinite(figure["value"]) for figure in numbers)
