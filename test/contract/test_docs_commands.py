"""Run the shell blocks of the quickstart and how-to pages in order, in a copy of the project."""

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


def test_own_data_become_a_model_that_beats_the_baseline(project: Path) -> None:
    follow("own-data.md", project)
    truth = project / "data" / "lesion" / "test"
    trained, baseline = (score(truth, project / "out" / name) for name in ("mine", "floor"))
    assert verify(truth, project / "out" / "mine") == []
    assert trained.problems == []
    assert trained.composite > baseline.composite + 0.1
    results = (project / "out" / "looked" / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(results) == 21
