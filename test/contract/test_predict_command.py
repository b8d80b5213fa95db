"""`inference predict`: images without a CSV file, their records, masks, pictures and tables."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.small_weights import save_small_weights

import aurora
from inference.cli import main

TASKS = ("cervix_multi", "breast_2cls", "uterine_fibroid_det", "IUGC")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_weights(tmp_path_factory.mktemp("weights"), TASKS)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with images at two levels, and other files."""
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "deeper/a.png", "deeper/.hidden.png"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.GaussianBlur(rng.integers(0, 256, (60, 80)).astype(np.uint8), (0, 0), 3))
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    return tmp_path / "scans"


def predict(weights: Path, *arguments: object, stdin: str | None = None) -> Result:
    command = ["predict", *map(str, arguments), "--weights", str(weights), "--engine", "torch"]
    return CliRunner().invoke(main, command, input=stdin, catch_exceptions=False, standalone_mode=True)


def every_task() -> list[str]:
    return [word for name in TASKS for word in ("--task", name)]


def records(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]


def test_a_folder_gives_records_masks_pictures_and_tables(weights: Path, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = predict(weights, scans, "--output", out, "--pixel-size", 0.5, *every_task())
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == f"predicted 3 of 3 images; results: {out}"
    found = records(out)
    assert [(Path(r["source"]).relative_to(scans).as_posix(), r["task"]) for r in found] == [
        (name, task) for name in ("a.png", "b.jpg", "deeper/a.png") for task in TASKS
    ]
    model = aurora.load(weights, engine="torch")
    paths = list(dict.fromkeys(record["source"] for record in found))
    results = [result for group in model.predict_many(paths, TASKS, pixel_size=0.5) for result in group]
    for record, expected in zip(found, results, strict=True):
        assert {name: record[name] for name in expected.to_record()} == json.loads(json.dumps(expected.to_record()))
        assert np.array_equal(cv2.imread(str(out / record["overlay"]))[..., ::-1], expected.overlay())
        if record["type"] == "segmentation":
            assert np.array_equal(cv2.imread(str(out / record["mask"]), cv2.IMREAD_UNCHANGED), expected.mask)
    assert json.loads((out / "records" / "deeper" / "a.json").read_text()) == found[-4:]
    with (out / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["source"], row["task"], row["answer"]) for row in table] == [
        (r["source"], r["task"], r["answer"]) for r in found
    ]
    assert float(table[2]["width [mm]"]) == pytest.approx(found[2]["measurements"][0]["value"])


def test_the_page_shows_pictures_answers_and_what_went_wrong(weights: Path, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (scans / "bad<b>.png").write_bytes(b"")
    predict(weights, scans, "--output", out, *every_task())
    page = (out / "results.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 3 * len(TASKS)
    assert all(f"drawn on {record['source']}" in page for record in records(out) if record["fallback"] is None)
    assert page.count("fallback: is empty") == len(TASKS)
    assert "bad&lt;b&gt;.png" in page
    assert "bad<b>.png" not in page
    (out / "overlays" / "a.breast_2cls.png").unlink()
    predict(weights, scans, "--output", out, *every_task())  # the results of before
    page = (out / "results.html").read_text()
    assert page.count("data:image/jpeg") == 3 * len(TASKS) - 1
    assert "2 results are shown without a picture" in page


def test_files_patterns_and_a_list_name_images_too(weights: Path, scans: Path, tmp_path: Path) -> None:
    named = scans / "b.jpg", scans / "**" / "*.png", "-"
    flags = "--output", tmp_path / "out", "--task", "breast_2cls", "--save", "records"
    result = predict(weights, *named, *flags, stdin=f"{scans / 'a.png'}\n\n")
    assert result.exit_code == 0
    found = [Path(r["source"]).relative_to(scans).as_posix() for r in records(tmp_path / "out")]
    assert found == ["b.jpg", "a.png", "deeper/a.png", "a.png"]
    assert sorted(p.name for p in (tmp_path / "out" / "records").iterdir()) == [
        "a-2.json",
        "a-3.json",
        "a.json",
        "b.json",
    ]
    assert not (tmp_path / "out" / "overlays").exists()


def test_images_with_results_are_passed_over(weights: Path, scans: Path, tmp_path: Path) -> None:
    out = scans / "out"  # inside the folder of the images: its pictures are no input
    arguments = [scans, "--output", out, "--task", "cervix_multi"]
    assert predict(weights, *arguments).exit_code == 0
    first, masks = records(out), sorted((out / "masks").rglob("*.png"))
    for path in masks:
        path.unlink()
    cv2.imwrite(str(scans / "c.png"), np.zeros((50, 50), np.uint8))
    again = predict(weights, *arguments)
    assert "3 images have results already" in again.output
    assert again.output.splitlines()[-1].startswith("predicted 4 of 4 images")
    assert [r for r in records(out) if not r["source"].endswith("c.png")] == first
    assert [path.name for path in (out / "masks").rglob("*.png")] == ["c.cervix_multi.png"]
    predict(weights, *arguments, "--overwrite")
    assert len(list((out / "masks").rglob("*.png"))) == 4
    other = predict(weights, scans, "--output", out, "--task", "breast_2cls")
    assert "already" not in other.output


def test_a_bad_image_is_named_and_ends_nothing(weights: Path, scans: Path, tmp_path: Path) -> None:
    (scans / "bad.png").write_bytes(b"")
    arguments = [scans, "--output", tmp_path / "out", "--task", "cervix_multi"]
    result = predict(weights, *arguments)
    assert result.exit_code == 0
    assert result.output.splitlines()[-1].startswith("predicted 4 of 4 images, 1 results are fallbacks")
    (bad,) = (r for r in records(tmp_path / "out") if r["fallback"])
    assert (Path(bad["source"]).name, bad["fallback"], bad["answer"]) == ("bad.png", "is empty", "none: is empty")
    assert "overlay" not in bad
    assert predict(weights, *arguments, "--strict").exit_code == 10


def test_without_a_task_the_tasks_are_listed(weights: Path, scans: Path, tmp_path: Path) -> None:
    result = predict(weights, scans, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert all(name in result.output for name in TASKS)
    assert "expected --task with one of the tasks above" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "expected a file, a folder or a pattern, found 'absent', which isn't there"),
        (["empty"], "expected images in empty, found none"),
        (["one.png", "--task", "breast2cls"], "found 'breast2cls'; did you mean breast_2cls"),
        (
            ["one.png", "--save", "masks,boxes"],
            "expected --save with some of masks,overlays,records,curves,nifti,dicom, found masks,boxes",
        ),
    ],
)
def test_a_wrong_call_gets_one_sentence(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    cv2.imwrite("one.png", np.zeros((40, 40), np.uint8))
    task = [] if "--task" in arguments else ["--task", "breast_2cls"]
    command = ["predict", *arguments, *task, "--output", "out", "--weights", str(weights), "--engine", "torch"]
    result = CliRunner().invoke(main, command)
    assert message in (result.output + str(result.exception))
    assert result.exit_code != 0
