"""Scores of folders: a labelled set of all four types, and answers that miss some of it."""

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aurora.errors import InputError
from aurora.scoring.score import Scores, as_json, as_text, score
from aurora.tasks import TaskType

TABLES = {
    "seg": "mask_path\nseg,segmentation,2,../i/0.png,../Segmentation/0.png\nseg,segmentation,2,../i/1.png,"
    "../Segmentation/1.png\n",
    "cls": "mask\nc 1,classification,2,../i/0.png,0\nc 1,classification,2,../i/1.png,1\n"
    "c2,classification,3,../i/0.png,2\nc2,classification,3,../i/1.png,0\n",
    "det": "x_min,y_min,x_max,y_max\ndet,detection,1,../i/0.png,2,3,10,12\n",
    "reg": 'point_1_xy,point_2_xy\nreg,Regression,2,../i/0.png,"[1, 2]","[30, 10.5]"\n',
}
CLASSES, BOXES, POINTS = (f"{kind}_predictions.json" for kind in ("classification", "detection", "regression"))


def answer(task: str, image: int, **values: Any) -> dict[str, Any]:
    return {"task_id": task, "image_path": f"../i/{image}.png"} | values


def classified(task: str, image: int, label: int, count: int) -> dict[str, Any]:
    return answer(task, image, predicted_class=label, predicted_probs=np.eye(count)[label].tolist())


PERFECT = {
    CLASSES: [
        classified("c 1", 0, 0, 2),
        classified("c 1", 1, 1, 2),
        classified("c2", 0, 2, 3),
        classified("c2", 1, 0, 3),
    ],
    BOXES: [answer("det", 0, bbox_pixels=[2, 3, 10, 12])],
    POINTS: [answer("reg", 0, predicted_points_pixels=[1, 2, 30, 10.5])],
}


