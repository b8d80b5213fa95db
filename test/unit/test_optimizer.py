"""Which parameters learn, at what rate, and how the rate runs over the steps."""

import pytest
import torch

from aurora.model.aurora import Aurora
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.tasks import OFFICIAL, TYPES
from training.config import FitConfig
from training.fit.losses import LossBalance
from training.fit.optimizer import freeze, make_optimizer, set_lr

MODEL = ModelConfig(EncoderConfig(4, 48, 96, 3), pyramid_width=16, image_size=(64, 64))
CONFIG = FitConfig(steps=100, warmup_steps=10, learning_rate=1.0, layer_decay=0.5, weight_decay=0.1)
ROWS = {kind: torch.tensor([0, 1]) for kind in TYPES}


@pytest.fixture
def model() -> Aurora:
    torch.manual_seed(0)
    return Aurora(MODEL, OFFICIAL)


def rates(model: Aurora, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every trained parameter by name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["initial_lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
        if id(parameter) in names
    }


def test_the_rate_halves_from_block_to_block_towards_the_input(model: Aurora) -> None:
    found = rates(model, make_optimizer(model, LossBalance(), CONFIG))
    assert found.keys() == dict(model.named_parameters()).keys()
    assert found["heads.Regression.last.weight"] == (1.0, 0.1)
    assert found["pyramid.laterals.0.norm.weight"] == (1.0, 0.0)
    assert [found[f"encoder.blocks.{i}.attn.qkv.weight"][0] for i in range(4)] == [1 / 16, 1 / 8, 1 / 4, 1 / 2]
    assert found["encoder.patch_embed.proj.weight"] == (1 / 32, 0.1)
    assert found["encoder.pos_embed.weight"] == (1 / 32, 0.0)


def test_frozen_blocks_stay_as_they_are_and_all_else_learns(model: Aurora) -> None:
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    freeze(model.encoder, 2)
    optimizer = make_optimizer(model, LossBalance(), CONFIG)
    for _ in range(2):
        outputs = model(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8), ROWS)
        sum(output.square().mean() for output in outputs.values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    frozen = ("encoder.patch_embed", "encoder.pos_embed", "encoder.blocks.0.", "encoder.blocks.1.")
    same = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.startswith(frozen)}


def test_freezing_nothing_freezes_nothing(model: Aurora) -> None:
    freeze(model.encoder, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_rate_rises_then_falls_alike_in_all_groups(model: Aurora) -> None:
    optimizer = make_optimizer(model, LossBalance(), CONFIG)
    shares = []
    for step in range(1, CONFIG.steps + 1):
        set_lr(optimizer, CONFIG, step)
        shares.append([group["lr"] / group["initial_lr"] for group in optimizer.param_groups])
    first = [row[0] for row in shares]
    assert all(share == pytest.approx(row[0]) for row in shares for share in row)
    assert first[0] == pytest.approx(0.109)
    assert first[9] == max(first) == 1.0
    assert first[54] == pytest.approx(0.505)
    assert first[99] == pytest.approx(0.01)
