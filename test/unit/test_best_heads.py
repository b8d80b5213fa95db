"""The second stage trains the heads alone, and a type keeps the head that it had if that was better."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aurora.errors import UsageError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.tasks import OFFICIAL, TaskType, registry
from training.config import FitConfig
from training.data.cases import Case, load_cases
from training.evaluation.evaluate import composite, evaluate
from training.fit.best_heads import with_better_heads
from training.fit.distributed import ProcessGroup
from training.fit.log import LOG
from training.fit.loop import fit
from training.phantom import generate

TASKS = registry([OFFICIAL[name] for name in ("fetal_head", "breast_2cls", "uterine_fibroid_det")])
ALONE = ProcessGroup(torch.device("cpu"))
BODY = ("encoder.", "stem.", "pyramid.")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("phantoms")
    generate(folder, cases=4, seed=3, tasks=list(TASKS), size_scale=0.4)
    return load_cases([folder])


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "start.safetensors", Aurora(PRESETS["micro"], TASKS), {})
    return tmp_path / "start.safetensors"


def config(start: Path, learning_rate: float) -> FitConfig:
    return FitConfig(
        stage="heads",
        init_from=start,
        image_size=64,
        steps=12,
        steps_per_epoch=6,
        batch_size=8,
        warmup_steps=0,
        ema_decay=0,
        precision="fp32",
        learning_rate=learning_rate,
    )


def test_the_body_stays_and_every_type_is_at_least_as_good(cases: list[Case], start: Path, tmp_path: Path) -> None:
    weights = fit(config(start, 3e-3), cases, cases, tmp_path / "run", [], ALONE)
    trained, before = load_file(weights), load_file(start)
    assert trained.keys() == before.keys()
    body = [name for name in trained if name.startswith(BODY)]
    assert body
    assert all(torch.equal(trained[name], before[name]) for name in body)
    assert any(not torch.equal(trained[name], before[name]) for name in trained.keys() - set(body))
    found, initial = (evaluate(checkpoint.load(path)[0], cases) for path in (weights, start))
    # There is one task of each type.
    assert all(found[name]["composite"] >= initial[name]["composite"] for name in TASKS)
    assert composite(found, cases) > composite(initial, cases)
    spec = checkpoint.read_spec(weights)
    assert all(spec.provenance["validation"][name] == pytest.approx(found[name], abs=1e-6) for name in TASKS)
    best = [json.loads(line).get("best") for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert best[-1] == pytest.approx(composite(found, cases), abs=1e-6)


def test_heads_that_training_spoils_are_not_taken(cases: list[Case], start: Path, tmp_path: Path) -> None:
    good = fit(config(start, 3e-3), cases, cases, tmp_path / "good", [], ALONE)
    weights = fit(config(good, 0.5), cases, cases, tmp_path / "run", [], ALONE)
    assert evaluate(checkpoint.load(weights)[0], cases) == evaluate(checkpoint.load(good)[0], cases)


def test_each_type_is_chosen_on_its_own(cases: list[Case], start: Path, tmp_path: Path) -> None:
    best, _ = checkpoint.load(start)
    before = {name: {"composite": 0.5} for name in TASKS}
    checkpoint.save(start, best, {"validation": before})
    trained, _ = checkpoint.load(start)
    for parameter in trained.heads.parameters():
        parameter.data += 1
    results = {"fetal_head": {"composite": 0.6}, "breast_2cls": {"composite": 0.4}} | {
        "uterine_fibroid_det": {"composite": 0.5}
    }
    merged, merged_results = with_better_heads(trained, results, start, cases)
    assert merged_results == {**before, "fetal_head": results["fetal_head"]}
    taken = {
        task_type: all(
            torch.equal(one, other)
            for one, other in zip(
                merged.heads[task_type].parameters(), trained.heads[task_type].parameters(), strict=True
            )
        )
        for task_type in merged.heads
    }
    assert {task_type for task_type, new in taken.items() if new} == {TaskType.SEGMENTATION}


def test_without_a_checkpoint_there_are_no_heads_to_train() -> None:
    with pytest.raises(UsageError, match="name it with init_from=FILE"):
        fit(FitConfig(stage="heads", steps=1), [], [], Path("run"), [], ALONE)