def write_mask(path: Path, columns: int, shape: tuple[int, int] = (30, 40), value: int = 1) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[:, :columns] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """An input root whose images are 40 wide and 30 high: their diagonal is 50."""
    root = tmp_path / "truth"
    (root / "csv_files").mkdir(parents=True)
    for name, rows in TABLES.items():
        (root / "csv_files" / f"{name}.csv").write_text("task_id,task_name,num_classes,image_path," + rows)
    for number in (0, 1):
        write_mask(root / "i" / f"{number}.png", 20)
        write_mask(root / "Segmentation" / f"{number}.png", 20)
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Perfect answers."""
    root = tmp_path / "out"
    for number in (0, 1):
        write_mask(root / "Segmentation" / f"{number}.png", 20)
    for name, entries in PERFECT.items():
        (root / name).write_text(json.dumps(entries))
    return root


def composites(scores: Scores) -> dict[str, float]:
    return {task.task_id: task.composite for task in scores.tasks}


def test_perfect_answers_earn_one(truth: Path, out: Path) -> None:
    scores = score(truth, out)
    assert composites(scores) == {"seg": 1, "c 1": 1, "c2": 1, "det": 1, "reg": 1}
    assert (scores.composite, scores.problems) == (1, [])
    assert scores.types[TaskType.SEGMENTATION] == {"dsc": 1, "hd": 0, "composite": 1}


def test_the_composite_is_the_mean_of_the_types_not_of_the_tasks(truth: Path, out: Path) -> None:
    wrong = [classified("c2", 0, 0, 3), classified("c2", 1, 2, 3)]
    (out / CLASSES).write_text(json.dumps(PERFECT[CLASSES][:2] + wrong))
    scores = score(truth, out)
    assert composites(scores)["c2"] == pytest.approx((0 + 0 - 1) / 3)
    assert scores.composite == pytest.approx((1 + (1 - 1 / 3) / 2 + 1 + 1) / 4)


def test_a_missing_file_scores_zero_for_its_type(truth: Path, out: Path) -> None:
    (out / CLASSES).unlink()
    scores = score(truth, out)
    assert (composites(scores)["c 1"], composites(scores)["c2"], scores.composite) == (0, 0, 0.75)
    assert f"{CLASSES} is missing: every classification task scores 0" in scores.problems


def test_an_unanswered_row_is_left_out_and_counted(truth: Path, out: Path) -> None:
    (out / "Segmentation" / "1.png").unlink()
    write_mask(out / "Segmentation" / "0.png", 10)
    task = score(truth, out).tasks[0]
    assert (task.rows, task.predicted) == (2, 1)
    assert task.metrics == pytest.approx({"dsc": 2 / 3, "hd": 10})
    assert score(truth, out).problems == ["seg: 1 of 2 rows have no prediction"]


def test_a_task_without_any_answer_scores_zero(truth: Path, out: Path) -> None:
    (out / CLASSES).write_text(json.dumps(PERFECT[CLASSES][:2]))
    assert (composites(score(truth, out))["c 1"], composites(score(truth, out))["c2"]) == (1, 0)


def test_a_box_and_points_are_compared_in_pixels(truth: Path, out: Path) -> None:
    (out / BOXES).write_text(json.dumps([answer("det", 0, bbox_pixels=[2, 3, 6, 12], bbox_normalized=[0, 0, 0, 0])]))
    (out / POINTS).write_text(json.dumps([answer("reg", 0, predicted_points_pixels=[1, 4, 30, 10.5])]))
    metrics = {task.task_id: task.metrics for task in score(truth, out).tasks}
    assert metrics["det"]["iou"] == pytest.approx(0.5)
    assert metrics["reg"] == pytest.approx({"mre": 1, "mre_score": 1 - 1 / 5})


# The published evaluator stops with an error at each of these.
UNUSABLE = [
    (BOXES, answer("det", 0, bbox_pixels=[2, 3, 10]), "expected 4 numbers as bbox_pixels, found 3"),
    (BOXES, answer("det", 0, bbox_pixels=[2, 3, 10, math.nan]), "list of finite numbers as bbox_pixels"),
    (BOXES, answer("det", 0), "list of finite numbers as bbox_pixels"),
    (POINTS, answer("reg", 0, predicted_points_pixels=[1, 2]), "expected 4 numbers as predicted_points_pixels"),
    (CLASSES, answer("c2", 0, predicted_class="2", predicted_probs=[0, 0, 1]), "a whole number as predicted_class"),
]


@pytest.mark.parametrize(("name", "entry", "problem"), UNUSABLE)
def test_a_prediction_that_the_evaluator_fails_on_is_a_problem(
    truth: Path, out: Path, name: str, entry: dict, problem: str
) -> None:
    (out / name).write_text(json.dumps([entry]))
    scores = score(truth, out)
    task = next(task for task in scores.tasks if task.task_id == entry["task_id"])
    assert (task.predicted, task.composite) == (0, 0)
    assert any(problem in named for named in scores.problems)


def test_a_class_that_the_task_does_not_have_is_a_wrong_class(truth: Path, out: Path) -> None:
    wrong = answer("c2", 0, predicted_class=3, predicted_probs=[0, 0, 1])
    (out / CLASSES).write_text(json.dumps([*PERFECT[CLASSES][:2], wrong, PERFECT[CLASSES][3]]))
    scores = score(truth, out)
    task = next(task for task in scores.tasks if task.task_id == "c2")
    assert task.predicted == 2
    assert task.metrics["accuracy"] == 0.5
    assert task.metrics["f1_macro"] == pytest.approx(1 / 3)  # of the classes 0, 2 and 3
    assert "expected predicted_class in 0..2, found 3; it counts as wrong" in scores.problems[0]


@pytest.mark.parametrize("probs", [None, [0, 1], [0.5, 0.5, 0.5], [0, 0, math.nan], "all"])
def test_unusable_probabilities_cost_the_task_its_auc(truth: Path, out: Path, probs: Any) -> None:
    odd = answer("c2", 0, predicted_class=2, predicted_probs=probs)
    (out / CLASSES).write_text(json.dumps([*PERFECT[CLASSES][:2], odd, PERFECT[CLASSES][3]]))
    scores = score(truth, out)
    task = next(task for task in scores.tasks if task.task_id == "c2")
    assert (task.predicted, task.metrics["auc"], task.metrics["accuracy"]) == (2, 0, 1)
    assert "the AUC of the task is 0" in scores.problems[0]


def test_a_mask_of_another_size_is_resized_and_named(truth: Path, out: Path) -> None:
    write_mask(out / "Segmentation" / "0.png", 10, shape=(15, 20))
    scores = score(truth, out)
    assert (scores.tasks[0].predicted, scores.tasks[0].metrics["dsc"]) == (2, 1)
    assert "expected a mask of 40x30 pixels, found 20x15; it is resized" in scores.problems[0]


def test_a_mask_of_other_values_is_scored_and_named(truth: Path, out: Path) -> None:
    write_mask(out / "Segmentation" / "0.png", 20, value=255)
    scores = score(truth, out)
    assert (scores.tasks[0].predicted, scores.tasks[0].metrics["dsc"]) == (2, 0.5)
    assert "has the class 255, expected < 2" in scores.problems[0]


def test_true_masks_of_grey_values_are_refused(truth: Path, out: Path) -> None:
    write_mask(truth / "Segmentation" / "0.png", 20, value=255)
    scores = score(truth, out)
    assert scores.tasks[0].rows == 1
    assert "the label can't be used: expected a mask of class ids below 2, found one with 255" in scores.problems[0]


def test_a_true_mask_under_another_spelling_is_named_as_the_csv_file_should_name_it(truth: Path, out: Path) -> None:
    (truth / "Segmentation" / "0.png").rename(truth / "Segmentation" / "0.PNG")
    problem = score(truth, out).problems[0]
    assert "found ../Segmentation/0.PNG: expected the ending .PNG, found .png" in problem
    assert (problem.count(".csv:"), str(truth) in problem) == (1, False)


def test_an_unreadable_mask_is_a_problem(truth: Path, out: Path) -> None:
    (out / "Segmentation" / "0.png").write_text("<html>")
    scores = score(truth, out)
    assert (scores.tasks[0].predicted, len(scores.problems)) == (1, 1)


@pytest.mark.parametrize("text", ["[{", "\xff", "{}", "[" * 100_000])
def test_an_unreadable_file_is_an_error(truth: Path, out: Path, text: str) -> None:
    (out / BOXES).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=BOXES):
        score(truth, out)


def test_answers_that_fit_no_row_are_named(truth: Path, out: Path) -> None:
    entries = [*PERFECT[BOXES], *PERFECT[BOXES], answer("det", 7), {"task_id": 1}, "x"]
    (out / BOXES).write_text(json.dumps(entries))
    scores = score(truth, out)
    assert composites(scores)["det"] == 1
    assert [problem.split(":")[0] for problem in scores.problems] == [
        f"{BOXES}, entry 2", f"{BOXES}, entry 4", f"{BOXES}, entry 5", BOXES,
    ]  # fmt: skip


def test_paths_are_joined_byte_for_byte(truth: Path, out: Path) -> None:
    (out / BOXES).write_text(json.dumps([PERFECT[BOXES][0] | {"image_path": "../i/./0.png"}]))
    assert composites(score(truth, out))["det"] == 0


def test_only_types_that_occur_take_part(truth: Path, out: Path) -> None:
    for name in ("cls", "det", "reg"):
        (truth / "csv_files" / f"{name}.csv").unlink()
    scores = score(truth, out)
    assert (list(scores.types), scores.composite) == ([TaskType.SEGMENTATION], 1)


def test_rows_without_labels_are_an_error(truth: Path, out: Path) -> None:
    for path in (truth / "csv_files").iterdir():
        path.unlink()
    (truth / "csv_files" / "a.csv").write_text("task_id,task_name,num_classes,image_path\ndet,detection,1,../i/0.png\n")
    with pytest.raises(InputError, match="usable label"):
        score(truth, out)


def test_no_folder_of_predictions_is_an_error(truth: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        score(truth, tmp_path / "absent")


def test_json_holds_none_for_what_is_not_defined(truth: Path, out: Path) -> None:
    (out / POINTS).unlink()
    found = json.loads(json.dumps(as_json(score(truth, out)), allow_nan=False))
    assert found["tasks"][-1]["metrics"] == {"mre": None, "mre_score": 0}
    assert (found["types"]["Regression"]["mre"], found["composite"]) == (None, 0.75)


def test_the_text_shows_the_true_numbers_beside_the_composite(truth: Path, out: Path) -> None:
    (out / POINTS).unlink()
    lines = as_text(score(truth, out)).splitlines()
    assert lines[1].split() == ["seg", "segmentation", "2/2", "1.000", "DSC", "1.000", "HD", "0.0"]
    assert lines[5].split() == ["reg", "Regression", "0/1", "0.000", "MRE", "-"]
    assert lines[-5].split() == ["composite", "0.750"]
    assert {line.index(cell) for line, cell in zip(lines[1:3], ("2/2", "2/2"), strict=True)} == {lines[0].index("pred")}
    assert lines[-2:] == [f"{POINTS} is missing: every Regression task scores 0", "reg: 1 of 1 rows have no prediction"]


def test_without_a_number_of_classes_an_official_task_has_the_challenges(tmp_path: Path) -> None:
    for root in (tmp_path / "truth", tmp_path / "out"):
        write_mask(root / "Segmentation" / "0.png", 20)
    (tmp_path / "truth" / "csv_files").mkdir()
    write_mask(tmp_path / "truth" / "i" / "0.png", 20)
    table = tmp_path / "truth" / "csv_files" / "a.csv"
    table.write_text(
        "task_id,task_name,image_path,mask_path\nbreast_lesion,segmentation,../i/0.png,../Segmentation/0.png\n"
    )
    scores = score(tmp_path / "truth", tmp_path / "out")
    assert scores.composite == 1
    assert scores.problems == ["a.csv:2: has the num_classes '' instead of a whole number from 1 to 256"]
    table.write_text(table.read_text().replace("breast_lesion", "mine"))
    with pytest.raises(InputError, match=r"expected a whole number in num_classes, found none in any row of its task"):
        score(tmp_path / "truth", tmp_path / "out")
