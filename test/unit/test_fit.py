"""Training end to end on small phantoms: it learns, repeats itself, and refuses what it can't use."""

import json
import re
from math import hypot
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from support.qwen import make_checkpoint

from aurora.errors import ImageError, InputError, UsageError
from aurora.images import image_size
from aurora.model import checkpoint
from aurora.rows import image_file
from aurora.tasks import OFFICIAL
from training.cli import main
from training.config import FORMER_KEYS, FitConfig, load_config
from training.data.cases import load_cases, load_sample, task_registry
from training.fit.distributed import ProcessGroup
from training.fit.log import read_log
from training.fit.loop import fit
from training.fit.state import load_state, save_state
from training.phantom import generate
from training.qwen.importer import import_encoder

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
TASKS = ["fetal_head", "breast_2cls", "uterine_fibroid_det", "fetal_femur"]
ALONE = ProcessGroup(torch.device("cpu"))
QUICK = FitConfig(
    preset="micro",
    steps=4,
    image_size=64,
    batch_size=8,
    warmup_steps=1,
    ema_decay=0.5,
    log_every=2,
    precision="fp32",
)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    generate(folder, cases=3, seed=3, tasks=TASKS, size_scale=0.4)
    return folder


def test_a_run_leaves_weights_log_and_configuration(phantoms: Path, tmp_path: Path) -> None:
    cases = load_cases([phantoms])
    config = FitConfig(**{**QUICK.model_dump(), "image_size": (64, 96)})
    weights = fit(config, cases, cases, tmp_path, ["phantoms"], ALONE)
    spec = checkpoint.read_spec(weights)
    assert spec.config.image_size == (64, 96)
    assert list(spec.tasks) == TASKS
    assert spec.provenance["data"] == ["phantoms"]
    assert FitConfig(**json.loads((tmp_path / "config.json").read_text())) == config
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4]


def test_the_same_seed_gives_the_same_weights(phantoms: Path, tmp_path: Path) -> None:
    cases = load_cases([phantoms])
    first, second = (fit(QUICK, cases, [], tmp_path / name, [], ALONE).read_bytes() for name in ("a", "b"))
    assert first == second


def test_training_starts_from_an_imported_encoder_and_keeps_what_is_frozen(phantoms: Path, tmp_path: Path) -> None:
    import_encoder(str(make_checkpoint(tmp_path / "Qwen3-VL")), tmp_path / "encoder.safetensors")
    changes = {"freeze_blocks": 6, "gradient_checkpointing": True, "layer_decay": 0.8}
    config = QUICK.model_copy(update={"encoder": tmp_path / "encoder.safetensors", **changes})
    weights = fit(config, load_cases([phantoms]), [], tmp_path / "run", [], ALONE)
    trained, published = load_file(weights), load_file(tmp_path / "encoder.safetensors")
    assert all(torch.equal(trained[f"encoder.{name}"], tensor.float()) for name, tensor in published.items())
    assert checkpoint.read_spec(weights).provenance["encoder"]["source"] == "Qwen3-VL"


def test_a_run_that_no_longer_improves_ends_early(phantoms: Path, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"steps": 50, "steps_per_epoch": 2, "learning_rate": 1e-12, "patience": 2})
    cases = load_cases([phantoms])
    fit(config, cases, cases, tmp_path, [], ALONE)
    best = [entry["best"] for entry in read_log(tmp_path / "log.jsonl")]
    assert len(best) < 25
    assert best[-1] == best[-3] > (best[-4] if len(best) > 3 else 0)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    fit(config, cases, cases, tmp_path, [], ALONE, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == written


def test_a_smaller_imported_encoder_replaces_the_presets(phantoms: Path, tmp_path: Path) -> None:
    import_encoder(str(make_checkpoint(tmp_path / "Qwen3-VL")), tmp_path / "encoder.safetensors", depth=4)
    config = QUICK.model_copy(update={"encoder": tmp_path / "encoder.safetensors", "preset": "small"})
    spec = checkpoint.read_spec(fit(config, load_cases([phantoms]), [], tmp_path / "run", [], ALONE))
    assert (spec.config.encoder.depth, spec.config.encoder.hidden_size, spec.config.pyramid_width) == (4, 192, 96)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("image_size=[64, 100]", r"multiples of 32, found \(64, 100\)"),
        ("freeze_blocks=7", "freeze_blocks: expected at most the encoder's 6 blocks, found 7"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "ablate", "leave-one-out", "pretrain"])
