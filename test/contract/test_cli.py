"""The command line: its commands, flags, variables, exit codes and last lines."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from aurora import __version__
from aurora.tasks import OFFICIAL
from inference.__main__ import entrypoint
from inference.cli import main

ROOT = Path(__file__).resolve().parents[2]

TABLES = {
    "cls": "task_id,task_name,num_classes,image_path,mask\n"
    "breast_2cls,classification,2,../images/0.png,0\nbreast_2cls,classification,2,../images/1.png,1\n",
    "det": "task_id,task_name,num_classes,image_path,x_min,y_min,x_max,y_max\n"
    "thyroid_nodule_det,detection,1,../images/0.png,4,5,20,15\n",
    "reg": "task_id,task_name,num_classes,image_path,point_1_xy,point_2_xy\n"
    'FUGC,Regression,2,../images/1.png,"[1, 2]","[10, 10]"\n',
    "seg": "task_id,task_name,num_classes,image_path,mask_path\nlung,segmentation,2,../images/0.png,../masks/0.png\n",
}


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Return an input root with labelled rows of all four types and two images, 40 pixels wide and 30 high."""
    root = tmp_path / "in"
    for folder in ("csv_files", "images", "masks"):
        (root / folder).mkdir(parents=True)
    for name, text in TABLES.items():
        (root / "csv_files" / f"{name}.csv").write_text(text)
    for number in range(2):
        cv2.imwrite(str(root / "images" / f"{number}.png"), np.full((30, 40, 3), 90 * number, np.uint8))
    cv2.imwrite(str(root / "masks" / "0.png"), np.tri(30, 40, dtype=np.uint8))
    return root


@pytest.fixture
def predictions(tmp_path: Path, labelled: Path) -> Path:
    """Return predictions that agree with the labels."""
    out = tmp_path / "predictions"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "0.png").write_bytes((labelled / "masks" / "0.png").read_bytes())
    first, second = ({"image_path": f"../images/{number}.png"} for number in range(2))
    classes = [{"task_id": "breast_2cls", "predicted_class": c, "predicted_probs": [1 - c, c]} for c in (0, 1)]
    box = {"task_id": "thyroid_nodule_det", "bbox_normalized": [0.1, 1 / 6, 0.5, 0.5], "bbox_pixels": [4, 5, 20, 15]}
    normalised = [1 / 40, 2 / 30, 10 / 40, 10 / 30]
    points = {"task_id": "FUGC", "predicted_points_pixels": [1, 2, 10, 10], "predicted_points_normalized": normalised}
    entries = {
        "classification": [first | classes[0], second | classes[1]],
        "detection": [first | box],
        "regression": [second | points],
    }
    for name, found in entries.items():
        (out / f"{name}_predictions.json").write_text(json.dumps(found))
    return out


def call(*arguments: object, **variables: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=variables)


