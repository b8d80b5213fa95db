"""Each variant changes one thing and trains; a study resumes, and its table compares with the default."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import Qwen2VLImageProcessor

from aurora.errors import UsageError
from aurora.model import checkpoint
from aurora.rows import image_file, read_rows
from aurora.tasks import OFFICIAL, TYPES, TaskType, channel_slices
from training.ablation.networks import NETWORKS, PooledPoints, SharedHead, scramble
from training.ablation.study import Score, Study, as_markdown
from training.ablation.variants import DEFAULT, VARIANTS
from training.cli import main
from training.config import load_config
from training.data.cases import load_cases, load_sample
from training.fit.distributed import ProcessGroup
from training.fit.loader import collate
from training.fit.losses import regression_loss
from training.fit.trainer import Trainer
from training.phantom import generate

CONFIG = Path(__file__).resolve().parents[2] / "training" / "configs" / "ablation.yaml"
TASKS = ["fetal_head", "cardiac_multi", "breast_2cls", "organ_cls", "uterine_fibroid_det", "fetal_femur", "IUGC"]
GROUP = ProcessGroup(torch.device("cpu"))
QUICK = ["preset=micro", "steps=7", "image_size=64", "batch_size=7", "warmup_steps=1"]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    generate(folder, cases=4, seed=3, tasks=TASKS, size_scale=0.4)
    return folder


def images(count: int, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_one_thing(name: str) -> None:
    variant = VARIANTS[name]
    differences = [bool(variant.changes), name in NETWORKS, variant.per_task, variant.flip_tta]
    assert sum(differences) == (0 if name == DEFAULT else 1)
    default, changed = (load_config(CONFIG, changes).model_dump() for changes in ((), variant.changes))
    different = {key for key in default if default[key] != changed[key]}
    assert different <= {change.partition("=")[0] for change in variant.changes}
    assert bool(different) == bool(variant.changes)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_of_a_network_moves(phantoms: Path, name: str) -> None:
    config = load_config(CONFIG, [*QUICK, "warmup_steps=0", "precision=fp32", "device=cpu"])
    batch = collate([load_sample([case], (64, 64), None) for case in load_cases([phantoms])])
    tasks = {task.id: task for task in batch.targets}
    run = Trainer(config, tasks, dict.fromkeys(tasks, 4), GROUP, NETWORKS[name])
    before = {key: parameter.detach().clone() for key, parameter in run.model.named_parameters()}
    for step in (1, 2, 3):
        assert run.step(step, [batch])
    still = [key for key, parameter in run.model.named_parameters() if torch.equal(parameter, before[key])]
    # What the last map leaves out: the stem's maps of strides 4 and 8, with nothing that comes after them.
    unused = ("stem.project.0", "stem.project.1") if name == "last-map" else ()
    assert [key for key in still if not key.startswith(unused)] == []


def test_scrambling_is_the_order_of_the_published_image_processor() -> None:
    # Every patch of 16 x 16 pixels is its own grey value, 0 to 63 in rows and columns.
    places = np.arange(64, dtype=np.uint8).reshape(8, 8)
    picture = np.repeat(np.repeat(places, 16, axis=0), 16, axis=1)[..., None].repeat(3, axis=2)
    processor = Qwen2VLImageProcessor(
        patch_size=16, merge_size=2, do_resize=False, do_rescale=False, do_normalize=False, temporal_patch_size=1
    )
    patches = np.asarray(processor(images=picture, return_tensors="np")["pixel_values"])
    scrambled = scramble(torch.from_numpy(places)[None, None])
    assert not torch.equal(scrambled[0, 0], torch.from_numpy(places))
    np.testing.assert_array_equal(scrambled.flatten().numpy(), patches.mean(axis=1))


def test_a_shared_head_gives_each_task_the_first_of_its_channels() -> None:
    head = SharedHead(TaskType.CLASSIFICATION, 64, OFFICIAL).eval()
    levels = [torch.rand(2, 64, side, side) for side in (16, 8, 4, 2)]
    answer, shared = head(levels), head.head(levels)
    for name, channels in channel_slices(OFFICIAL, TaskType.CLASSIFICATION).items():
        torch.testing.assert_close(answer[:, channels], shared[:, : OFFICIAL[name].num_classes])


def test_pooled_points_are_drawn_where_they_are() -> None:
    head = PooledPoints(64, 2).eval()
    head.pooled.last.weight.data.zero_()
    head.pooled.last.bias.data = torch.tensor([-0.2, 0.1, 0.25, 0.0])
    heatmaps = head([torch.rand(1, 64, side, side) for side in (32, 16, 8, 4)])
    points = torch.tensor([[[0.3, 0.6], [0.75, 0.5]]])
    assert regression_loss(heatmaps, points).item() < 0.01
    assert regression_loss(heatmaps, points + 0.1).item() > 1


def test_a_study_trains_what_is_missing_and_reads_what_is_there(phantoms: Path, tmp_path: Path) -> None:
    study = Study(CONFIG, QUICK, [phantoms], [phantoms], tmp_path, GROUP)
    first = {name: study.score(name, 5) for name in ("one-model-per-task", "flip-tta", "no-average")}
    weights = tmp_path / DEFAULT / "seed-5" / "best.safetensors"
    assert checkpoint.read_spec(weights).provenance["config"]["seed"] == 5
    assert sorted(path.name for path in (tmp_path / "one-model-per-task" / "seed-5").iterdir()) == sorted(TASKS)
    assert set(first["one-model-per-task"].types) == set(TYPES)
    assert first["flip-tta"].images_per_second is None
    written = weights.stat().st_mtime_ns
    assert Study(CONFIG, QUICK, [phantoms], [phantoms], tmp_path, GROUP).score(DEFAULT, 5) == study.score(DEFAULT, 5)
    assert weights.stat().st_mtime_ns == written


def test_a_study_needs_cases_to_score_on(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected cases to score the variants on, found none"):
        Study(CONFIG, [*QUICK, "val_share=0"], [phantoms], [], tmp_path, GROUP)


def test_the_table_compares_seed_by_seed() -> None:
    def score(variant: str, seed: int, composite: float) -> Score:
        return Score(variant, seed, composite, {TaskType.DETECTION: composite / 2}, 10.0)

    found = [score("no-stem", 0, 0.5), score(DEFAULT, 0, 0.6), score(DEFAULT, 1, 0.8), score("no-stem", 1, 0.68)]
    head, _, default, row = as_markdown(found).splitlines()
    assert "detection" in head
    assert "segmentation" not in head
    assert default == "| `default` | nothing | 0.700 | [0.600, 0.800] |  | 0.350 | 10 |"
    assert row == "| `no-stem` | no convolutional stem | 0.590 | [0.500, 0.680] | -0.110 | 0.295 | 10 |"


def test_the_command_prints_the_variant_and_the_default(phantoms: Path, tmp_path: Path) -> None:
    arguments = ["--config", CONFIG, "--data", phantoms, "--val", phantoms, "--out", tmp_path]
    arguments += ["--variant", "no-overlays"]
    found = CliRunner().invoke(main, ["ablate", *map(str, arguments), "--seed", "3", *QUICK])
    assert found.exit_code == 0, found.output
    lines = [line.split("|")[1].strip() for line in found.output.splitlines() if line.startswith("| `")]
    assert lines == ["`default`", "`no-overlays`"]


def test_a_task_without_cases_to_score_and_cases_that_are_skipped_end_no_study(phantoms: Path, tmp_path: Path) -> None:
    generate(tmp_path / "val", cases=3, seed=4, tasks=["fetal_head", "IUGC"], size_scale=0.4)
    damaged = image_file(tmp_path / "val", read_rows(tmp_path / "val").rows[0])
    damaged.write_bytes(damaged.read_bytes()[:200])
    changes = [*QUICK, "on_bad_case=skip"]
    study = Study(CONFIG, changes, [phantoms], [tmp_path / "val"], tmp_path / "runs", GROUP)
    for name in ("one-model-per-task", "flip-tta"):
        assert set(study.score(name, 0).types) == {TaskType.SEGMENTATION, TaskType.REGRESSION}