def test_settings_that_can_not_work_are_refused_before_the_data_is_read(
    command: str, change: str, expected: str, tmp_path: Path
) -> None:
    data = ["--source", "absent"] if command == "leave-one-out" else ["--data", "absent"]
    words = [command, "--config", str(CONFIGS / "smoke.yaml"), *data, "--out", str(tmp_path / "run"), change]
    error = CliRunner().invoke(main, words).exception
    assert isinstance(error, UsageError)
    assert re.search(expected, str(error))


def test_what_an_error_advises_may_be_changed_when_a_run_is_resumed(phantoms: Path, tmp_path: Path) -> None:
    cases = load_cases([phantoms])
    fit(QUICK, cases, [], tmp_path, [], ALONE)
    advised = {"max_skipped_steps": 3, "on_bad_case": "skip", "patience": 5, "precision": "bf16", "learning_rate": 1e-4}
    fit(QUICK.model_copy(update=advised), cases, [], tmp_path, [], ALONE, resume=True)
    with pytest.raises(UsageError, match=r"expected batch_size = 8, which the run in .* began with, found 4"):
        fit(QUICK.model_copy(update={"batch_size": 4}), cases, [], tmp_path, [], ALONE, resume=True)


def test_a_run_that_ran_out_of_patience_continues_with_more(phantoms: Path, tmp_path: Path) -> None:
    cases = load_cases([phantoms])
    config = QUICK.model_copy(update={"steps": 6, "steps_per_epoch": 1, "learning_rate": 1e-12, "patience": 1})
    fit(config, cases, cases, tmp_path, [], ALONE)
    assert len(read_log(tmp_path / "log.jsonl")) < 6
    fit(config.model_copy(update={"patience": 0}), cases, cases, tmp_path, [], ALONE, resume=True)
    assert [entry["step"] for entry in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_a_run_saved_under_former_keys_is_resumed(phantoms: Path, tmp_path: Path) -> None:
    cases = load_cases([phantoms])
    weights = fit(QUICK, cases, [], tmp_path / "start", [], ALONE)
    config = QUICK.model_copy(update={"init_from": weights, "gradient_accumulation": 2})
    fit(config, cases, cases, tmp_path / "run", [], ALONE)
    present = json.loads((tmp_path / "run" / "config.json").read_text())
    former = {name: key for key, name in FORMER_KEYS.items()}
    (tmp_path / "run" / "config.json").write_text(json.dumps({former.get(k, k): v for k, v in present.items()}))
    tensors, record = load_state(tmp_path / "run")  # type: ignore[misc]
    record["stale"] = record.pop("epochs_without_improvement")
    record["origin"]["start"] = record["origin"].pop("init_from")
    step = record.pop("step")
    save_state(tmp_path / "run", step, tensors, record, keep=1)
    fit(config, cases, cases, tmp_path / "run", [], ALONE, resume=True)
    with pytest.raises(UsageError, match="expected gradient_accumulation = 2"):
        fit(QUICK.model_copy(update={"init_from": weights}), cases, [], tmp_path / "run", [], ALONE, resume=True)


def test_an_epoch_that_can_not_be_scored_is_never_the_best(tmp_path: Path) -> None:
    """The true masks become readable after two epochs, as if a network drive came back."""
    generate(tmp_path / "train", cases=2, seed=3, tasks=["fetal_head"], size_scale=0.3)
    generate(tmp_path / "val", cases=2, seed=4, tasks=["fetal_head"], size_scale=0.3)
    cases, validation = load_cases([tmp_path / "train"]), load_cases([tmp_path / "val"])
    masks = {path: path.read_bytes() for path in (c.root / "csv_files" / str(c.row.mask_path) for c in validation)}
    for path in masks:
        path.write_bytes(b"no mask")
    changes = {"steps": 4, "steps_per_epoch": 1, "on_bad_case": "skip", "patience": 2}
    config = QUICK.model_copy(update=changes)
    weights = fit(config, cases, validation, tmp_path / "run", [], ALONE)
    log = tmp_path / "run" / "log.jsonl"
    assert [(entry["composite"], entry["best"]) for entry in read_log(log)] == [(None, None)] * 2
    assert checkpoint.read_spec(weights).provenance["step"] == 2  # better weights than none
    for path, content in masks.items():
        path.write_bytes(content)
    fit(config.model_copy(update={"patience": 0}), cases, validation, tmp_path / "run", [], ALONE, resume=True)
    entries = read_log(log)[2:]
    assert [entry["best"] for entry in entries] == [entries[0]["composite"], max(e["composite"] for e in entries)]
    assert checkpoint.read_spec(weights).provenance["step"] >= 3


@pytest.mark.parametrize(
    ("preset", "side", "steps", "rate"),
    [
        ("micro", 64, 150, 4e-3),
        pytest.param("tiny", 128, 250, 2e-3, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_eight_cases_of_each_type_are_fitted_to_near_perfection(
    tmp_path: Path, preset: str, side: int, steps: int, rate: float
) -> None:
    generate(tmp_path / "data", cases=8, seed=3, tasks=TASKS, size_scale=0.5)
    cases = load_cases([tmp_path / "data"])
    changes = {"preset": preset, "steps": steps, "steps_per_epoch": steps, "image_size": (side, side), "batch_size": 16}
    changes |= {"warmup_steps": 20, "learning_rate": rate, "ema_decay": 0.9, "augment": (), "precision": "auto"}
    fit(QUICK.model_copy(update=changes), cases, cases, tmp_path / "run", [], ALONE)
    tasks = read_log(tmp_path / "run" / "log.jsonl")[-1]["tasks"]
    diagonal = min(hypot(*image_size(image_file(c.root, c.row), c.root)) for c in cases if c.task.id == "fetal_femur")
    print(tasks)
    assert tasks["fetal_head"]["dsc"] > 0.95
    assert tasks["breast_2cls"]["accuracy"] == 1.0
    assert tasks["uterine_fibroid_det"]["iou"] > 0.95
    assert tasks["fetal_femur"]["mre"] < 0.01 * diagonal


def test_the_official_order_comes_first(phantoms: Path) -> None:
    assert list(task_registry(reversed(load_cases([phantoms])))) == TASKS


def test_blanks_around_a_task_make_no_other_task(tmp_path: Path) -> None:
    generate(tmp_path, cases=2, seed=3, tasks=["fetal_head_pos_cls"], size_scale=0.3)
    table = next((tmp_path / "csv_files").iterdir())
    table.write_text(table.read_text().replace("fetal_head_pos_cls,", '"fetal_head_pos_cls ",', 1))
    cases = load_cases([tmp_path])
    assert sorted(case.row.task_id for case in cases) == ["fetal_head_pos_cls", "fetal_head_pos_cls "]
    assert [case.task for case in cases] == 2 * [OFFICIAL["fetal_head_pos_cls"]]


def test_shipped_configurations_are_valid() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {
        "ablation",
        "smoke",
        "tiny",
        "tiny-lite0",
        "qwen3-vl-2b",
        "qwen3-vl-8b",
    }
    for path in CONFIGS.glob("*.yaml"):
        assert load_config(path, ["steps=5"]).steps == 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("stepz=5", "no key 'stepz'; the nearest is 'steps'"),
        ("steps=-1", "steps: .*found -1"),
        ("seed=-1", "seed: .*found -1"),
        ("seed=202611271205", "seed: .*found 202611271205"),
        ("steps", "expected key=value"),
    ],
)
def test_a_wrong_setting_is_named(change: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load_config(CONFIGS / "smoke.yaml", [change])


def test_a_mask_with_a_value_out_of_range_is_named(phantoms: Path) -> None:
    case = next(case for case in load_cases([phantoms]) if case.task.id == "fetal_head")
    mask = phantoms / "csv_files" / str(case.row.mask_path)
    before = mask.read_bytes()
    try:
        cv2.imwrite(str(mask), np.full(cv2.imread(str(mask), 0).shape, 9, np.uint8))
        with pytest.raises(InputError, match=r"fetal_head\.csv:2: expected a mask .* found .* with 9"):
            load_sample([case], (64, 64), None)
    finally:
        mask.write_bytes(before)


def test_an_unreadable_training_image_is_an_error(tmp_path: Path) -> None:
    generate(tmp_path, cases=1, seed=0, tasks=["breast_2cls"], size_scale=0.3)
    case = load_cases([tmp_path])[0]
    (tmp_path / "csv_files" / case.row.image_path).resolve().write_bytes(b"no image")
    with pytest.raises(ImageError):
        load_sample([case], (64, 64), None)


def test_a_validation_task_that_is_not_trained_is_named(phantoms: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other", cases=1, seed=0, tasks=["IUGC"], size_scale=0.3)
    with pytest.raises(InputError, match=r"IUGC\.csv:2: expected a task of the training data"):
        fit(QUICK, load_cases([phantoms]), load_cases([tmp_path / "other"]), tmp_path / "run", [], ALONE)
