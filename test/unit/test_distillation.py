"""A student learns what its teachers predict, for every task that they know."""

from pathlib import Path

import pytest
import torch

from aurora.errors import UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.runtime import files
from aurora.tasks import OFFICIAL, TYPES, Task, TaskType, channel_slices, registry
from training.config import FitConfig
from training.data.cases import Case, load_cases, load_sample
from training.fit.distillation import Teachers, as_probabilities, distillation_loss
from training.fit.distributed import ProcessGroup
from training.fit.loader import Batch, collate
from training.fit.loop import fit
from training.fit.losses import loss_weight
from training.fit.trainer import Trainer
from training.phantom import generate

NAMES = ["fetal_head", "breast_2cls", "uterine_fibroid_det", "fetal_femur"]
TASKS = registry([OFFICIAL[name] for name in NAMES])
CPU = torch.device("cpu")
CONFIG = FitConfig(
    preset="micro",
    image_size=64,
    steps=4,
    steps_per_epoch=2,
    batch_size=8,
    warmup_steps=0,
    precision="fp32",
    device="cpu",
    augment=False,
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("phantoms")
    generate(folder, cases=2, seed=3, tasks=NAMES, size_scale=0.4)
    return load_cases([folder])


@pytest.fixture(scope="module")
def batch(cases: list[Case]) -> Batch:
    return collate([load_sample([case], (64, 64), None) for case in cases])


def teacher(path: Path, seed: int, names: list[str] = NAMES) -> Path:
    torch.manual_seed(seed)
    checkpoint.save(path, Aurora(PRESETS["micro"], registry([OFFICIAL[name] for name in names])), {})
    return path


def predicted_by(path: Path, batch: Batch) -> dict[Task, torch.Tensor]:
    """What one checkpoint predicts for the tasks of a batch, without `Teachers`."""
    model, _ = checkpoint.load(path)
    with torch.no_grad():
        outputs = model(batch.images, batch.rows)
    slices = {task_type: channel_slices(model.tasks, task_type) for task_type in TYPES}
    return {
        task: as_probabilities(task.type, outputs[task.type][rows, slices[task.type][task.id]])
        for task, (rows, _) in batch.targets.items()
    }


def test_teachers_predict_the_mean_of_what_they_know(batch: Batch, tmp_path: Path) -> None:
    first = teacher(tmp_path / "first.safetensors", 1)
    second = teacher(tmp_path / "second.safetensors", 2, ["breast_2cls", "organ_cls"])
    teachers = Teachers(CONFIG.model_copy(update={"teachers": [first, second]}), TASKS, CPU, bf16=False)
    found, expected = teachers.predict(batch), predicted_by(first, batch)
    assert found.keys() == expected.keys()
    for task, values in expected.items():
        if task.id != "breast_2cls":
            torch.testing.assert_close(found[task], values)
    (breast,) = [task for task in found if task.id == "breast_2cls"]
    rows, _ = batch.targets[breast]
    model, _ = checkpoint.load(second)
    with torch.no_grad():
        other = model(batch.images, {breast.type: batch.rows[breast.type]})[breast.type][rows, :2].softmax(1)
    torch.testing.assert_close(found[breast], (expected[breast] + other) / 2)


@pytest.mark.parametrize("task_type", TYPES)
def test_the_loss_is_smallest_at_the_teachers_prediction(task_type: TaskType) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 4) if task_type == TaskType.CLASSIFICATION else (3, 5, 8, 8)
    # Clear answers, as a trained teacher gives: a soft Dice is smallest at a certain mask only.
    output = 20 * torch.randn(shape, generator=generator)
    predicted = as_probabilities(task_type, output)
    weight = torch.tensor(3.0)
    least = distillation_loss(task_type, output, predicted, weight)
    for _ in range(5):
        other = output + 8 * torch.randn(shape, generator=generator)
        assert distillation_loss(task_type, other, predicted, weight) > least


def distances(run: Trainer, batch: Batch, expected: dict[Task, torch.Tensor]) -> dict[str, float]:
    """The distillation loss of each task, in evaluation mode."""
    run.model.eval()
    with torch.no_grad():
        outputs = run.model(batch.images, batch.rows)
    found = {}
    for task, (rows, targets) in batch.targets.items():
        output = outputs[task.type][rows, channel_slices(run.model.tasks, task.type)[task.id]]
        weight = loss_weight(task.type, output, targets)
        found[task.id] = distillation_loss(task.type, output, expected[task], weight).item()
    return found


def test_a_student_comes_closer_to_its_teacher(batch: Batch, tmp_path: Path) -> None:
    path = teacher(tmp_path / "t.safetensors", 1)
    changes = {"teachers": [path], "distillation_share": 1.0, "learning_rate": 3e-3}
    run = Trainer(CONFIG.model_copy(update=changes), TASKS, dict.fromkeys(NAMES, 2), ProcessGroup(CPU))
    expected = predicted_by(path, batch)
    before = distances(run, batch, expected)
    for step in range(1, 11):
        run.step(step, [batch])
    after = distances(run, batch, expected)
    assert all(after[name] < before[name] for name in NAMES)


def test_without_a_share_the_teachers_change_nothing(batch: Batch, tmp_path: Path) -> None:
    path = teacher(tmp_path / "t.safetensors", 1)
    losses = []
    for changes in ({}, {"teachers": [path], "distillation_share": 0.0}, {"teachers": [path]}):
        run = Trainer(CONFIG.model_copy(update=changes), TASKS, dict.fromkeys(NAMES, 2), ProcessGroup(CPU))
        losses.append(run.step(1, [batch])[0])  # type: ignore[index]
    assert losses[0] == losses[1]
    assert losses[2] != losses[0]


def test_a_run_states_its_teachers_and_wants_them_again(cases: list[Case], tmp_path: Path) -> None:
    path = teacher(tmp_path / "t.safetensors", 1)
    config = CONFIG.model_copy(update={"teachers": [path]})
    weights = fit(config, cases, cases, tmp_path / "run", [], ProcessGroup(CPU))
    assert checkpoint.read_spec(weights).provenance["teachers"] == [{"sha256": files.sha256(path)}]
    teacher(path, 2)
    with pytest.raises(WeightsError, match="began with, found others in teachers"):
        fit(config, cases, cases, tmp_path / "run", [], ProcessGroup(CPU), resume=True)


def test_teachers_that_cannot_teach_are_named(cases: list[Case], tmp_path: Path) -> None:
    missing = CONFIG.model_copy(update={"teachers": [tmp_path / "none.safetensors"]})
    with pytest.raises(WeightsError, match=r"no checkpoint .*none.safetensors; name one with teachers="):
        fit(missing, cases, cases, tmp_path / "run", [], ProcessGroup(CPU))
    other = teacher(tmp_path / "other.safetensors", 1, ["organ_cls"])
    useless = CONFIG.model_copy(update={"teachers": [other]})
    with pytest.raises(UsageError, match=r"expected a teacher that knows one of the tasks to train, found .*other"):
        fit(useless, cases, cases, tmp_path / "run", [], ProcessGroup(CPU))
