"""A training run that is stopped, killed or finds its last state damaged goes on exactly where it was."""

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.forked import TRAINING, Forked

from aurora.model import checkpoint
from training.phantom import generate

STEPS = 24
CONFIG = {
    "preset": "micro",
    "steps": STEPS,
    "steps_per_epoch": 8,
    "image_size": 64,
    "batch_size": 4,
    "warmup_steps": 2,
    "ema_decay": 0.5,
    "log_every": 1,
    "save_every": 5,
    "val_share": 0.34,
    "device": "cpu",
}
TASKS = ["fetal_head", "breast_2cls", "uterine_fibroid_det", "fetal_femur"]


class Runs:
    """Runs of one configuration on one set of phantoms, each in its own process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        generate(folder / "data", cases=3, seed=3, tasks=TASKS, size_scale=0.4)
        (folder / "run.yaml").write_text(yaml.safe_dump(CONFIG))

    def start(self, name: str, *flags: str) -> Forked:
        words = ["fit", "--config", str(self.folder / "run.yaml"), "--data", str(self.folder / "data")]
        return Forked(self.folder / name, TRAINING, *words, "--out", str(self.folder / name), *flags)

    def finish(self, name: str, *flags: str) -> Path:
        process = self.start(name, *flags)
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        return self.folder / name

    def interrupt(self, name: str, step: int, number: signal.Signals, *flags: str) -> tuple[int, str]:
        """Send a signal once `step` stands in the log; the exit code and what was printed as errors."""
        process = self.start(name, *flags)
        log = self.folder / name / "log.jsonl"
        while process.poll() is None and not (log.exists() and f'{{"step": {step},' in log.read_text()):
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=200)
        return process.returncode, errors


def curve(run: Path) -> list[tuple[int, float, dict[str, float]]]:
    entries: list[dict[str, Any]] = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(entry["step"], entry["loss"], entry["losses"]) for entry in entries]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def undisturbed(runs: Runs) -> Path:
    return runs.finish("undisturbed")


def same(run: Path, other: Path) -> bool:
    return (
        curve(run) == curve(other)
        and (run / "best.safetensors").read_bytes() == (other / "best.safetensors").read_bytes()
    )


def test_a_run_killed_at_random_steps_ends_as_an_undisturbed_one(runs: Runs, undisturbed: Path) -> None:
    steps = sorted(random.sample(range(1, STEPS), 3))
    print(f"killed at {steps}")
    for step in steps:
        code, _ = runs.interrupt("killed", step, signal.SIGKILL, "--resume")
        assert code == -signal.SIGKILL
    assert same(runs.finish("killed", "--resume"), undisturbed)
    checkpoint.load(runs.folder / "killed" / "best.safetensors")


def test_a_terminated_run_saves_its_state_says_so_and_goes_on(runs: Runs, undisturbed: Path) -> None:
    code, errors = runs.interrupt("terminated", 12, signal.SIGTERM)
    assert code == 143
    assert errors.startswith("stopped at step ")
    assert errors.endswith(f"of {STEPS}; continue with --resume\n")
    assert same(runs.finish("terminated", "--resume"), undisturbed)


def test_a_damaged_state_is_passed_over_for_the_one_before(runs: Runs, undisturbed: Path) -> None:
    runs.interrupt("damaged", 13, signal.SIGKILL)
    states = sorted((runs.folder / "damaged").glob("state-*.safetensors"))
    assert len(states) == 2
    states[-1].write_bytes(states[-1].read_bytes()[:-9])
    assert same(runs.finish("damaged", "--resume"), undisturbed)


def test_another_run_is_not_overwritten(runs: Runs, undisturbed: Path) -> None:
    process = runs.start("undisturbed")
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "already holds a run; continue it with --resume" in errors


def test_a_finished_run_is_left_as_it_is(runs: Runs, undisturbed: Path) -> None:
    before = (undisturbed / "best.safetensors").stat().st_mtime_ns
    runs.finish("undisturbed", "--resume")
    assert (undisturbed / "best.safetensors").stat().st_mtime_ns == before


def test_another_configuration_is_refused(runs: Runs, undisturbed: Path) -> None:
    process = runs.start("undisturbed", "--resume", "weight_decay=0.5")
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "expected weight_decay = 0.05" in errors
