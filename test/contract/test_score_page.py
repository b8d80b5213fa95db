"""`score --html`: the page of scores, alone and against other answers."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.webpage import read_page

from aurora.kinds import prediction_files
from aurora.tasks import TaskType
from inference.cli import main
from inference.plan import RunSettings
from inference.run import run
from training.phantom import generate


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled")
    generate(root, cases=4, seed=5, split="val", workers=1)
    return root


@pytest.fixture(scope="module")
def answers(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("answers")
    assert run(RunSettings(labelled, out, device="cpu")) == 0
    return out


@pytest.fixture
def worse(answers: Path, tmp_path: Path) -> Path:
    """The same answers, but that every box is a corner of the image, and that two tasks are left out."""
    folder = shutil.copytree(answers, tmp_path / "worse")
    boxes = folder / prediction_files()[TaskType.DETECTION]
    records = json.loads(boxes.read_text(encoding="utf-8"))
    for record in records:
        record["bbox_pixels"] = [0, 0, 1, 1]
    boxes.write_text(json.dumps(records), encoding="utf-8")
    for task in ("Two/lung", "Two/cervix"):
        shutil.rmtree(folder / "Segmentation" / task)
    return folder


def test_the_page_shows_what_the_table_says(labelled: Path, answers: Path, tmp_path: Path) -> None:
    result = call("score", "--truth", labelled, "--predictions", answers, "--html", tmp_path / "new" / "s.html")
    assert result.exit_code == 0, result.output
    page = read_page(tmp_path / "new" / "s.html")
    assert page.wrong == []
    composite = result.output.splitlines()[-1].split()[-1]
    assert f"Composite {composite} [" in page.text
    for line in result.output.splitlines()[1:28]:
        assert line.split()[0] in page.text
    assert len([link for link in page.attributes["src"] if link.startswith("data:image/jpeg")]) == 27 * 4
    assert "Cases by true class (rows) and predicted class" in page.text


def test_two_folders_are_compared_case_by_case(labelled: Path, answers: Path, worse: Path, tmp_path: Path) -> None:
    html = tmp_path / "s.html"
    result = call("score", "--truth", labelled, "--predictions", answers, "--html", html, "--compare", worse)
    assert result.exit_code == 0, result.output
    page = read_page(html)
    assert page.wrong == []
    # A quarter of what the boxes lose is what the composite does, whatever the missing masks would have earned.
    gain, low, high = map(float, re.search(r"both predict: \+(\S+) \[(\S+), (\S+)\]", page.text).groups())  # type: ignore[union-attr]
    found = json.loads(call("score", "--truth", labelled, "--predictions", answers, "--json").output)
    assert gain == pytest.approx(found["types"]["detection"]["composite"] / 4, abs=0.002)
    assert low <= gain <= high
    assert page.text.count("Compared: 4 better, 0 worse") == 3
    # What the other folder doesn't answer isn't compared.
    start = page.text.index("The first column is")
    compared = page.text[start : page.text.index("Classes and cases", start)]
    assert "fetal_heart" in compared
    assert "carotid_artery" in compared
    assert not re.search(r"^(lung|cervix)$", compared, re.MULTILINE)


def test_the_same_answers_differ_nowhere(labelled: Path, answers: Path, tmp_path: Path) -> None:
    html = tmp_path / "s.html"
    call("score", "--truth", labelled, "--predictions", answers, "--html", html, "--compare", answers)
    assert "+0.000 [0.000, 0.000]" in read_page(html).text
    assert "Compared:" not in read_page(html).text


def test_tasks_without_answers_stand_on_the_page(labelled: Path, worse: Path, tmp_path: Path) -> None:
    for name in prediction_files().values():
        (worse / name).unlink()
    result = call("score", "--truth", labelled, "--predictions", worse, "--html", tmp_path / "s.html")
    assert result.exit_code == 0, result.output
    page = read_page(tmp_path / "s.html")
    assert page.wrong == []
    assert "detection_predictions.json is missing" in page.text


@pytest.mark.parametrize(
    ("more", "message"), [(["--compare", "."], "--compare needs --html"), (["--html", "s.pdf"], ".html")]
)
def test_what_makes_no_sense_is_refused(labelled: Path, answers: Path, more: list[str], message: str) -> None:
    result = call("score", "--truth", labelled, "--predictions", answers, *more)
    assert result.exit_code == 2 or message in str(result.exception)
    assert message in result.output + str(result.exception)
