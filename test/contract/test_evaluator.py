"""`score` gives the numbers of the challenge's published evaluator, on whole, missing and malformed predictions."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.evaluator import evaluate

from aurora.scoring.score import score
from inference.plan import RunSettings
from inference.run import run
from training.phantom import generate

TASKS = (
    "breast_lesion", "cardiac_multi", "breast_2cls", "breast_3cls", "uterine_fibroid_det", "thyroid_nodule_det", "FUGC",
    "IUGC",
)  # fmt: skip
CLASSES, BOXES, POINTS = (f"{name}_predictions.json" for name in ("classification", "detection", "regression"))


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled phantoms of all four types, every class among them."""
    root = tmp_path_factory.mktemp("evaluator") / "truth"
    generate(root, cases=6, seed=5, tasks=TASKS, size_scale=0.4, split="val")
    return root


@pytest.fixture(scope="module")
def predicted(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The predictions of the shipped weights."""
    out = tmp_path_factory.mktemp("evaluator") / "out"
    assert run(RunSettings(truth, out)) == 0
    return out


def edit(out: Path, name: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    entries = json.loads((out / name).read_text(encoding="utf-8"))
    change(entries)
    (out / name).write_text(json.dumps(entries), encoding="utf-8")


def of(entries: list[dict[str, Any]], task_id: str) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["task_id"] == task_id]


def mask(out: Path, task_id: str) -> Path:
    return min(out.rglob(f"{task_id}_*.png"))


def resize_mask(out: Path) -> None:
    for task_id, factor in (("breast_lesion", 0.5), ("cardiac_multi", 1.7)):
        path = mask(out, task_id)
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST))


def odd_values(out: Path) -> None:
    path = mask(out, "breast_lesion")
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED) * np.uint8(255))


def empty_mask(out: Path) -> None:
    path = mask(out, "cardiac_multi")
    cv2.imwrite(str(path), np.zeros_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "whole": lambda out: None,
    "a mask is missing": lambda out: mask(out, "breast_lesion").unlink(),
    "a mask can't be read": lambda out: mask(out, "breast_lesion").write_bytes(b"<html>"),
    "masks have another size": resize_mask,
    "a mask has values that are no class": odd_values,
    "a mask is empty": empty_mask,
    "entries are missing": lambda out: [edit(out, name, lambda all: all.pop(2)) for name in (CLASSES, BOXES, POINTS)],
    "classes that don't exist": lambda out: edit(
        out,
        CLASSES,
        lambda entries: [entries[index].update(predicted_class=number) for index, number in enumerate((9, 2, 7))],
    ),
    "a class of a task of three that doesn't exist": lambda out: edit(
        out, CLASSES, lambda entries: of(entries, "breast_3cls")[1].update(predicted_class=3)
    ),
    "no probabilities": lambda out: edit(
        out, CLASSES, lambda entries: [entry.pop("predicted_probs") for entry in entries[:1]]
    ),
    "probabilities that don't sum to 1": lambda out: edit(
        out, CLASSES, lambda entries: of(entries, "breast_3cls")[0].update(predicted_probs=[0.2, 0.2, 0.2])
    ),
    "a box turned inside out": lambda out: edit(
        out, BOXES, lambda entries: entries[0].update(bbox_pixels=entries[0]["bbox_pixels"][::-1])
    ),
    "an empty box": lambda out: edit(out, BOXES, lambda entries: entries[0].update(bbox_pixels=[5, 5, 5, 5])),
    "points outside the image": lambda out: edit(
        out, POINTS, lambda entries: entries[0].update(predicted_points_pixels=[-50, 1e4, 3, 4])
    ),
    "an entry is there twice": lambda out: edit(
        out, BOXES, lambda entries: entries.append(entries[0] | {"bbox_pixels": [0, 0, 9, 9]})
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_score_has_the_numbers_of_the_published_evaluator(
    truth: Path, predicted: Path, tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(predicted, out)
    DAMAGE[damage](out)
    expected = evaluate(truth, out)
    found = {task.task_id: task.metrics for task in score(truth, out).tasks}
    assert set(expected) == set(TASKS)
    for task_id, metrics in expected.items():
        assert {name: found[task_id][name] for name in metrics} == pytest.approx(metrics, abs=1e-9), task_id


def test_the_damage_changes_the_numbers(truth: Path, predicted: Path, tmp_path: Path) -> None:
    """A judge that can't tell a damaged set from a whole one would judge nothing."""
    whole = evaluate(truth, predicted)
    for damage in ("masks have another size", "classes that don't exist", "no probabilities", "an empty box"):
        out = tmp_path / damage
        shutil.copytree(predicted, out)
        DAMAGE[damage](out)
        assert evaluate(truth, out) != whole, damage
