"""Evaluation without files gives what `inference run` and `inference score` give, also on faulty data."""

import csv
import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from aurora.errors import InputError
from aurora.kinds import detection
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS, ModelConfig
from aurora.predict.batch import UNLIKE_TRAINING
from aurora.runtime import files
from aurora.scoring.bootstrap import task_statistics
from aurora.scoring.score import Scores, compare, score
from aurora.tasks import OFFICIAL, TYPES, Task, TaskType, registry
from inference.plan import RunSettings
from inference.run import run
from training.cli import main
from training.data.cases import load_cases
from training.evaluation.evaluate import composite, evaluate
from training.evaluation.report import Report, as_json, as_text, report
from training.phantom import generate

TASKS = ["fetal_head", "cardiac_multi", "breast_2cls", "breast_3cls", "uterine_fibroid_det", "fetal_femur"]
# What the weights don't know, know as another type, and know with another number of classes.
FOREIGN = ["IUGC", "thyroid_nodule_det", "organ_cls"]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    generate(folder, cases=4, seed=11, tasks=TASKS, size_scale=0.3)
    return folder


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    own = [Task("thyroid_nodule_det", TaskType.CLASSIFICATION, 2), Task("organ_cls", TaskType.CLASSIFICATION, 4)]
    tasks = registry([*(OFFICIAL[name] for name in TASKS), *own])
    preset = PRESETS["tiny"]
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    checkpoint.save(path, Aurora(ModelConfig(preset.encoder, preset.pyramid_width, (64, 64)), tasks), {})
    return path


def scored(weights: Path, data: Path, out: Path) -> Scores:
    # The last bits of PyTorch's answers depend on what else is in the batch.
    run(RunSettings(input=data, output=out, weights=weights, engine="torch", device="cpu", batch_size=16))
    return score(data, out)


def assert_equal(found: Report, expected: Scores) -> None:
    for own, task in zip(found.tasks, expected.tasks, strict=True):
        assert (own.task_id, own.type, own.rows, own.predicted) == (task.task_id, task.type, task.rows, task.predicted)
        assert own.metrics == pytest.approx(task.metrics, abs=1e-6, nan_ok=True)
        assert own.composite == pytest.approx(task.composite, abs=1e-6)
    assert {kind: pytest.approx(own, abs=1e-6, nan_ok=True) for kind, own in found.types.items()} == expected.types
    assert found.composite == pytest.approx(expected.composite, abs=1e-6)


def change_row(root: Path, task: str, row: int, old: str, new: str) -> None:
    path = root / "csv_files" / f"{task}.csv"
    lines = path.read_text().splitlines()
    assert old in lines[row]
    path.write_text("\n".join([*lines[:row], lines[row].replace(old, new), *lines[row + 1 :]]) + "\n")


def image_of(root: Path, task: str, row: int) -> Path:
    case = [case for case in load_cases([root]) if case.task.id == task][row]
    return (root / "csv_files" / case.row.image_path).resolve()


