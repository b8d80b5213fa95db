"""Images unlike the training images are named, by a distance that the checkpoint holds."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from aurora.engine.pytorch import ModuleEngine
from aurora.model import checkpoint
from aurora.model.aurora import Aurora, normalise
from aurora.model.checkpoint import Spec
from aurora.model.config import PRESETS
from aurora.model.novelty import Novelty, channel_statistics
from aurora.predict.batch import UNLIKE_TRAINING
from aurora.predict.pipeline import predictions, read_from
from aurora.predict.request import Job, request_of
from aurora.rows import Row
from aurora.tasks import NOVELTY, OFFICIAL, registry
from inference.cli import main as inference
from training.config import FitConfig
from training.data.cases import load_cases
from training.fit.initialize import build_model
from training.phantom import generate
from training.tune.novelty import distinct_images, fit_novelty

TASKS = registry([OFFICIAL["fetal_head"], OFFICIAL["breast_2cls"]])


def fitted(training: torch.Tensor, validation: torch.Tensor) -> Novelty:
    novelty = Novelty(training.shape[1])
    novelty.fit_(training, validation, limit_share=0.9, shrinkage=1e-4)
    return novelty


def test_the_limit_includes_its_share_of_the_validation_images() -> None:
    generator = torch.Generator().manual_seed(0)
    training, validation = (torch.randn(2000, 8, generator=generator) for _ in range(2))
    found = fitted(training, validation)(validation)
    assert (found <= 1).float().mean().item() == pytest.approx(0.9, abs=0.002)


def test_a_direction_counts_by_how_much_the_training_images_vary_in_it() -> None:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(8, 8, generator=generator)
    training, validation, others = (torch.randn(2000, 8, generator=generator) for _ in range(3))
    plain = fitted(training, validation)(3 * others)
    # A distance in units of the deviation stays the same if all features are mixed, scaled and moved.
    moved = fitted(training @ mixed + 5, validation @ mixed + 5)(3 * others @ mixed + 5)
    torch.testing.assert_close(moved, plain, rtol=0.05, atol=0.01)
    assert (plain > 1).float().mean() > 0.9


def test_statistics_are_those_of_each_channel() -> None:
    maps = [torch.randn(2, 3, 5, 7), 4 + 2 * torch.randn(2, 4, 3, 3)]
    found = channel_statistics(maps)
    expected = [part for values in maps for part in (values.mean((2, 3)), values.std((2, 3), correction=0))]
    torch.testing.assert_close(found, torch.cat(expected, dim=1))


@pytest.mark.parametrize("preset", ["micro", "tiny-lite0"])
@pytest.mark.parametrize("stem", [True, False])
def test_every_network_has_features(preset: str, stem: bool) -> None:
    config = replace(PRESETS[preset], novelty=True, image_size=(64, 64))
    model = Aurora(config if stem else replace(config, stem=None, stem_width=0), TASKS)
    images = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    assert model.features(normalise(images)).shape == (2, model.num_features)
    assert model(images, {})[NOVELTY].shape == (2,)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generate(folder, cases=14, seed=1, tasks=list(TASKS), size_scale=0.3)
    return folder


@pytest.fixture(scope="module")
def model(data: Path) -> Aurora:
    torch.manual_seed(0)
    model = Aurora(PRESETS["micro"], TASKS).eval()
    cases = load_cases([data])
    fit_novelty(model, cases, cases, 8)
    return model


def test_photographs_and_noise_get_a_warning(data: Path, model: Aurora, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "noise.png"), rng.integers(0, 256, (80, 90, 3)).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((80, 90), 255, np.uint8))
    rows = [Row("breast_2cls", OFFICIAL["breast_2cls"].type, 2, f"../{name}", None, name, {})
            for name in ("noise.png", "blank.png")]  # fmt: skip
    engine = ModuleEngine(model, Spec(model.config, TASKS, {}))
    jobs = [Job([request_of(row, TASKS)]) for row in rows]
    found = list(predictions(engine, jobs, read_from(tmp_path, engine), 4, use=lambda predicted: predicted))
    assert [predicted.warnings for predicted in found] == [(UNLIKE_TRAINING,)] * 2
    assert all(predicted.fallback is None for predicted in found)
    like = [Job([request_of(case.row, TASKS)]) for case in distinct_images(load_cases([data]))]
    warned = [
        bool(p.warnings) for p in predictions(engine, like, read_from(data, engine), 4, use=lambda predicted: predicted)
    ]
    assert sum(warned) <= 1


def test_a_run_names_them(data: Path, model: Aurora, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "w.safetensors", model, {})
    shutil.copytree(data, tmp_path / "in")
    noisy = next((tmp_path / "in").rglob("breast_2cls_train_00001.*"))
    cv2.imwrite(str(noisy), np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype(np.uint8))
    command = ["run", "--input", tmp_path / "in", "--output", tmp_path / "out", "--weights", tmp_path / "w.safetensors"]
    result = CliRunner().invoke(inference, [*map(str, command), "--engine", "torch"], catch_exceptions=False)
    assert result.exit_code == 0
    (line,) = (line for line in result.output.splitlines() if UNLIKE_TRAINING in line)
    assert line.startswith("warnings (")
    assert noisy.name in line


def test_few_images_tell_nothing(data: Path) -> None:
    model = Aurora(PRESETS["micro"], TASKS).eval()
    cases = load_cases([data])
    fit_novelty(model, cases, cases[:3], 8)
    assert model.novelty is None
    assert not model.config.novelty


def test_training_goes_on_without_it(model: Aurora, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "w.safetensors", model, {})
    loaded, _ = checkpoint.load(tmp_path / "w.safetensors")
    images = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    torch.testing.assert_close(loaded(images, {})[NOVELTY], model(images, {})[NOVELTY])
    again, _ = build_model(FitConfig(steps=1, init_from=tmp_path / "w.safetensors", image_size=64), TASKS, Aurora)
    assert again.novelty is None
