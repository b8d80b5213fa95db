"""A run may begin with a checkpoint: what that has learnt of the same tasks is kept, and the rest is learnt anew."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aurora.errors import UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS, EncoderConfig, ModelConfig
from aurora.runtime import files
from aurora.tasks import OFFICIAL, Registry, Task, TaskType, channel_slices, registry
from training.ablation.networks import NETWORKS
from training.config import FitConfig
from training.data.cases import load_cases
from training.fit.distributed import ProcessGroup
from training.fit.initialize import build_model
from training.fit.loop import fit
from training.phantom import generate

CONFIG = FitConfig(
    preset="micro",
    steps=2,
    image_size=64,
    batch_size=4,
    warmup_steps=0,
    precision="fp32",
    device="cpu",
    val_share=0,
)
#: Not the shape of any preset.
SHAPE = ModelConfig(EncoderConfig(4, 64, 128, 2), pyramid_width=32, image_size=(96, 96), stem_width=8)
KNOWN = {name: OFFICIAL[name] for name in ("lung", "cervix_multi", "breast_2cls", "uterine_fibroid_det", "IUGC")}
NEW = registry([Task("my_outline", TaskType.SEGMENTATION, 3), Task("my_class", TaskType.CLASSIFICATION, 4)])


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    model = Aurora(SHAPE, KNOWN)
    # Norms and biases of fresh models are alike.
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    checkpoint.save(tmp_path / "start.safetensors", model, {"data": ["elsewhere"]})
    return tmp_path / "start.safetensors"


def begun(start: Path, tasks: Registry) -> tuple[Aurora, dict]:
    model, origin = build_model(CONFIG.model_copy(update={"init_from": start}), tasks, Aurora)
    return model.eval(), origin


def answers(model: Aurora) -> dict[str, torch.Tensor]:
    """The raw answers to two images by task."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)
    kinds = {task.type for task in model.tasks.values()}
    with torch.no_grad():
        raw = model(images, {kind: torch.arange(2) for kind in kinds})
    return {
        name: raw[kind][:, channels] for kind in kinds for name, channels in channel_slices(model.tasks, kind).items()
    }


def test_tasks_that_are_known_are_answered_as_before_wherever_their_channels_now_lie(start: Path) -> None:
    tasks = {**NEW, **dict(reversed(KNOWN.items()))}
    model, origin = begun(start, tasks)
    assert model.config == replace(SHAPE, image_size=(64, 64))
    assert origin["init_from"] == {"sha256": files.sha256(start), "data": ["elsewhere"]}
    before, after = answers(checkpoint.load(start)[0]), answers(model)
    assert before.keys() == KNOWN.keys()
    assert after.keys() == tasks.keys()
    for name, expected in before.items():
        torch.testing.assert_close(after[name], expected, rtol=1e-4, atol=1e-5)


def test_what_is_not_known_is_as_random_as_without_a_start(start: Path) -> None:
    changed = replace(KNOWN["breast_2cls"], num_classes=3)
    model, _ = begun(start, {**NEW, "lung": KNOWN["lung"], "breast_2cls": changed})
    known = checkpoint.load(start)[0]
    last = model.heads["classification"].get_submodule("last")
    assert torch.equal(model.heads["classification"].gated.weight, known.heads["classification"].gated.weight)
    found = last.get_parameter("weight")
    taken = known.heads["classification"].get_submodule("last").get_parameter("weight")
    assert found.shape == (7, 64)
    assert not any(torch.equal(row, other) for row in found for other in taken)


def test_a_task_that_now_knows_left_from_right_is_the_same(start: Path) -> None:
    model, _ = begun(start, {"lung": replace(KNOWN["lung"], left_right=True)})
    torch.testing.assert_close(answers(model)["lung"], answers(checkpoint.load(start)[0])["lung"])


def test_training_goes_on_from_it_and_says_so(start: Path, tmp_path: Path) -> None:
    generate(tmp_path / "phantoms", cases=2, seed=3, tasks=["lung", "fetal_femur"], size_scale=0.4)
    config = CONFIG.model_copy(update={"init_from": start, "learning_rate": 1e-9})
    weights = fit(
        config, load_cases([tmp_path / "phantoms"]), [], tmp_path / "run", [], ProcessGroup(torch.device("cpu"))
    )
    model, spec = checkpoint.load(weights)
    assert list(spec.tasks) == ["lung", "fetal_femur"]
    assert spec.provenance["init_from"]["sha256"] == files.sha256(start)
    torch.testing.assert_close(answers(model)["lung"], answers(checkpoint.load(start)[0])["lung"], rtol=1e-3, atol=1e-4)


def test_a_resumed_run_wants_the_start_that_it_began_with(start: Path, tmp_path: Path) -> None:
    generate(tmp_path / "phantoms", cases=2, seed=3, tasks=["lung"], size_scale=0.4)
    config, cases = CONFIG.model_copy(update={"init_from": start}), load_cases([tmp_path / "phantoms"])
    run = tmp_path / "run"
    weights = fit(config, cases, [], run, [], ProcessGroup(torch.device("cpu")))
    fit(config, cases, [], run, [], ProcessGroup(torch.device("cpu")), resume=True)
    start.write_bytes(weights.read_bytes())
    files.record_checksum(start)
    with pytest.raises(WeightsError, match=r"weights that the run in .* began with, found others in init_from"):
        fit(config, cases, [], run, [], ProcessGroup(torch.device("cpu")), resume=True)


def test_an_encoder_and_a_start_are_one_too_many(start: Path) -> None:
    config = CONFIG.model_copy(update={"init_from": start, "encoder": start})
    with pytest.raises(
        UsageError,
        match=r"expected encoder or init_from, found encoder=.* and init_from=.*; leave one out, as encoder=null does",
    ):
        build_model(config, KNOWN, Aurora)


def test_a_start_that_is_no_checkpoint_is_named(start: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no checkpoint .*nothing\.safetensors; name one with init_from=FILE"):
        begun(tmp_path / "nothing.safetensors", KNOWN)
    start.write_bytes(start.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="is damaged"):
        begun(start, KNOWN)


@pytest.mark.parametrize("name", ["last-map", "no-stem", "pooled-landmarks", "shared-heads"])
def test_a_network_of_another_make_can_not_start_from_it(start: Path, name: str) -> None:
    config = CONFIG.model_copy(update={"init_from": start})
    with pytest.raises(UsageError, match="expected the same network as in init_from, found another "):
        build_model(config, KNOWN, NETWORKS[name])


def test_without_a_start_the_preset_counts() -> None:
    model, origin = build_model(CONFIG, KNOWN, Aurora)
    assert model.config == replace(PRESETS["micro"], image_size=(64, 64))
    assert origin == {"encoder": {}}
