"""The pages for newcomers are followed to the letter: their blocks are run in order, in a copy of the project."""

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

ROOMS = ("aurora", "inference", "training", "weights", "test/cases")
# Real tasks of every type, under names that a user might give them.
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
    """A copy of what the pages' commands use, with the environment that runs the tests as its own."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def follow(page: str, project: Path) -> None:
    """Run the page's shell code, block by block; a block that says why it is not run is left out."""
    variables = os.environ | {"PATH": f"{project / '.venv' / 'bin'}:{os.environ['PATH']}"}
    for block in blocks(ROOT / "docs" / page, "sh"):
        if block.reason is None:
            command = ["bash", "-euo", "pipefail", "-c", block.text]
            done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_the_quickstart_and_then_the_page_on_reports_can_be_followed(project: Path) -> None:
    follow("quickstart.md", project)
    follow("reports.md", project)
    for source, answers in (
        ("test/cases", "out/predictions"),
        ("data/phantoms", "out/phantoms"),
        ("test/cases", "out/first"),
    ):
        assert verify(project / source, project / answers) == []
    assert [read_page(project / "out" / name).wrong for name in ("report.html", "score.html")] == [[], []]


def test_own_data_become_a_model_that_beats_the_trivial_answers(project: Path, realus: Path) -> None:
    lay_out(realus / "train", project / "data" / "mine")
    lay_out(realus / "val", project / "data" / "mine-test")
    lay_out(realus / "val", project / "data" / "mine-golden", rows=2)
    follow("own-data.md", project)
    truth = project / "data" / "mine-test"
    found, floor = (score(truth, project / "out" / name) for name in ("mine", "floor"))
    assert verify(truth, project / "out" / "mine") == []
    assert found.problems == []
    assert {task.task_id for task in found.tasks} == set(OWN_TASKS.values())
    assert found.composite > floor.composite + 0.1


def lay_out(source: Path, out: Path, rows: int | None = None) -> None:
    """An input root of the real cases as a user has them: under task names of their own, at most `rows` of each."""
    (out / "csv_files").mkdir(parents=True)
    for theirs, own in OWN_TASKS.items():
        with (source / "csv_files" / f"{theirs}.csv").open(encoding="utf-8", newline="") as file:
            cases = [row | {"task_id": own} for row in csv.DictReader(file)][:rows]
        with (out / "csv_files" / f"{own}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(cases[0]))
            writer.writeheader()
            writer.writerows(cases)
        for place in {row[column] for row in cases for column in ("image_path", "mask_path") if column in row}:
            (out / "csv_files" / place).resolve().parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / "csv_files" / place, (out / "csv_files" / place).resolve())
