"""The whole network is spatially exact, independent of the batch, and creates all parameters in `__init__`."""

import json
from dataclasses import replace

import pytest
import torch

from aurora.model.aurora import Aurora, normalise
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.model.pyramid import Pyramid
from aurora.tasks import OFFICIAL, TaskType, of_type

CONFIG = ModelConfig(EncoderConfig(4, 48, 96, 3), pyramid_width=16, image_size=(64, 64))
ROWS = {
    TaskType.SEGMENTATION: torch.tensor([0, 1, 3]),
    TaskType.CLASSIFICATION: torch.tensor([1]),
    TaskType.DETECTION: torch.tensor([2, 2]),
    TaskType.REGRESSION: torch.tensor([3]),
}


@pytest.fixture(scope="module", params=[(64, 64), (64, 128)], ids=str)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return replace(CONFIG, image_size=request.param)


@pytest.fixture(scope="module")
def model(config: ModelConfig) -> Aurora:
    torch.manual_seed(0)
    return Aurora(config, OFFICIAL).eval()


@pytest.fixture(scope="module")
def images(config: ModelConfig) -> torch.Tensor:
    return torch.randint(0, 256, (4, *config.image_size, 3), dtype=torch.uint8)


def test_shapes(model: Aurora, images: torch.Tensor) -> None:
    height, width = model.config.image_size
    shapes = {kind: tuple(output.shape) for kind, output in model(images, ROWS).items()}
    assert shapes == {
        TaskType.SEGMENTATION: (3, 31, height // 4, width // 4),
        TaskType.CLASSIFICATION: (1, 40),
        TaskType.DETECTION: (2, 15, height // 8, width // 8),
        TaskType.REGRESSION: (1, 7, height // 4, width // 4),
    }


@torch.no_grad()
def test_a_mixed_batch_equals_one_image_at_a_time(model: Aurora, images: torch.Tensor) -> None:
    together = model(images, ROWS)
    for kind, index in ROWS.items():
        for place, image in enumerate(index.tolist()):
            alone = model(images[image : image + 1], {kind: torch.tensor([0])})[kind]
            torch.testing.assert_close(together[kind][place], alone[0], atol=1e-5, rtol=1e-4)


def test_no_parameter_appears_after_init_and_every_one_learns(images: torch.Tensor) -> None:
    model = Aurora(CONFIG, OFFICIAL)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        outputs = model(images, ROWS)
        sum((output - torch.randn_like(output)).pow(2).mean() for output in outputs.values()).backward()
        optimizer.step()
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_pyramid_levels_are_spatially_exact() -> None:
    """A single bright token changes every level most at its own position."""
    torch.manual_seed(0)
    pyramid = Pyramid(CONFIG).eval()
    taps = [torch.randn(1, 48, 1, 1).expand(1, 48, 8, 8).contiguous() for _ in range(4)]
    moved = [tap.clone() for tap in taps]
    for tap in moved:
        tap[0, :, 2, 6] += 3 * torch.randn(48)
    with torch.no_grad():
        changes = [(a - b).abs().sum(1)[0] for a, b in zip(pyramid(moved), pyramid(taps), strict=True)]
    for change in changes:
        rows, columns = change.shape
        row, column = divmod(int(change.argmax()), columns)
        assert abs((row + 0.5) / rows - 2.5 / 8) <= 1 / rows
        assert abs((column + 0.5) / columns - 6.5 / 8) <= 1 / columns


def test_normalise_spans_minus_one_to_one() -> None:
    extremes = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    assert normalise(extremes)[0, 0, 0].tolist() == [-1.0, 1.0]


def test_a_registry_without_a_type_has_no_head_of_it() -> None:
    only = {task.id: task for task in of_type(OFFICIAL, TaskType.DETECTION)}
    assert list(Aurora(CONFIG, only).heads) == ["detection"]


@pytest.mark.parametrize("size", [(100, 64), (64, 100), (0, 64), (64, -32)])
def test_an_image_size_off_the_grid_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        replace(CONFIG, image_size=size)


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_a_configuration_comes_back_from_its_record(size: tuple[int, int]) -> None:
    config = replace(CONFIG, image_size=size)
    assert ModelConfig.from_record(json.loads(json.dumps(config.to_record()))) == config


def test_a_record_with_a_single_number_means_a_square() -> None:
    assert ModelConfig.from_record({**CONFIG.to_record(), "image_size": 64}) == CONFIG