@pytest.fixture(scope="module")
def faulty(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that can't be read, with and without a header; rows whose label is absent or impossible."""
    root = tmp_path_factory.mktemp("faulty") / "data"
    shutil.copytree(phantoms, root)
    generate(root, cases=3, seed=2, tasks=FOREIGN, size_scale=0.3)
    for task in ("fetal_head", "breast_2cls", "uterine_fibroid_det", "fetal_femur"):
        image_of(root, task, 1).write_bytes(b"no image")
    for task in ("cardiac_multi", "uterine_fibroid_det", "fetal_femur"):
        image = image_of(root, task, 2)
        image.write_bytes(image.read_bytes()[:300])
    line = (root / "csv_files" / "breast_3cls.csv").read_text().splitlines()[1]
    change_row(root, "breast_3cls", 1, line, line.rpartition(",")[0] + ",3")
    line = (root / "csv_files" / "breast_3cls.csv").read_text().splitlines()[2]
    change_row(root, "breast_3cls", 2, line, line.rpartition(",")[0] + ",")
    return root


def test_a_report_has_the_numbers_of_run_and_score(phantoms: Path, random_weights: Path, tmp_path: Path) -> None:
    found, expected = report(random_weights, phantoms, resamples=20), scored(random_weights, phantoms, tmp_path)
    assert_equal(found, expected)
    assert {task.type for task in found.tasks} == set(TYPES)
    assert (found.rows, found.resamples, found.problems) == (24, 20, [])


def test_faulty_data_is_counted_as_score_does(faulty: Path, random_weights: Path, tmp_path: Path) -> None:
    found, expected = report(random_weights, faulty, resamples=20), scored(random_weights, faulty, tmp_path)
    assert_equal(found, expected)
    fallbacks = {task.task_id: task.fallbacks for task in found.tasks if task.fallbacks}
    assert fallbacks == {
        "cardiac_multi": 1, "breast_2cls": 1, "uterine_fibroid_det": 2, "thyroid_nodule_det": 3, "fetal_femur": 1,
        "IUGC": 3, "fetal_head": 1,
    }  # fmt: skip
    labels = [problem for problem in expected.problems if "label" in problem]
    assert len(labels) == 3
    assert [problem.split(":")[:2] for problem in found.problems if "label" in problem] == [
        problem.split(":")[:2] for problem in labels
    ]


@pytest.mark.parametrize(
    "problem",
    [
        "breast_3cls.csv:3: the row has no label",
        "breast_3cls.csv:2: the label can't be used: expected a class below num_classes = 3, found 3",
        "IUGC: 3 of 3 rows got a fallback: the weights have no task 'IUGC'",
        "thyroid_nodule_det: 3 of 3 rows got a fallback: the weights know 'thyroid_nodule_det' as classif",
        "warnings (3): num_classes is 6, and 'organ_cls' has 4 in the weights [organ_cls.csv:2 ",
        "breast_2cls: 1 of 4 rows got a fallback: ",
    ],
)
def test_a_problem_is_named(faulty_report: Report, problem: str) -> None:
    assert sum(found.startswith(problem) for found in faulty_report.problems) == 1


@pytest.fixture(scope="module")
def faulty_report(faulty: Path, random_weights: Path) -> Report:
    return report(random_weights, faulty, resamples=50)


def test_classes_average_to_their_task(faulty_report: Report) -> None:
    for task in faulty_report.tasks:
        rows = list(task.classes.values())
        for name, metric in {"dsc": "dsc", "hd": "hd", "iou": "iou", "mre": "mre", "f1": "f1_macro"}.items():
            values = [row[name] for row in rows if not math.isnan(row.get(name, math.nan))]
            if values:
                assert sum(values) / len(values) == pytest.approx(task.metrics[metric])


def test_classes_are_numbered_as_the_challenge_does(faulty_report: Report) -> None:
    numbers = {task.task_id: list(task.classes) for task in faulty_report.tasks}
    assert (numbers["cardiac_multi"], numbers["breast_3cls"]) == ([1, 2, 3], [0, 1, 2])
    assert (numbers["uterine_fibroid_det"], numbers["fetal_femur"]) == ([1], [1, 2])


def test_boxes_that_overlap_by_half_are_found() -> None:
    cases = [{"iou": np.array([value])} for value in (0.2, 0.5, 0.8)]
    assert detection.class_metrics(cases) == {1: pytest.approx({"iou": 0.5, "found": 2 / 3})}


def test_intervals_are_those_of_the_score_page(phantoms: Path, random_weights: Path, tmp_path: Path) -> None:
    run(RunSettings(phantoms, tmp_path / "out", weights=random_weights, engine="torch", batch_size=16))
    tasks = {task.task_id: task for task in compare(phantoms, tmp_path / "out", [])}
    for task in report(random_weights, phantoms, resamples=50, batch_size=16).tasks:
        scored = tasks[task.task_id]
        expected = task_statistics(scored.type, scored.task_id, scored.rows, scored.metrics, 50)
        for name, interval in expected.intervals.items():
            same = (interval.low, interval.high, interval.undefined)
            other = task.intervals[name]
            assert (other.low, other.high, other.undefined) == pytest.approx(same, rel=1e-4, nan_ok=True), task.task_id


def test_intervals_hold_the_estimates(faulty_report: Report) -> None:
    for task in faulty_report.tasks:
        for name, value in (task.metrics | {"composite": task.composite}).items():
            found = task.intervals[name]
            assert math.isnan(value) or found.low - 1e-9 <= value <= found.high + 1e-9
    assert faulty_report.interval.low <= faulty_report.composite <= faulty_report.interval.high


def test_a_report_repeats_itself_as_strict_json(faulty: Path, random_weights: Path, faulty_report: Report) -> None:
    first = json.dumps(as_json(faulty_report), allow_nan=False)
    found = json.loads(first)
    assert first == json.dumps(as_json(report(random_weights, faulty, resamples=50)))
    assert (found["sha256"], found["seed"]) == (files.sha256(random_weights), 0)
    assert found["tasks"][0]["intervals"]["composite"].keys() == {"low", "high", "undefined"}


def test_a_single_case_has_an_interval_of_no_width(random_weights: Path, tmp_path: Path) -> None:
    generate(tmp_path, cases=1, seed=0, tasks=["breast_2cls", "fetal_femur"], size_scale=0.3)
    found = report(random_weights, tmp_path, resamples=10)
    classes, points = found.tasks
    assert math.isnan(classes.metrics["auc"])
    assert classes.intervals["auc"].undefined == 10
    assert (points.intervals["mre"].low, points.intervals["mre"].high) == pytest.approx((points.metrics["mre"],) * 2)
    assert found.interval.low == found.interval.high == pytest.approx(found.composite)


def test_a_fallback_of_another_size_is_resized_and_scores_zero(random_weights: Path, tmp_path: Path) -> None:
    generate(tmp_path, cases=1, seed=0, tasks=["fetal_head"], size_scale=0.3)
    image_of(tmp_path, "fetal_head", 0).write_bytes(b"no image")
    found = report(random_weights, tmp_path, resamples=5)
    assert (found.tasks[0].predicted, found.tasks[0].fallbacks) == (1, 1)
    assert (found.composite, found.interval.high) == (0, 0)
    assert as_text(found).splitlines()[1].split()[:10] == [
        "fetal_head", "segmentation", "1/1", "0.000", "[0.000,", "0.000]", *("DSC", "0.000", "[0.000,", "0.000]"),
    ]  # fmt: skip


def test_the_text_has_tasks_classes_and_means(faulty_report: Report) -> None:
    lines = as_text(faulty_report).splitlines()
    head = next(line for line in lines if line.startswith("cardiac_multi"))
    own = next(task for task in faulty_report.tasks if task.task_id == "cardiac_multi")
    low, high = own.intervals["hd"].low, own.intervals["hd"].high
    assert head.split()[:3] == ["cardiac_multi", "segmentation", "4/4"]
    assert head.endswith(f"HD {own.metrics['hd']:.1f} [{low:.1f}, {high:.1f}]")
    assert sum(line.startswith("cardiac_multi") and "class 3  DSC" in line for line in lines) == 1
    assert sum(line.startswith("mean") for line in lines) == 4
    assert any(line.split()[:2] == ["composite", f"{faulty_report.composite:.3f}"] for line in lines)


def test_the_command_prints_one_json_object(phantoms: Path, random_weights: Path) -> None:
    flags = ["--weights", str(random_weights), "--data", str(phantoms), "--json", "--resamples", "7", "--device", "cpu"]
    result = CliRunner().invoke(main, ["evaluate", *flags])
    assert (result.exit_code, json.loads(result.stdout)["resamples"]) == (0, 7)


def test_data_without_labels_is_an_error(random_weights: Path, tmp_path: Path) -> None:
    generate(tmp_path, cases=1, seed=0, tasks=["breast_2cls"], size_scale=0.3, split="test")
    with pytest.raises(InputError, match="none with a usable label"):
        report(random_weights, tmp_path, resamples=1)


def test_validation_is_the_report_without_distances(phantoms: Path, random_weights: Path) -> None:
    model, _ = checkpoint.load(random_weights)
    cases, expected = load_cases([phantoms]), report(random_weights, phantoms, resamples=1)
    found = evaluate(model, cases[::-1])
    for task in expected.tasks:
        metrics = {name: value for name, value in task.metrics.items() if name != "hd"}
        assert found[task.task_id] == pytest.approx(metrics | {"composite": task.composite}, abs=1e-3, nan_ok=True)
    assert composite(found, cases) == pytest.approx(expected.composite, abs=1e-3)


def test_validation_names_a_case_that_cannot_be_used_or_counts_on(phantoms: Path, random_weights: Path) -> None:
    model, _ = checkpoint.load(random_weights)
    cases = [case for case in load_cases([phantoms]) if case.task.id == "breast_2cls"]
    image = image_of(phantoms, "breast_2cls", 1)
    before = image.read_bytes()
    try:
        image.write_bytes(b"no image")
        with pytest.raises(InputError, match=r"breast_2cls\.csv:3: "):
            evaluate(model, cases)
        assert set(evaluate(model, cases, on_bad_case="skip")) == {"breast_2cls"}
    finally:
        image.write_bytes(before)


def test_an_image_of_several_rows_is_encoded_once(phantoms: Path, random_weights: Path, tmp_path: Path) -> None:
    shutil.copytree(phantoms, tmp_path / "data")
    two, three = (f"../{image_of(phantoms, task, 0).relative_to(phantoms)}" for task in ("breast_2cls", "breast_3cls"))
    change_row(tmp_path / "data", "breast_3cls", 1, three, two)
    model, _ = checkpoint.load(random_weights)
    encoded: list[int] = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0])))
    evaluate(model, load_cases([tmp_path / "data"]))
    assert encoded == [23]


