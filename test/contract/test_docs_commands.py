"""Run the shell blocks of the quickstart and how-to pages in order, in a copy of the project."""

import csv
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.pages import ROOT, blocks
from support.webpage import read_page

from aurora.scoring.score import score

FOLDERS = ("aurora", "inference", "training", "weights", "test/cases")
# A real task of every type, and a name that a user might give it.
OWN_TASKS = {
    "seg_breast_busi": "my_lesion",
    "cls_breast_busi": "my_diagnosis",
    "det_breast_busi": "my_lesion_box",
    "reg_fetalhead_hc18": "my_caliper",
}

verify = runpy.run_path(str(Path(__file__).with_name("reader.py")))["verify"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the files that the pages use, with the environment of the tests as `.venv`."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def follow(page: str, project: Path) -> None:
    """Run the page's shell blocks in order, except those marked as not run."""
    variables = os.environ | {"PATH": f"{project / '.venv' / 'bin'}:{os.environ['PATH']}"}
    for block in blocks(ROOT / "docs" / page, "sh"):
        if block.reason is None:
            command = ["bash", "-euo", "pipefail", "-c", block.text]
            done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_the_quickstart_and_then_the_page_on_reports_can_be_followed(project: Path) -> None:
    follow("quickstart.md", project)
    follow("reports.md", project)
    for source, predictions in (
        ("test/cases", "out/predictions"),
        ("data/phantoms", "out/phantoms"),
        ("test/cases", "out/first"),
    ):
        assert verify(project / source, project / predictions) == []
    assert [read_page(project / "out" / name).wrong for name in ("report.html", "score.html")] == [[], []]


def test_own_data_become_a_model_that_beats_the_baseline(project: Path, realus: Path) -> None:
    write_folder(realus / "train", project / "data" / "mine")
    write_folder(realus / "val", project / "data" / "mine-test")
    write_folder(realus / "val", project / "data" / "mine-golden", rows=2)
    follow("own-data.md", project)
    truth = project / "data" / "mine-test"
    trained, baseline = (score(truth, project / "out" / name) for name in ("mine", "floor"))
    assert verify(truth, project / "out" / "mine") == []
    assert trained.problems == []
    assert {task.task_id for task in trained.tasks} == set(OWN_TASKS.values())
    assert trained.composite > baseline.composite + 0.1


def write_folder(source: Path, out: Path, rows: int | None = None) -> None:
    """Write an input folder of the real cases under the names of `OWN_TASKS`, at most `rows` per task."""
    (out / "csv_files").mkdir(parents=True)
    for task_id, new_id in OWN_TASKS.items():
        with (source / "csv_files" / f"{task_id}.csv").open(encoding="utf-8", newline="") as file:
            cases = [row | {"task_id": new_id} for row in csv.DictReader(file)][:rows]
        with (out / "csv_files" / f"{new_id}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(cases[0]))
            writer.writeheader()
            writer.writerows(cases)
        for path in {row[column] for row in cases for column in ("image_path", "mask_path") if column in row}:
            (out / "csv_files" / path).resolve().parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / "csv_files" / path, (out / "csv_files" / path).resolve())
