"""A task may be predicted by another's channels: the same predictions, said wherever tasks are listed."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from aurora.errors import UsageError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.tasks import OFFICIAL, Task, TaskType, channel_slices, from_records, of_type, registry, to_records
from inference.cli import main as inference
from training.cli import main as training
from training.data.cases import described
from training.fit.initialize import load_pretrained
from training.phantom import generate

HEAD = Task("seg_head", TaskType.SEGMENTATION, 2, trained_on="photographs")
ALIAS = Task("fetal_head", TaskType.SEGMENTATION, 2, alias="seg_head")
OTHER = Task("breast_lesion", TaskType.SEGMENTATION, 2)
TASKS = registry([ALIAS, OTHER, HEAD])


def test_an_alias_has_the_channels_of_its_task() -> None:
    slices = channel_slices(TASKS, TaskType.SEGMENTATION)
    assert slices == {"breast_lesion": slice(0, 2), "seg_head": slice(2, 4), "fetal_head": slice(2, 4)}
    assert of_type(TASKS, TaskType.SEGMENTATION) == [OTHER, HEAD]
    last = Aurora(PRESETS["micro"], TASKS).heads[TaskType.SEGMENTATION].get_submodule("last")
    assert last.get_parameter("bias").shape == (4,)


def test_records_keep_alias_and_description() -> None:
    restored = from_records(json.loads(json.dumps(to_records(TASKS))))
    assert restored == TASKS
    assert restored["seg_head"].trained_on == "photographs"


def test_records_of_earlier_checkpoints_have_neither() -> None:
    assert from_records([{"id": "lung", "type": "segmentation", "num_classes": 2}])["lung"].alias is None


@pytest.mark.parametrize(
    "target",
    [None, replace(HEAD, num_classes=3), replace(HEAD, type=TaskType.CLASSIFICATION), replace(HEAD, alias="seg_head")],
    ids=["missing", "size", "type", "alias"],
)
def test_an_alias_needs_a_task_of_its_type_and_size(target: Task | None) -> None:
    with pytest.raises(ValueError, match=r"alias of '(fetal_head|seg_head)': expected a "):
        registry([ALIAS, *([target] if target else [])])


def test_a_configuration_describes_the_tasks_of_the_data(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aurora.training")
    data = registry([replace(HEAD, trained_on="")])
    tasks = described(
        data,
        {"fetal_head": "seg_head", "lung": "absent"},
        {"seg_head": ["background", "head"]},
        {"seg_head": "photographs", "gone": "text"},
    )
    assert tasks == registry([HEAD, ALIAS])
    assert tasks["fetal_head"].trained_on == "photographs"
    assert tasks["fetal_head"].names == ("background", "head")
    assert from_records(to_records(tasks))["fetal_head"].names == ("background", "head")
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["absent", "gone"]


@pytest.mark.parametrize(
    "aliases", [{"breast_2cls": "seg_head"}, {"seg_head": "breast_lesion"}, {"cervix_multi": "seg_head"}]
)
def test_an_impossible_alias_is_a_usage_error(aliases: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"alias of |is defined twice"):
        described(registry([OTHER, HEAD]), aliases, {}, {})


def test_names_are_as_many_as_the_classes() -> None:
    with pytest.raises(UsageError, match=r"^names of 'seg_head': expected 2, found 3; correct it"):
        described(registry([HEAD]), {}, {"seg_head": ["a", "b", "c"]}, {})


def test_weights_of_an_alias_start_a_task_of_its_own() -> None:
    trained, model = Aurora(PRESETS["micro"], TASKS), Aurora(PRESETS["micro"], registry([OFFICIAL["fetal_head"]]))
    load_pretrained(model, trained)
    weight = trained.heads[TaskType.SEGMENTATION].get_submodule("last").get_parameter("weight")
    assert model.heads[TaskType.SEGMENTATION].get_submodule("last").get_parameter("weight").equal(weight[2:4])


def test_both_names_get_the_same_masks(tmp_path: Path) -> None:
    generate(tmp_path / "data", cases=3, seed=1, tasks=["breast_lesion"], size_scale=0.3)
    changes = ["preset=micro", "image_size=64", "steps=2", "aliases={lung: breast_lesion}"]
    changes += ["trained_on={breast_lesion: phantoms}", "precision=fp32"]
    arguments = ["--config", "training/configs/smoke.yaml", "--data", str(tmp_path / "data"), "--out", str(tmp_path)]
    assert CliRunner().invoke(training, ["fit", *arguments, *changes], catch_exceptions=False).exit_code == 0
    weights = tmp_path / "best.safetensors"
    assert list(checkpoint.read_spec(weights).tasks) == ["breast_lesion", "lung"]
    listed = CliRunner().invoke(inference, ["tasks", "--weights", str(weights)], catch_exceptions=False).output
    assert listed.splitlines()[1].split() == [
        "lung",
        "segmentation",
        "2",
        "predicted",
        "as",
        "breast_lesion;",
        "phantoms",
    ]

    table = tmp_path / "data" / "csv_files" / "breast_lesion.csv"
    text = table.read_text(encoding="utf-8")
    table.with_name("lung.csv").write_text(text.replace("breast_lesion,", "lung,").replace("MASKS/", "MASKS/lung_"))
    command = ["run", "--input", str(tmp_path / "data"), "--output", str(tmp_path / "out"), "--weights", str(weights)]
    assert CliRunner().invoke(inference, [*command, "--engine", "torch"], catch_exceptions=False).exit_code == 0
    masks = {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (tmp_path / "out").rglob("*.png")}
    pairs = [(mask, masks[f"lung_{name}"]) for name, mask in masks.items() if not name.startswith("lung_")]
    assert len(pairs) == 3
    for own, alias in pairs:
        assert np.array_equal(own, alias)
