"""The convolutional stem is spatially exact, all of it learns, and a configuration may lack it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.model.stem import Stem
from aurora.tasks import OFFICIAL, TaskType

PLAIN = ModelConfig(EncoderConfig(4, 48, 96, 3), pyramid_width=16, image_size=(64, 128))
CONFIG = replace(PLAIN, stem_width=8)


def test_shapes() -> None:
    levels, tokens = Stem(CONFIG)(torch.zeros(2, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [(2, 16, 16, 24), (2, 16, 8, 12)]
    assert tokens.shape == (2, 48, 4, 6)


@pytest.mark.parametrize("cell", [(0, 0), (1, 5), (3, 7)])
def test_a_cell_depends_most_on_the_pixels_it_covers(cell: tuple[int, int]) -> None:
    torch.manual_seed(0)
    pixels = torch.zeros(1, 3, 64, 128, requires_grad=True)
    levels, tokens = Stem(CONFIG)(pixels)
    for found, stride in zip((*levels, tokens), (4, 8, 16), strict=True):
        (gradient,) = torch.autograd.grad(found[0, :, cell[0], cell[1]].sum(), pixels, retain_graph=True)
        row, column = divmod(int(gradient.abs().sum(1).argmax()), 128)
        assert abs(row - cell[0] * stride) < stride
        assert abs(column - cell[1] * stride) < stride


def test_every_parameter_of_it_learns() -> None:
    model = Aurora(CONFIG, OFFICIAL)
    images = torch.randint(0, 256, (2, 64, 128, 3), dtype=torch.uint8)
    model(images, {TaskType.SEGMENTATION: torch.tensor([0, 1])})[TaskType.SEGMENTATION].pow(2).mean().backward()
    assert model.stem is not None
    assert [name for name, value in model.stem.named_parameters() if not value.grad.abs().sum()] == []


def test_a_record_without_a_stem_means_none() -> None:
    record = PLAIN.to_record()
    del record["stem_width"]
    assert ModelConfig.from_record(record) == PLAIN
    assert Aurora(PLAIN, OFFICIAL).stem is None


@pytest.mark.parametrize("config", [PLAIN, CONFIG], ids=["without", "with"])
def test_a_checkpoint_keeps_it(tmp_path: Path, config: ModelConfig) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, Aurora(config, OFFICIAL), {})
    model, spec = checkpoint.load(path)
    assert spec.config == config
    assert (model.stem is not None) == bool(config.stem_width)


@pytest.mark.parametrize(("width", "patch"), [(-8, 16), (12, 16), (8, 32)])
def test_a_stem_that_does_not_fit_is_refused(width: int, patch: int) -> None:
    encoder = replace(PLAIN.encoder, patch_size=patch)
    with pytest.raises(ValueError, match="stem"):
        ModelConfig(encoder, 16, (64, 128), stem_width=width)
