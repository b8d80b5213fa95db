"""What a training step does: every parameter learns, sums of batches are batches, bad steps change nothing."""

import json

import pytest
import torch

from aurora.errors import DeviceError
from training.config import FitConfig
from training.data.cases import load_cases, load_sample
from training.fit.distributed import ProcessGroup
from training.fit.loader import Batch, collate
from training.fit.trainer import Trainer
from training.phantom import generate

TASKS = ["fetal_head", "breast_2cls", "uterine_fibroid_det", "fetal_femur"]
CONFIG = FitConfig(steps=10, image_size=64, warmup_steps=0, precision="fp32", device="cpu", augment=False)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    folder = tmp_path_factory.mktemp("phantoms")
    generate(folder, cases=2, seed=3, tasks=TASKS, size_scale=0.4)
    return collate([load_sample([case], (64, 64), None) for case in load_cases([folder])])


def trainer(batch: Batch, **changes: object) -> Trainer:
    tasks = {task.id: task for task in batch.targets}
    return Trainer(CONFIG.model_copy(update=changes), tasks, dict.fromkeys(tasks, 2), ProcessGroup(torch.device("cpu")))


def parameters(run: Trainer) -> dict[str, torch.Tensor]:
    """All that learns, by name: the network and the learned balance."""
    return {**dict(run.model.named_parameters()), **{f"balance.{n}": p for n, p in run.balance.named_parameters()}}


def test_every_parameter_receives_a_gradient_and_moves_within_two_steps(batch: Batch) -> None:
    run = trainer(batch)
    before = {name: parameter.detach().clone() for name, parameter in parameters(run).items()}
    without_gradient = []
    for step in (1, 2):
        run.step(step, [batch])
        without_gradient = [name for name, p in parameters(run).items() if p.grad is None or not p.grad.any()]
    assert without_gradient == []
    assert [name for name, parameter in parameters(run).items() if torch.equal(parameter, before[name])] == []


def test_the_optimizer_holds_every_parameter_once(batch: Batch) -> None:
    run = trainer(batch)
    held = [id(p) for group in run.optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in parameters(run).values())


def test_accumulating_the_same_batch_twice_is_one_step_on_it(batch: Batch) -> None:
    once, twice = trainer(batch), trainer(batch)
    for run in (once, twice):
        run.model.heads["classification"].dropout.p = 0.0
    assert once.step(1, [batch])[0] == pytest.approx(twice.step(1, [batch, batch])[0], rel=1e-5)  # type: ignore[index]
    for name, parameter in parameters(once).items():
        torch.testing.assert_close(parameter, parameters(twice)[name], rtol=1e-3, atol=1e-5)


def test_a_step_tells_how_many_samples_of_each_task_it_saw(batch: Batch) -> None:
    _, counts = trainer(batch).step(1, [batch])  # type: ignore[misc]
    assert counts == dict.fromkeys(TASKS, 2)


def spoilt(run: Trainer) -> Trainer:
    run.model.heads["segmentation"].last.bias.data[0] = float("nan")
    return run


def test_a_loss_that_is_not_finite_ends_the_run_with_one_sentence(batch: Batch) -> None:
    with pytest.raises(DeviceError, match=r"found a loss of nan at step 7; lower learning_rate") as caught:
        spoilt(trainer(batch)).step(7, [batch])
    assert "\n" not in str(caught.value)


def test_bad_steps_may_be_passed_over_but_not_for_ever(batch: Batch) -> None:
    run = spoilt(trainer(batch, max_skipped_steps=2))
    before = {name: p.detach().clone() for name, p in parameters(run).items()}
    losses = dict(run.sampler.losses)
    assert run.step(1, [batch]) is None
    assert run.step(2, [batch]) is None
    assert run.sampler.losses == losses
    assert all(torch.equal(p.nan_to_num(), before[name].nan_to_num()) for name, p in parameters(run).items())
    with pytest.raises(DeviceError):
        run.step(3, [batch])


def test_a_restored_trainer_goes_on_as_the_first_would_have(batch: Batch) -> None:
    first, second = trainer(batch), trainer(batch)
    second.step(9, [batch])
    first.step(1, [batch])
    tensors, record = first.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    expected = [first.step(step, [batch]) for step in (2, 3)]  # with dropout, so that what is random counts
    second.restore(tensors, json.loads(json.dumps(record)))
    assert [second.step(step, [batch]) for step in (2, 3)] == expected
    for part in ("model", "ema", "balance"):
        ours, theirs = (getattr(run, part).state_dict() for run in (first, second))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