def test_real_images_give_the_numbers_of_run_and_score(realus: Path, weights: Path, tmp_path: Path) -> None:
    """Five rows of each real task that the shipped weights know."""
    known = checkpoint.read_spec(weights).tasks
    cases: dict[str, int] = {}
    (tmp_path / "data" / "csv_files").mkdir(parents=True)
    for path in (realus / "val" / "csv_files").iterdir():
        lines = path.read_text().splitlines(keepends=True)[:6]
        if lines[1].partition(",")[0] not in known:
            continue
        (tmp_path / "data" / "csv_files" / path.name).write_text("".join(lines))
        cases[path.name] = len(lines) - 1
    for case in load_cases([tmp_path / "data"]):
        for name in filter(None, (case.row.image_path, case.row.mask_path)):
            target = tmp_path / "data" / name.removeprefix("../")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(realus / "val" / name.removeprefix("../"), target)
    found = report(weights, tmp_path / "data", resamples=20, device="cpu")
    assert_equal(found, scored(weights, tmp_path / "data", tmp_path / "out"))
    assert len(found.tasks) == len(cases)
    # A few validation images lie beyond the limit of the images that are like the training images.
    assert [problem for problem in found.problems if UNLIKE_TRAINING not in problem] == []


def test_without_a_number_of_classes_an_official_task_has_the_challenges(random_weights: Path, tmp_path: Path) -> None:
    generate(tmp_path, cases=2, seed=0, tasks=["breast_lesion", "breast_2cls"], size_scale=0.3)
    expected = report(random_weights, tmp_path, resamples=1)
    for table in (tmp_path / "csv_files").iterdir():
        table.write_text(table.read_text().replace(",num_classes,", ",classes,"))
    found = report(random_weights, tmp_path, resamples=1)
    assert [(task.task_id, task.metrics) for task in found.tasks] == [(t.task_id, t.metrics) for t in expected.tasks]
    for table in (tmp_path / "csv_files").iterdir():
        table.write_text(table.read_text().replace("breast_lesion,", "mine,").replace("breast_2cls,", "my_class,"))
    with pytest.raises(InputError, match="none with a usable label"):
        report(random_weights, tmp_path, resamples=1)


def test_unusual_images_and_wrong_labels_are_named(random_weights: Path, tmp_path: Path) -> None:
    generate(tmp_path, cases=2, seed=0, tasks=["uterine_fibroid_det"], size_scale=0.3)
    path = image_of(tmp_path, "uterine_fibroid_det", 0)
    deep = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 200
    path.write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    table = tmp_path / "csv_files" / "uterine_fibroid_det.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    rows = [row | {"x_min": "0.25", "y_min": "0.25", "x_max": "0.5", "y_max": "0.5"} for row in rows]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    problems = report(random_weights, tmp_path, resamples=1).problems
    assert sum("found 2 of 2 rows" in problem and "multiply fractions" in problem for problem in problems) == 1
    assert sum(problem.startswith("warnings (1): uint16 pixels were scaled") for problem in problems) == 1