def process(*arguments: object, **variables: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inference", *map(str, arguments)],
        env=os.environ | {name: str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands_and_their_exit_codes(flag: str) -> None:
    assert {"run", "check", "score", "tasks"} <= {line.split()[0] for line in call(flag).output.splitlines() if line}
    assert "143 stopped" in call("run", flag).output


def test_the_version_is_told() -> None:
    assert __version__ in call("--version").output


@pytest.mark.parametrize(
    "arguments",
    [
        ["walk"],
        ["run"],
        ["run", "--input", "i"],
        ["run", "--input", "i", "--output", "o", "--batch-size", "0"],
        ["run", "--input", "i", "--output", "o", "--engine", "abacus"],
        ["run", "--input", "i", "--output", "o", "--device", "gpu"],
        ["run", "--input", "i", "--output", "o", "--device", "cuda:x"],
        ["run", "--input", "i", "--output", "o", "--device", "cpu:1"],
        ["check", "--input", __file__],
        ["score", "--truth", "t"],
    ],
)
def test_a_wrong_flag_ends_with_2_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


def test_check_reports_as_text_and_as_json(labelled: Path) -> None:
    assert "5 rows, 4 tasks, 2 images" in call("check", "--input", labelled).output
    report = json.loads(call("check", "--input", labelled, "--json").output)
    assert (report["rows"], report["usable"], report["problems"]) == (5, True, [])


def test_score_reports_as_text_and_as_json(labelled: Path, predictions: Path) -> None:
    place = ("--truth", labelled, "--predictions", predictions)
    text, record = call("score", *place), call("score", *place, "--json")
    assert (text.exit_code, record.exit_code) == (0, 0)
    assert "composite" in text.output
    assert json.loads(record.output)["composite"] == pytest.approx(1)


def test_score_notices_a_wrong_prediction(labelled: Path, predictions: Path) -> None:
    (predictions / "masks" / "0.png").unlink()
    result = call("score", "--truth", labelled, "--predictions", predictions, "--json")
    assert result.exit_code == 0
    assert json.loads(result.output)["composite"] == pytest.approx(0.75)


def test_the_old_name_of_compare_still_works_and_names_the_new_one(
    labelled: Path, predictions: Path, tmp_path: Path
) -> None:
    flags = ("score", "--truth", labelled, "--predictions", predictions, "--json", "--html", tmp_path / "s.html")
    pages = {}
    for flag in ("--compare", "--against"):
        result = call(*flags, flag, predictions)
        assert json.loads(result.stdout)["composite"] == pytest.approx(1)
        pages[flag] = (tmp_path / "s.html").read_bytes(), result.stderr
    assert pages["--against"] == (pages["--compare"][0], "--against is now called --compare\n")
    assert pages["--compare"][1] == ""
    assert "--against" not in call("score", "--help").output


def test_tasks_lists_the_tasks_of_the_weights(onnx_weights: Path) -> None:
    records = json.loads(call("tasks", "--weights", onnx_weights, "--json").output)
    assert set(OFFICIAL) <= {record["id"] for record in records}
    assert "fetal_plane_cls" in call("tasks", AURORA_WEIGHTS=str(onnx_weights)).output


def test_the_environment_sets_every_flag_and_a_good_run_is_silent_on_stderr(
    tmp_path: Path, labelled: Path, onnx_weights: Path
) -> None:
    ended = process(
        "run",
        AURORA_INPUT=labelled,
        AURORA_OUTPUT=tmp_path / "out",
        AURORA_WEIGHTS=onnx_weights,
        AURORA_DEVICE="cpu",
        AURORA_LIMIT=4,
        AURORA_STRICT=1,
        AURORA_PREVIEW=tmp_path / "sheet",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "predicted 4 of 4 rows" in ended.stdout.splitlines()[-1]
    assert (tmp_path / "sheet" / "preview.png").is_file()


def test_a_flag_goes_before_the_environment(labelled: Path) -> None:
    result = call("check", "--input", labelled, AURORA_INPUT=str(labelled / "nowhere"))
    assert result.exit_code == 0


def test_the_last_line_of_a_failure_is_one_plain_sentence(tmp_path: Path) -> None:
    ended = process("check", "--input", tmp_path)
    assert ended.returncode == 3
    (line,) = ended.stderr.splitlines()
    assert (
        line
        == f"error: expected {tmp_path}/csv_files/*.csv, found: nothing in {tmp_path}; give the folder that "
        + ("holds csv_files")
    )


def test_a_defect_of_ours_ends_with_6_and_says_so_last(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(root: Path, **_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("inference.check.check.check", broken)
    monkeypatch.setattr(sys, "argv", ["inference", "check", "--input", str(labelled)])
    with pytest.raises(SystemExit, match="6"):
        entrypoint()
    assert capsys.readouterr().err.splitlines()[-1] == "internal error: RuntimeError: a defect; please report it"


def test_ctrl_c_at_any_time_ends_with_143(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(root: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("inference.run.read_rows", stopped)
    monkeypatch.setattr(sys, "argv", ["inference", "run", "--input", str(labelled), "--output", str(labelled / "out")])
    with pytest.raises(SystemExit) as ended:
        entrypoint()
    assert ended.value.code == 143
    assert capsys.readouterr().err.splitlines()[-1] == "stopped by a signal"


def test_the_environment_sets_the_flags_of_every_command(labelled: Path, predictions: Path) -> None:
    ended = call("score", AURORA_TRUTH=str(labelled), AURORA_PREDICTIONS=str(predictions), AURORA_JSON="1")
    assert json.loads(ended.stdout)["composite"] > 0
    assert json.loads(call("check", AURORA_INPUT=str(labelled), AURORA_JSON="1").stdout)["rows"] > 0


@pytest.mark.parametrize(("room", "command"), [("inference", "selftest"), ("training", "export")])
def test_the_scripts_of_the_package_complete_their_words(room: str, command: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, function = scripts[f"aurora-{room}"].partition(":")
    code = f"import sys; sys.argv[0] = 'aurora-{room}'; from {module} import {function}; {function}()"
    asked = {"COMP_WORDS": f"aurora-{room} {command[:4]}", "COMP_CWORD": "1"}
    env = os.environ | asked | {f"_AURORA_{room.upper()}_COMPLETE": "bash_complete"}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [f"plain,{command}"]
