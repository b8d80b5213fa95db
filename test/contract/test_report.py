"""`run --report`: the page, the JSON record, and the schemas of all files that a run writes."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from support.interrupted import content, interrupted
from support.webpage import read_page

from aurora.errors import OutputError, UsageError
from aurora.kinds import prediction_files
from inference.cli import main
from inference.plan import RunSettings
from inference.report.record import NAMES, REPORT, RunRecord
from inference.run import run

HOSTILE = '<script>alert("x")</script> {{ 7*7 }} &amp; \u202e'


@pytest.fixture
def settings(sample_cases: Path, tmp_path: Path) -> RunSettings:
    return RunSettings(sample_cases, tmp_path / "out", device="cpu", report=tmp_path / "new" / "report.html")


def reported(settings: RunSettings) -> Path:
    assert settings.report
    run(settings)
    return settings.report


def schema(name: str) -> dict[str, object]:
    result = CliRunner().invoke(main, ["schema", name])
    assert result.exit_code == 0
    return json.loads(result.output)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_run_writes_keeps_its_schema_and_other_content_does_not(settings: RunSettings, name: str) -> None:
    report = reported(replace(settings, report=settings.output.with_name("report.json")))
    content = json.loads((report if name == REPORT else settings.output / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema(name))
    jsonschema.validate(content, schema(name))
    record = content if name == REPORT else content[0]
    for wrong in (content | {"more": 1} if name == REPORT else [record | {"more": 1}], 1):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema(name))


def test_an_unknown_file_has_no_schema() -> None:
    result = CliRunner().invoke(main, ["schema", "nothing.json"])
    assert result.exit_code == 2
    assert all(name in result.output for name in NAMES)


def test_the_page_is_valid_makes_no_request_and_shows_every_task(settings: RunSettings) -> None:
    page = read_page(reported(settings))
    assert page.wrong == []
    with (settings.input / "csv_files").glob("*.csv").__next__().open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["task_id"] in page.text
    record = RunRecord.model_validate_json(
        reported(replace(settings, report=settings.output.with_name("report.json"))).read_bytes()
    )
    assert all(task.task_id in page.text for task in record.tasks)
    pictures = [link for link in page.attributes["src"] if link.startswith("data:image/jpeg")]
    assert len(pictures) >= len(record.tasks) == 27


def test_the_data_say_what_ran_and_what_came_of_it(settings: RunSettings, onnx_weights: Path) -> None:
    report = reported(replace(settings, report=settings.output.with_name("r.JSON"), limit=7, weights=onnx_weights))
    record = RunRecord.model_validate_json(report.read_bytes())
    assert (record.rows, record.predicted, record.complete, record.stopped) == (7, 7, True, False)
    assert (record.limit, record.weights.file, len(record.weights.sha256)) == (7, str(onnx_weights), 64)
    assert record.weights.provenance["validation"]
    assert sum(task.rows for task in record.tasks) == 7
    assert all(sum(task.confidence) == task.rows for task in record.tasks)
    assert set(record.at_work.stages) == {"reading", "model", "predictions", "writing"}
    assert record.at_work.stages["model"] > 0
    assert 0 < record.at_work.seconds < record.seconds
    assert record.at_work.threads >= 1


def test_a_resumed_run_reports_and_shows_what_an_undisturbed_one_does(settings: RunSettings, tmp_path: Path) -> None:
    settings = replace(settings, batch_size=4, resume=True, report=tmp_path / "resumed.json")
    interrupted(replace(settings, report=None))
    resumed = RunRecord.model_validate_json(reported(replace(settings, preview=tmp_path / "resumed")).read_bytes())
    whole = replace(settings, output=tmp_path / "whole", report=tmp_path / "whole.json", preview=tmp_path / "sheets")
    assert resumed.tasks == RunRecord.model_validate_json(reported(whole).read_bytes()).tasks
    assert content(tmp_path / "resumed") == content(tmp_path / "sheets")


def test_hostile_text_stays_text(tmp_path: Path, settings: RunSettings) -> None:
    root = tmp_path / "in"
    (root / "csv_files").mkdir(parents=True)
    with (root / "csv_files" / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task_id", "task_name", "num_classes", "image_path"])
        writer.writerow([HOSTILE, "classification", 2, f"../{HOSTILE}.png"])
    page = read_page(reported(replace(settings, input=root)))
    assert page.wrong == []
    assert '<script>alert("x")</script> {{ 7*7 }} &amp;' in page.text
    assert "! 1 of 1 rows have a prediction, 1 of them a fallback" in page.text


def test_a_folder_whose_name_is_no_text_is_named_in_both_reports(settings: RunSettings, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"in\xff")
    odd.symlink_to(settings.input)
    settings = replace(settings, input=odd, limit=2)
    data = json.loads(reported(replace(settings, report=tmp_path / "r.json")).read_text(encoding="utf-8"))
    assert data["input"] == str(odd)
    assert r"in\udcff" in read_page(reported(settings)).text


@pytest.mark.parametrize("name", ["report", "report.pdf", "html"])
def test_another_ending_is_refused_before_anything_runs(settings: RunSettings, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.html.*\.json"):
        run(replace(settings, report=settings.output / name))


def test_a_place_that_cannot_be_written_is_found_before_anything_runs(settings: RunSettings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for flag in ("report", "preview"):
        with pytest.raises(OutputError, match=f"--{flag}"):
            run(replace(settings, **{flag: tmp_path / "file" / "r.html"}))
    assert not list(settings.output.iterdir())


def test_a_quiet_run_prints_one_line(settings: RunSettings) -> None:
    places = ("--input", settings.input, "--output", settings.output, "--device", "cpu", "--limit", 5)
    result = CliRunner().invoke(main, ["run", "--quiet", *map(str, places)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split(" in ")[0] for line in result.stdout.splitlines()] == ["predicted 5 of 5 rows"]


def test_a_report_adds_nothing_to_the_output(settings: RunSettings) -> None:
    """Check that the output folder holds only predictions."""
    reported(settings)
    assert {path.name for path in settings.output.iterdir()} == {*prediction_files().values(), "Segmentation"}
