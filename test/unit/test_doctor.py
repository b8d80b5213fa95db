"""The report of `doctor` on a machine, and its exit code, which is that of a run."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inference.cli import main


def doctor(*words: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, words)])


def test_a_sound_machine_is_described_line_by_line(tmp_path: Path) -> None:
    result = doctor("--output", tmp_path / "out" / "a")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(line.startswith("ok  ") for line in lines)
    for name in ("processors", "memory", "shared memory", "libraries", "weights and engine", "output folder"):
        assert sum(line[4:].startswith(name) for line in lines) == 1, name
    assert "SHA-256" in result.stdout
    assert not list(tmp_path.iterdir())


def test_a_machine_without_a_folder_for_temporary_files_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", absent)
    result = doctor()
    assert (result.exit_code, "no folder for them, which a run doesn't need" in result.stdout) == (0, True)


def test_json_holds_the_same(tmp_path: Path) -> None:
    findings = {finding["name"]: finding for finding in json.loads(doctor("--json").stdout)}
    assert findings["weights and engine"]["exit_code"] == 0
    assert "40 tasks" in findings["weights and engine"]["found"]


def test_weights_that_would_end_a_run_end_the_doctor_alike(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"x" * 100)
    result = doctor("--weights", tmp_path / "w.safetensors")
    assert result.exit_code == 4
    (line,) = [line for line in result.stdout.splitlines() if not line.startswith("ok")]
    assert line.startswith("!4  weights and engine")


def test_an_output_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = doctor("--output", tmp_path / "file" / "out")
    assert result.exit_code == 5
    assert "can't write to the output folder" in result.stdout


def test_what_is_broken_hides_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise OSError("libcuda is of another version")

    monkeypatch.setattr("onnxruntime.get_available_providers", broken)
    result = doctor()
    assert result.exit_code == 6
    assert "OSError: libcuda is of another version" in result.stdout
    assert "weights and engine" in result.stdout
