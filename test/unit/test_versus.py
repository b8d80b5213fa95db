"""The comparison with another program, and the two programs that it is made with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.utils.flop_counter import FlopCounterMode

from aurora.errors import DeviceError, ImageError, UsageError
from aurora.rows import read_rows
from aurora.tasks import TaskType
from training.bench import versus
from training.bench.official_baseline import SIDE, OfficialBaseline, official_baseline
from training.bench.plain_loop import plain_loop, read_pixels
from training.bench.runs import Subject, Usage
from training.cli import main
from training.data.predictions import write_predictions

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "weights" / "aurora-tiny.safetensors"
SUBJECT = Subject(None, "cpu", WEIGHTS)


def test_a_comparison_says_who_answered_and_who_was_faster(sample_cases: Path) -> None:
    # Theirs copies the predictions of some rows, to a folder whose name the shell would split.
    copy = f"mkdir {{output}} && cp {ROOT}/test/golden/*.json {{output}}; : {{input}}"
    words = ["bench", "--data", str(sample_cases), "--repeats", "1", "--json", "--against", copy]
    done = subprocess.run([sys.executable, "-m", "training", *words], cwd=ROOT, capture_output=True, check=True)
    found = json.loads(done.stdout)
    rows = list(read_rows(sample_cases).rows)
    assert found["rows"] == found["ours"]["answered"] == len(rows)
    assert found["theirs"]["answered"] == sum(row.type != TaskType.SEGMENTATION for row in rows)
    assert found["theirs"]["command"] == copy
    ours, theirs = (found[name]["usages"][0]["seconds"] for name in ("ours", "theirs"))
    assert found["ratios"] == [theirs / ours]


def test_the_table_gives_the_ratio_of_each_round() -> None:
    ours, theirs = ([Usage(seconds, 2.0, 10**8) for seconds in column] for column in ((1, 2, 4), (10, 30, 80)))
    sides = (versus.Side("a", ours, 3, 0.5), versus.Side("b", theirs, 2, None))
    lines = versus.as_text(versus.Comparison("here", "w", "data", 100, *sides)).splitlines()
    cells = {row[0]: row[1:] for row in (line.strip("| ").split(" | ") for line in lines[5:])}
    assert cells["rows/s, whole process"] == ["50.0 [25.0, 100.0]", "3.3 [1.2, 10.0]"]
    assert cells["ours is so many times as fast"][0].rstrip(" |") == "15.0 [10.0, 20.0]"
    assert cells["composite"] == ["0.500", "-"]


@pytest.mark.parametrize("template", ["other --in {input}", "other {output}", "other"])
def test_a_command_without_its_folders_is_refused(template: str, sample_cases: Path) -> None:
    with pytest.raises(UsageError, match="found none of"):
        versus.compare(SUBJECT, template, sample_cases, None, 1)


def test_a_command_that_fails_is_named(sample_cases: Path) -> None:
    with pytest.raises(DeviceError, match="ended with 3"):
        versus.run_process(["sh", "-c", "exit 3"])


def test_one_engine_is_compared_at_a_time() -> None:
    done = CliRunner().invoke(main, ["bench", "--against", "x", "--engine", "onnx", "--engine", "torch"])
    assert isinstance(done.exception, UsageError)


def test_the_plain_loop_answers_every_row(sample_cases: Path, tmp_path: Path) -> None:
    write_predictions(plain_loop(WEIGHTS, sample_cases), tmp_path)
    rows = list(read_rows(sample_cases).rows)
    assert versus.answered(rows, tmp_path) == len(rows)


def test_an_image_that_opencv_does_not_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png"):
        read_pixels(tmp_path / "none.png")


def test_the_network_of_the_official_baseline_costs_what_the_published_one_does(sample_cases: Path) -> None:
    pytest.importorskip("efficientnet_pytorch", reason="the official baseline needs efficientnet-pytorch")
    row = next(r for r in read_rows(sample_cases).rows if r.type == TaskType.SEGMENTATION and r.num_classes == 2)
    model = OfficialBaseline([row]).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        output = model(torch.zeros(1, 3, SIDE, SIDE), row)
    assert output.shape == (1, 2, SIDE, SIDE)
    # Of segmentation_models_pytorch 0.6.0: FPN("efficientnet-b4", classes=2).
    assert counter.get_total_flops() / 1e9 == pytest.approx(7.841, abs=1e-3)
    assert sum(p.numel() for p in model.pyramid.parameters()) == 1_803_008


@pytest.mark.slow
def test_the_official_baseline_answers_every_row(sample_cases: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_pytorch", reason="the official baseline needs efficientnet-pytorch")
    write_predictions(official_baseline(sample_cases), tmp_path)
    rows = list(read_rows(sample_cases).rows)
    assert versus.answered(rows, tmp_path) == len(rows)
