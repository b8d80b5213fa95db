"""Several processes that train one model: the same losses, draws and weights as one process on the whole batch."""

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import forked

from training.fit.log import read_log
from training.fit.state import load_state
from training.phantom import generate

ROOT = Path(__file__).resolve().parents[2]
TOGETHER = ROOT / "test" / "support" / "together.py"
STEPS = 20
SETTINGS = {
    "preset": "micro",
    "image_size": 64, "batch_size": 8, "warmup_steps": 2, "ema_decay": 0.5, "log_every": 5, "precision": "fp32",
    "device": "cpu", "num_workers": 1, "steps_per_epoch": 10, "save_every": 10, "val_share": 0,
    "learning_rate": 2e-4, "steps": STEPS,
}  # fmt: skip


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    tasks = ["fetal_head", "breast_2cls", "uterine_fibroid_det", "fetal_femur", "cardiac_multi"]
    generate(folder, cases=4, seed=3, tasks=tasks, size_scale=0.4)
    return folder


def torchrun(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(TOGETHER)]
    variables = {"PYTHONPATH": str(ROOT), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    env = os.environ | variables | environment
    return subprocess.run([*launch, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


class Runs:
    """Trains under one folder, in any number of processes; gives what each process recorded."""

    def __init__(self, phantoms: Path, place: Path) -> None:
        self.phantoms, self.place = phantoms, place
        self.config = place / "config.yaml"
        self.config.write_text("\n".join(f"{key}: {value}" for key, value in SETTINGS.items()), encoding="utf-8")

    def words(self, name: str, *more: str) -> list[str]:
        words = [str(self.place / name), "fit", "--config", str(self.config), "--data", str(self.phantoms)]
        return [*words, "--out", str(self.place / name), *more]

    def start(self, name: str, processes: int, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        words = self.words(name, *more)
        return forked.run(self.place / name, TOGETHER, *words, count=processes, **environment)

    def train(self, name: str, processes: int, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        ended = self.start(name, processes, *more, **environment)
        assert ended.returncode == 0, ended.stderr[:6000]
        return ended

    def steps(self, name: str, rank: int = 0) -> list[dict[str, Any]]:
        path = (self.place / name).with_suffix(f".{rank}")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def runs(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    runs = Runs(phantoms, tmp_path_factory.mktemp("runs"))
    runs.train("one", 1)
    return runs


def same(runs: Runs, name: str, other: str = "one") -> None:
    """Losses, draws, averages and weights of two runs agree."""
    first, second = ({step["step"]: step for step in runs.steps(run)} for run in (name, other))
    assert first.keys() == second.keys() == set(range(1, STEPS + 1))
    for number, step in first.items():
        loss, counts = step["done"]
        assert loss == pytest.approx(second[number]["done"][0], abs=1e-5)
        assert counts == second[number]["done"][1]
        assert step["sampler"] == pytest.approx(second[number]["sampler"], abs=1e-5)
    weights = [load_file(runs.place / run / "best.safetensors") for run in (name, other)]
    for key, tensor in weights[0].items():
        torch.testing.assert_close(tensor.float(), weights[1][key].float(), rtol=0, atol=2e-3, msg=key)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_as_one_does_on_the_whole_batch(runs: Runs, parallel: str) -> None:
    ended = runs.train(parallel, 2, f"parallel={parallel}")
    same(runs, parallel)
    assert [step["done"] for step in runs.steps(parallel, 0)] == [step["done"] for step in runs.steps(parallel, 1)]
    assert {step["rows"] for step in runs.steps(parallel, 0)} == {4}
    # One log, one voice.
    assert [entry["step"] for entry in read_log(runs.place / parallel / "log.jsonl")] == [5, 10, 15, 20]
    assert ended.stdout.count("weights: ") == 1


def test_what_either_process_leaves_out_is_named_and_counted(runs: Runs, phantoms: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "phantoms"
    shutil.copytree(phantoms, damaged)
    images = sorted(path for path in damaged.glob("Classification/**/*.png"))
    for path in images:
        path.write_bytes(path.read_bytes()[:200])
    ended = runs.train("damaged", 2, "--data", str(damaged), "on_bad_case=skip")
    named = [line for line in ended.stdout.splitlines() if line.startswith("left out: ")]
    assert len(named) == len(images)
    assert read_log(runs.place / "damaged" / "log.jsonl")[-1]["skipped"] == len(images)


@pytest.mark.slow
def test_gradients_may_be_accumulated_in_two_processes(runs: Runs) -> None:
    halves = ("batch_size=4", "gradient_accumulation=2")
    for name, processes, more in (("halves", 1, ()), ("halves2", 2, ()), ("halvesf", 2, ("parallel=fsdp",))):
        runs.train(name, processes, *halves, *more)
    same(runs, "halves2", "halves")
    same(runs, "halvesf", "halves")


@pytest.mark.parametrize(
    ("name", "first", "then"),
    [
        ("2to1", (2, "parallel=ddp"), (1, "parallel=ddp")),
        ("1to2", (1, "parallel=ddp"), (2, "parallel=fsdp")),
        ("f2to1", (2, "parallel=fsdp"), (1, "parallel=ddp")),
    ],
)
def test_a_run_goes_on_in_another_number_of_processes(
    runs: Runs, name: str, first: tuple[int, str], then: tuple[int, str]
) -> None:
    """It is stopped by SIGTERM at step 10, as every process finds out."""
    stopped = runs.start(name, *first, STOP_AT="10")
    assert "stopped at step 10 of 20; continue with --resume" in stopped.stderr
    found = load_state(runs.place / name)
    assert found is not None
    assert found[1]["step"] == 10
    runs.train(name, then[0], then[1], "--resume")
    same(runs, name)


@pytest.mark.slow
def test_torchrun_restarts_after_a_death_and_loses_nothing(runs: Runs) -> None:
    ended = torchrun(runs.words("dies", "--resume"), DIE_AT="15", PET_MAX_RESTARTS="1")
    assert ended.returncode == 0, ended.stderr[:6000]
    assert (runs.place / "dies.died").exists()
    assert [step["step"] for step in runs.steps("dies")] == [*range(1, 15), *range(11, STEPS + 1)]
    same(runs, "dies")


def test_two_processes_print_one_table_of_a_study(runs: Runs, tmp_path: Path) -> None:
    for source, split in product(("one", "two"), ("train", "val")):
        (tmp_path / source).mkdir(exist_ok=True)
        (tmp_path / source / split).symlink_to(runs.phantoms)
    quick = ["--config", str(runs.config), "steps=2"]
    ablate = ["ablate", *quick, "--variant", "no-augmentation", "--seed", "0", "--out", str(tmp_path / "rows")]
    ablate += ["--data", str(runs.phantoms), "--val", str(runs.phantoms)]
    unseen = ["leave-one-out", *quick, "--out", str(tmp_path / "runs")]
    unseen += ["--source", str(tmp_path / "one"), "--source", str(tmp_path / "two")]
    for words, rows in ((ablate, ["`default`", "`no-augmentation`"]), (unseen, ["one", "two", "mean"])):
        ended = forked.run(tmp_path / words[0], forked.TRAINING, *words, count=2)
        assert ended.returncode == 0, ended.stderr[-6000:]
        table = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("| ")]
        assert table[2:] == rows


@pytest.mark.slow
def test_restarts_that_would_hang_are_refused(runs: Runs) -> None:
    ended = torchrun(runs.words("shared"), PET_MAX_RESTARTS="1", TORCH_DISABLE_SHARE_RDZV_TCP_STORE="0")
    assert ended.returncode
    assert "error: expected TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's environment" in ended.stderr
