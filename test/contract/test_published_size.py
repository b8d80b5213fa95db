"""At the true sizes, with random weights made on the spot: import, two training steps, a checkpoint, five answers."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.qwen import TINY_TEXT, make_checkpoint

from aurora.model import checkpoint
from aurora.model.config import PRESETS
from aurora.model.encoder import Encoder
from training.imported import read_encoder
from training.qwen.importer import import_encoder

pytestmark = [pytest.mark.large, pytest.mark.timeout(900)]
# Between a large test process and the command, so that the command's peak memory isn't the test's.
METER = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); \
print('peak_kib', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


def published(folder: Path, preset: str) -> Path:
    encoder = PRESETS[preset].encoder
    names = ("depth", "hidden_size", "intermediate_size", "num_heads")
    return make_checkpoint(folder, vision={name: getattr(encoder, name) for name in names}, text=TINY_TEXT)


def command(stage: str, *arguments: str | Path) -> str:
    """Run a command of the project; prints its wall time and peak memory, returns what it printed."""
    start = time.monotonic()
    line = [sys.executable, "-c", METER, sys.executable, "-m", stage, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    peak = int(done.stdout.rpartition("peak_kib")[2]) / 1024
    print(f"{stage} {arguments[0]}: {time.monotonic() - start:.1f} s, peak {peak:,.0f} MiB")
    return done.stdout


def test_2b_is_imported_trained_saved_and_answers(tmp_path: Path, sample_cases: Path) -> None:
    folder = published(tmp_path / "Qwen3-VL-2B", "qwen3-vl-2b")
    encoder, out = tmp_path / "encoder.safetensors", tmp_path / "run"
    command("training", "import-encoder", "--from", folder, "--out", encoder)
    command("training", "phantom", "--out", tmp_path / "data", "--cases", "1", "--seed", "0")
    config = Path(__file__).parents[2] / "training" / "configs" / "smoke.yaml"
    changes = ["preset=qwen3-vl-2b", f"encoder={encoder}", "image_size=256", "steps=2", "batch_size=4", "ema_decay=0"]
    command("training", "fit", "--config", config, "--data", tmp_path / "data", "--out", out, *changes)
    spec = checkpoint.read_spec(out / "best.safetensors")
    assert spec.config.encoder == PRESETS["qwen3-vl-2b"].encoder
    assert spec.provenance["encoder"]["source"] == "Qwen3-VL-2B"
    weights = ["--weights", out / "best.safetensors", "--engine", "torch"]
    printed = command(
        "inference", "run", "--input", sample_cases, "--output", tmp_path / "out", "--limit", "5", *weights
    )
    assert "predicted 5 of 5 rows" in printed


def test_8b_loads_and_runs_forward(tmp_path: Path) -> None:
    import_encoder(str(published(tmp_path / "Qwen3-VL-8B", "qwen3-vl-8b")), tmp_path / "encoder.safetensors")
    file = read_encoder(tmp_path / "encoder.safetensors")
    encoder = Encoder(file.config).eval()
    file.load_into(encoder)
    with torch.no_grad():
        taps = encoder(torch.rand(1, 3, 448, 448) * 2 - 1)
    assert [tuple(tap.shape) for tap in taps] == [(1, 1152, 28, 28)] * 4
    assert all(tap.isfinite().all() and tap.std() > 0.1 for tap in taps)
