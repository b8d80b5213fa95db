"""Former names of configuration keys, flags and commands work for one release, and say what they are called now."""

from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from aurora.errors import UsageError
from training.cli import main
from training.config import FORMER_KEYS, load_config

VALUES = {
    "start": "w.safetensors",
    "bad_cases": "skip",
    "skip_bad_steps": 3,
    "left_right": ["mine"],
    "loader_threads": 5,
    "accumulate": 4,
    "clip_norm": 0.5,
}


def write(path: Path, **values: object) -> Path:
    path.write_text(yaml.safe_dump({"steps": 1, **values}))
    return path


def test_all_former_keys_are_tested() -> None:
    assert VALUES.keys() == FORMER_KEYS.keys()


@pytest.mark.parametrize("key", FORMER_KEYS)
def test_a_former_key_works_in_a_file_and_as_a_change_and_says_so_once(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    present, value = FORMER_KEYS[key], VALUES[key]
    expected = load_config(write(tmp_path / "present.yaml", **{present: value}))
    assert capsys.readouterr().out == ""
    former = write(tmp_path / "former.yaml", **{key: value})
    assert load_config(former) == load_config(former) == expected
    said = capsys.readouterr().out
    assert said == f"{former}: {key} is now called {present}; the next release won't read the former name\n"
    change = write(tmp_path / "change.yaml")
    assert load_config(change, [f"{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"]) == expected
    assert f"{key} is now called {present}" in capsys.readouterr().out


@pytest.mark.parametrize("key", FORMER_KEYS)
def test_a_key_under_both_its_names_is_refused(key: str, tmp_path: Path) -> None:
    present, value = FORMER_KEYS[key], VALUES[key]
    message = f"expected {present} or its former name {key}, found both; leave out {key}"
    with pytest.raises(UsageError, match=message):
        load_config(write(tmp_path / "both.yaml", **{key: value, present: value}))
    with pytest.raises(UsageError, match=message):
        load_config(write(tmp_path / "plain.yaml"), [f"{key}=1", f"{present}=1"])


def test_a_change_replaces_what_the_file_says_under_either_name(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "a.yaml", on_bad_case="skip"), ["bad_cases=error"]).on_bad_case == "error"
    assert load_config(write(tmp_path / "b.yaml", bad_cases="skip"), ["on_bad_case=error"]).on_bad_case == "error"


@pytest.mark.parametrize(("former", "present"), [("trivial", "baseline"), ("unseen", "leave-one-out")])
def test_a_former_command_does_the_same_and_is_not_listed(former: str, present: str) -> None:
    runs = [CliRunner().invoke(main, [name]) for name in (former, present)]
    assert runs[0].exit_code == runs[1].exit_code == 2
    assert main.commands[former].params == main.commands[present].params
    context = click.Context(main)
    assert f" {former} " not in main.get_help(context)
    assert f" {present} " in main.get_help(context)


def test_a_former_command_says_what_it_is_called_now(tmp_path: Path) -> None:
    for folder in ("train", "data"):
        (tmp_path / folder).mkdir()
    words = ["--train", str(tmp_path / "train"), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    former, present = (CliRunner().invoke(main, [name, *words]).output for name in ("trivial", "baseline"))
    notice = "'training trivial' is now called 'training baseline'; the next release won't accept the former name\n"
    assert former == notice + present


def test_the_former_flag_of_ablate_chooses_variants_and_says_so(tmp_path: Path) -> None:
    words = ["--config", str(write(tmp_path / "c.yaml")), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, ["ablate", *words, "--row", "no-stem", "image_size=100"])
    assert isinstance(done.exception, UsageError)
    assert "--row is now called --variant; the next release won't accept the former name" in done.output
