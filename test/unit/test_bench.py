"""The bench measures real runs, in turns, and prints what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aurora.errors import DeviceError, ImageError, InputError
from aurora.rows import image_file, read_rows
from training.bench import bench
from training.bench.inputs import many_rows
from training.bench.runs import Run, Subject, Usage, measured_run, time_run

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "weights" / "aurora-tiny.safetensors"


def test_rows_are_as_many_as_asked_for_with_shares_for_every_table(sample_cases: Path, tmp_path: Path) -> None:
    many_rows(sample_cases, tmp_path / "in", 100, missing_each=10)
    found = read_rows(tmp_path / "in")
    assert (len(found.rows), found.duplicates, found.problems) == (100, 0, [])
    images = {row.image_path for row in found.rows}
    assert len(images) == 100
    absent = [image for image in images if not (tmp_path / "in" / "csv_files" / image).exists()]
    assert len(absent) == len(list(sample_cases.glob("csv_files/*.csv")))
    assert len({row.task_id for row in found.rows}) == len({row.task_id for row in read_rows(sample_cases).rows})


def test_rows_are_read_as_a_run_reads_them(tmp_path: Path) -> None:
    table = tmp_path / "data" / "csv_files" / "a.csv"
    table.parent.mkdir(parents=True)
    table.write_bytes("task_id;task_name;num_classes;image_path\nt;Classification;2;../é.png\n".encode("cp1252"))
    with pytest.raises(ImageError, match="No such file"):
        many_rows(tmp_path / "data", tmp_path / "none", 3)
    (tmp_path / "data" / "é.png").write_bytes(b"pixels")
    many_rows(tmp_path / "data", tmp_path / "in", 3)
    rows = list(read_rows(tmp_path / "in").rows)
    assert [(row.task_id, row.type, row.num_classes) for row in rows] == [("t", "classification", 2)] * 3
    assert {image_file(tmp_path / "in", row).read_bytes() for row in rows} == {b"pixels"}


def test_a_folder_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="csv_files"):
        many_rows(tmp_path, tmp_path / "in", 3)


def test_one_round_measures_the_model_the_start_and_whole_runs(sample_cases: Path) -> None:
    words = ["bench", "--data", str(sample_cases), "--engine", "onnx", "--rows", "30", "--repeats", "1", "--json"]
    # In a small process, because the peak of the one that starts another counts as the other's.
    done = subprocess.run([sys.executable, "-m", "training", *words], cwd=ROOT, capture_output=True, check=True)
    found = json.loads(done.stdout)["measured"]["onnx"]
    (run,) = found["runs"]["30"]
    assert run["rows"] == 30
    assert set(run["stages"]) == {"reading", "model", "predictions", "writing"}
    assert 0 < run["stages"]["model"] <= run["at_work"] < run["seconds"]
    assert 30e6 < run["peak_memory"] < 1e9
    assert found["first"][0]["rows"] == 1
    assert found["model"][0]["images_per_second"] > 0


def test_the_table_gives_medians_and_ranges() -> None:
    runs = [Run(100, seconds, 2 * seconds, 200_000_000, seconds - 1, {"model": seconds - 1}) for seconds in (2, 5, 3)]
    alone = [{"images_per_second": 60.0, "rows_per_second": rate} for rate in (40.0, 50.0, 80.0)]
    found = bench.Bench("here", "phantoms", 3, {"onnx": bench.Measurement(alone, runs, {100: runs})})
    lines = dict(line.strip("| ").split(" | ") for line in bench.as_text(found).splitlines()[5:])
    assert lines["model-only, rows/s"] == "50 [40, 80]"
    assert lines["time to the first prediction, whole process, s"] == "3.00 [2.00, 5.00]"
    assert lines["100 rows: rows/s, whole process"] == "33 [20, 50]"
    assert lines["100 rows: share of the model-only rate"] == "100%"
    assert lines["100 rows: model, share of the run"] == "100%"
    assert lines["100 rows: peak memory, MB"] == "200 [200, 200]"


def test_a_run_is_read_from_its_report() -> None:
    work = {"seconds": 2.0, "stages": {"reading": 1.5, "model": 1.0, "predictions": 0.5}, "threads": 2}
    run = measured_run({"rows": 30, "predicted": 30, "at_work": work}, Usage(3.0, 4.0, 50_000_000))
    assert run == Run(30, 3.0, 4.0, 50_000_000, at_work=2.0, stages=work["stages"])


def test_a_run_without_all_predictions_is_no_measurement() -> None:
    with pytest.raises(DeviceError, match="each of 30 rows, found 29"):
        measured_run({"rows": 30, "predicted": 29, "at_work": {}}, Usage(3.0, 4.0, 50_000_000))


def test_a_run_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="ended with 3"):
        time_run(Subject("onnx", "cpu", WEIGHTS), tmp_path)
