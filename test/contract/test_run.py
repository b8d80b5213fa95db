"""Whole runs on the sample cases with both engines, checked by an independent reader of the contract."""

import csv
import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aurora.engine import onnx_runtime, pytorch
from aurora.engine.select import read_spec
from aurora.kinds import prediction_files
from aurora.predict import pipeline
from aurora.scoring.score import score
from aurora.tasks import OFFICIAL
from inference.plan import RunSettings
from inference.report.contact_sheet import CAPTION, COLUMNS, TILE
from inference.run import run
from training.baseline import write_baseline

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GOLDEN = HERE.parent / "golden"
verify: Callable[[Path, Path], list[str]] = runpy.run_path(str(HERE / "reader.py"))["verify"]
differences: Callable[[Path, Path], list[str]] = runpy.run_path(str(HERE / "answers.py"))["differences"]


def predict(cases: Path, out: Path, engine: str, **changes: object) -> Path:
    settings = RunSettings(input=cases, output=out, engine=engine, device="cpu", **changes)  # type: ignore[arg-type]
    assert run(settings) == 0
    return out


@pytest.fixture(scope="module")
def onnx_predictions(sample_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return predict(sample_cases, tmp_path_factory.mktemp("onnx"), "onnx")


def test_the_sample_cases_hold_every_official_task_and_an_awkward_path(sample_cases: Path) -> None:
    rows = [row for path in sample_cases.glob("csv_files/*.csv") for row in csv.DictReader(path.open(encoding="utf-8"))]
    assert {row["task_id"] for row in rows} == set(OFFICIAL)
    assert any({" ", ","} <= set(row["image_path"]) and not row["image_path"].isascii() for row in rows)
    labels = [row.get(name) for row in rows for name in ("mask", "x_min", "point_1_xy")]
    assert not any(labels)


def test_onnx_predictions_keep_the_contract(sample_cases: Path, onnx_predictions: Path) -> None:
    assert verify(sample_cases, onnx_predictions) == []


def test_onnx_predictions_are_the_golden_ones(onnx_predictions: Path) -> None:
    assert differences(GOLDEN, onnx_predictions) == []


def test_the_onnx_engine_needs_no_torch(sample_cases: Path, onnx_predictions: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path; "
        "from inference.run import run; from inference.plan import RunSettings; "
        f"run(RunSettings(input=Path({str(sample_cases)!r}), output=Path({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert differences(onnx_predictions, tmp_path) == []


def test_torch_gives_the_same_predictions(sample_cases: Path, onnx_predictions: Path, tmp_path: Path) -> None:
    assert differences(onnx_predictions, predict(sample_cases, tmp_path, "torch", batch_size=5)) == []


@pytest.mark.parametrize("engine", ["onnx", "torch"])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 2), (32, 2), (5, 1), (5, 3)])
def test_neither_batches_nor_threads_matter(
    sample_cases: Path,
    onnx_predictions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    batch_size: int,
    threads: int,
) -> None:
    for module in (onnx_runtime, pytorch, pipeline):
        monkeypatch.setattr(module, "processors", lambda: threads)
    assert differences(onnx_predictions, predict(sample_cases, tmp_path, engine, batch_size=batch_size)) == []


def test_the_order_of_the_rows_does_not_matter(sample_cases: Path, onnx_predictions: Path, tmp_path: Path) -> None:
    shutil.copytree(sample_cases, tmp_path / "in")
    for path in tmp_path.glob("in/csv_files/*.csv"):
        header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text(header + "".join(reversed(rows)), encoding="utf-8")
    out = predict(tmp_path / "in", tmp_path / "out", "onnx", batch_size=3)
    for name in prediction_files().values():
        records = json.loads((onnx_predictions / name).read_text(encoding="utf-8"))
        place = {(record["task_id"], record["image_path"]): number for number, record in enumerate(records)}
        found = json.loads((out / name).read_text(encoding="utf-8"))
        found.sort(key=lambda record: place[record["task_id"], record["image_path"]])
        (out / name).write_text(json.dumps(found), encoding="utf-8")
    assert differences(onnx_predictions, out) == []


def test_the_preview_is_a_picture_of_every_task(sample_cases: Path, tmp_path: Path) -> None:
    import cv2

    predict(sample_cases, tmp_path / "out", "onnx", preview=tmp_path / "preview")
    picture = cv2.imread(str(tmp_path / "preview" / "preview.png"))
    rows = -(-len(OFFICIAL) // COLUMNS)
    assert picture.shape == (rows * (TILE + CAPTION), COLUMNS * TILE, 3)
    pictures = picture.reshape(rows, TILE + CAPTION, COLUMNS, TILE, 3)[:, :TILE]
    expected = [number < len(OFFICIAL) for number in range(rows * COLUMNS)]
    assert pictures.any(axis=(1, 3, 4)).ravel().tolist() == expected


@pytest.mark.slow
def test_real_cases_are_predicted_alike_by_both_engines_and_beat_the_baseline(realus: Path, tmp_path: Path) -> None:
    val = realus / "val"
    onnx = predict(val, tmp_path / "onnx", "onnx")
    assert verify(val, onnx) == []
    assert differences(onnx, predict(val, tmp_path / "torch", "torch")) == []
    write_baseline(realus / "train", val, tmp_path / "trivial")
    floor = {task.task_id: task.composite for task in score(val, tmp_path / "trivial").tasks}
    scores = {task.task_id: task for task in score(val, onnx).tasks}
    assert all(task.predicted == task.rows for task in scores.values())
    learnt = {name for name, task in read_spec(None).tasks.items() if task.trained_on.startswith("real images")}
    assert learnt >= scores.keys()
    assert len(scores) == 23
    assert {name for name in scores if scores[name].composite <= floor[name]} == set()
