"""What is learnt after training helps, is stored in the checkpoint and is applied wherever predictions are made."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from aurora.errors import InputError, WeightsError
from aurora.images.reader import ModelInput
from aurora.kinds import KINDS, check_refinements
from aurora.kinds.mask_refinements import convex_hull, fill_holes, largest_component
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.predict.predictions import RawRow, predict_row
from aurora.predict.request import request_of
from aurora.rows import Row
from aurora.scoring.reliability import calibration_error
from aurora.tasks import (
    OFFICIAL,
    Task,
    TaskType,
    from_records,
    registry,
    to_records,
    with_mirrored_views,
    without_refinements,
)
from inference.cli import main as inference
from training.cli import main as training
from training.data.cases import load_cases
from training.evaluation.evaluate import evaluate
from training.phantom import generate
from training.tune.calibration import best_temperature, calibration_curve, cross_validated
from training.tune.refinements import chosen_refinements, proposed_refinements
from training.tune.tune import tune

HEAD = replace(OFFICIAL["fetal_head"], refinements=("largest-component",), calibration=((0.0, 0.2), (1.0, 0.6)))


def drawn(*shapes: tuple[int, int, int, int, int]) -> np.ndarray:
    """A mask of rectangles: class, top, left, bottom, right."""
    mask = np.zeros((40, 60), np.uint8)
    for number, top, left, bottom, right in shapes:
        mask[top:bottom, left:right] = number
    return mask


def test_the_largest_region_of_every_class_stays() -> None:
    mask = drawn((1, 0, 0, 10, 10), (1, 20, 20, 24, 24), (2, 0, 30, 5, 35), (2, 30, 30, 40, 40))
    assert np.array_equal(largest_component(mask), drawn((1, 0, 0, 10, 10), (2, 30, 30, 40, 40)))


def test_diagonal_neighbours_are_one_region() -> None:
    mask = drawn((1, 0, 0, 3, 3), (1, 3, 3, 5, 5), (1, 20, 20, 23, 24))
    assert np.array_equal(largest_component(mask), drawn((1, 0, 0, 3, 3), (1, 3, 3, 5, 5)))


def test_holes_of_background_are_filled_and_other_classes_stay() -> None:
    ring = drawn((1, 5, 5, 25, 25), (0, 10, 10, 20, 20), (2, 12, 12, 15, 15))
    assert np.array_equal(fill_holes(ring), drawn((1, 5, 5, 25, 25), (2, 12, 12, 15, 15)))


def test_a_bay_is_filled_by_the_hull_alone() -> None:
    bay = drawn((1, 5, 5, 25, 25), (0, 5, 10, 15, 20))
    assert np.array_equal(fill_holes(bay), bay)
    assert np.array_equal(convex_hull(bay), drawn((1, 5, 5, 25, 25)))


@pytest.mark.parametrize("step", KINDS[TaskType.SEGMENTATION].REFINEMENTS.values())
@pytest.mark.parametrize("mask", [drawn(), drawn((1, 0, 0, 40, 60)), drawn((3, 7, 7, 8, 8)), drawn((2, 3, 0, 4, 60))])
def test_plain_masks_stay_as_they_are(step, mask: np.ndarray) -> None:
    before = mask.copy()
    assert np.array_equal(step(mask), before)
    assert np.array_equal(mask, before)


def test_the_registry_stores_them() -> None:
    restored = from_records(json.loads(json.dumps(to_records(registry([HEAD])))))
    assert restored["fetal_head"] == HEAD
    assert without_refinements(restored)["fetal_head"] == replace(HEAD, refinements=())


def test_an_unknown_refinement_is_named() -> None:
    with pytest.raises(WeightsError, match=r"refine fetal_head by 'sharpen', expected one of largest-component"):
        check_refinements(registry([replace(HEAD, refinements=("sharpen",))]))
    with pytest.raises(WeightsError, match="expected one of none"):
        check_refinements(registry([replace(OFFICIAL["breast_2cls"], refinements=("sharpen",))]))


def test_predictions_are_refined_and_confidences_calibrated() -> None:
    row = Row("fetal_head", TaskType.SEGMENTATION, 2, "../images/1.png", None, "a.csv:2", {})
    raw = np.stack([np.zeros((10, 15)), drawn((1, 0, 0, 20, 20), (1, 32, 32, 40, 40))[2::4, 2::4] * 8.0 - 4]).astype(
        "f"
    )
    outcomes = [
        predict_row(RawRow(request_of(row, registry([task])), ModelInput(None, (40, 60)), raw, None, None, last=True))
        for task in (HEAD, OFFICIAL["fetal_head"])
    ]
    refined, plain = (outcome.prediction for outcome in outcomes)
    assert isinstance(plain, np.ndarray)
    assert plain[36, 36] == 1
    assert np.array_equal(refined, largest_component(plain))
    assert outcomes[0].confidence == pytest.approx(0.2 + 0.4 * (outcomes[1].confidence or 0))


def test_only_refinements_that_help_are_kept() -> None:
    truth = drawn((1, 5, 5, 25, 25))
    spotted = [drawn((1, 5, 5, 25, 25), (1, 35, 50, 38, 53))] * 3

    def score(masks) -> tuple[float, float]:
        return np.mean([np.mean(mask == truth) for mask in masks]), 0.0

    kept, refined = chosen_refinements(spotted, score, HEAD, ["largest-component", "convex-hull"])
    assert kept == ("largest-component",)
    assert np.array_equal(refined[0], truth)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (probabilities.cumsum(1) > rng.random((4000, 1))).argmax(1)
    scaled = logits * factor
    log_probabilities = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
    assert best_temperature(log_probabilities, labels) == pytest.approx(factor, rel=0.1)


def test_a_calibration_has_the_mean_of_the_scores_and_never_falls() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.3, 1, 50)
    for scores in (raw * 0.5 + rng.normal(0, 0.05, 50), 1 - raw):
        curve = calibration_curve(raw, scores)
        expected = np.interp(raw, *zip(*curve, strict=True))
        assert expected.mean() == pytest.approx(scores.mean(), abs=0.002)
        assert (np.diff([score for _, score in curve]) >= 0).all()
    assert calibration_curve(np.full(3, 0.5), np.array([0.2, 0.4, 0.6])) == ((0.0, 0.4), (1.0, 0.4))


def test_the_calibration_error_weighs_bins_by_their_cases() -> None:
    confidences = np.array([0.95] * 8 + [0.15] * 2)
    scores = np.array([1.0] * 6 + [0.0] * 2 + [0.15] * 2)
    assert calibration_error(confidences, scores) == pytest.approx(0.8 * 0.2)
    assert calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0


@pytest.mark.parametrize("count", [3, 23])
def test_a_cross_validated_confidence_is_not_fitted_on_its_own_case(count: int) -> None:
    seen: list[tuple[set[int], set[int]]] = []

    def fit(known: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        def calibrated(held_out: np.ndarray) -> np.ndarray:
            seen.append(({*known.tolist()}, {*held_out.tolist()}))
            return held_out / count

        return calibrated

    assert np.array_equal(cross_validated(fit, count), np.arange(count) / count)
    assert all(known | held_out == {*range(count)} and not known & held_out for known, held_out in seen)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generate(folder, cases=12, seed=1, tasks=["fetal_head", "breast_2cls", "thyroid_nodule_det"], size_scale=0.3)
    return folder


def test_labels_propose_what_they_look_like(data: Path) -> None:
    proposed = proposed_refinements(load_cases([data]), OFFICIAL)
    assert proposed == {"fetal_head": ("largest-component", "fill-holes", "convex-hull")}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tasks = [OFFICIAL[name] for name in ("fetal_head", "breast_2cls", "thyroid_nodule_det")]
    model = Aurora(PRESETS["micro"], registry([*tasks, Task("head", TaskType.SEGMENTATION, 2, alias="fetal_head")]))
    checkpoint.save(tmp_path / "model.safetensors", model, {"step": 1})
    return tmp_path / "model.safetensors"


def classifier(model: Aurora) -> torch.Tensor:
    return model.heads[TaskType.CLASSIFICATION].get_submodule("last").get_parameter("weight")


def test_a_tuned_checkpoint_has_all_of_it(data: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.safetensors"
    arguments = ["tune", "--weights", str(weights), "--data", str(data), "--val", str(data), "--out", str(out)]
    assert CliRunner().invoke(training, arguments, catch_exceptions=False).exit_code == 0
    tuned, spec = checkpoint.load(out)
    plain, _ = checkpoint.load(weights)
    tasks = spec.tasks
    assert spec.provenance == {"step": 1, "tuned_on": [data.name]}
    assert len(tasks["fetal_head"].calibration) >= 2
    assert tasks["head"].calibration == tasks["fetal_head"].calibration
    assert tasks["head"].refinements == tasks["fetal_head"].refinements
    assert tasks["breast_2cls"].calibration == ()
    last, before = (
        m.heads[TaskType.CLASSIFICATION].get_submodule("last").get_parameter("weight") for m in (tuned, plain)
    )
    ratio = (before / last).flatten()
    assert ratio.allclose(ratio[0])
    cases = load_cases([data])
    assert evaluate(tuned, cases)["fetal_head"]["dsc"] >= evaluate(plain, cases)["fetal_head"]["dsc"]
    figure = cv2.imread(str(tmp_path / "tuned.png"))
    assert figure is not None
    assert len(np.unique(figure.reshape(-1, 3), axis=0)) > 20


def test_a_mirrored_view_is_kept_where_it_helps_enough(data: Path, weights: Path, tmp_path: Path) -> None:
    tasks = tune(weights, [data], [data], tmp_path / "tuned.safetensors")
    cases = load_cases([data])
    model, _ = checkpoint.load(weights)
    plain = evaluate(model, cases)
    model.tasks = with_mirrored_views(model.tasks)
    mirrored = evaluate(model, cases)
    gains = {name: mirrored[name]["composite"] - metrics["composite"] for name, metrics in plain.items()}
    assert {name for name in gains if tasks[name].mirrored} == {name for name, gain in gains.items() if gain >= 0.005}
    assert 0 < sum(tasks[name].mirrored for name in gains) < len(gains)  # this model and data have both kinds
    assert tasks["head"].mirrored == tasks["fetal_head"].mirrored


def test_an_alias_is_not_tuned_on_its_own(data: Path, tmp_path: Path) -> None:
    tasks = registry([OFFICIAL["lung_2cls"], replace(OFFICIAL["breast_2cls"], alias="lung_2cls")])
    checkpoint.save(tmp_path / "model.safetensors", Aurora(PRESETS["micro"], tasks), {})
    with pytest.raises(InputError, match="expected rows of lung_2cls in"):
        tune(tmp_path / "model.safetensors", [data], [data], tmp_path / "out.safetensors")


def test_fast_runs_leave_refinements_out(data: Path, weights: Path, tmp_path: Path) -> None:
    model, spec = checkpoint.load(weights)
    model.tasks = {**spec.tasks, "fetal_head": replace(HEAD, calibration=(), refinements=("convex-hull",))}
    refined = tmp_path / "refined.safetensors"
    checkpoint.save(refined, model, {})
    masks = {}
    for name, file, flags in (("plain", weights, []), ("refined", refined, []), ("fast", refined, ["--fast"])):
        command = ["run", "--input", data, "--output", tmp_path / name, "--weights", file, "--engine", "torch", *flags]
        assert CliRunner().invoke(inference, [*map(str, command)], catch_exceptions=False).exit_code == 0
        paths = sorted((tmp_path / name).rglob("*.png"))
        masks[name] = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
    assert len(masks["plain"]) == 12
    assert all(map(np.array_equal, masks["plain"], masks["fast"]))
    assert all(np.array_equal(convex_hull(a), b) for a, b in zip(masks["plain"], masks["refined"], strict=True))
    assert not all(map(np.array_equal, masks["plain"], masks["refined"]))


def test_validation_data_without_a_task_of_the_weights_is_an_error(weights: Path, tmp_path: Path) -> None:
    generate(tmp_path / "val", cases=1, seed=1, tasks=["IUGC"], size_scale=0.3)
    with pytest.raises(InputError, match="expected rows of breast_2cls, fetal_head, thyroid_nodule_det in"):
        tune(weights, [tmp_path / "val"], [tmp_path / "val"], tmp_path / "out.safetensors")
