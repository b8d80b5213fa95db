"""A run that is interrupted at any moment and resumed has the same result as an undisturbed run."""

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.interrupted import (
    DAMAGES,
    Killed,
    Remembering,
    command,
    content,
    interrupted,
    kill,
    repeated,
    resumed,
    small_input,
)

import inference.run
from aurora.engine.select import open_engine
from aurora.errors import OutputError
from aurora.kinds import prediction_files
from inference.output.folder import OutputFolder
from inference.output.journal import JOURNAL, Journal
from inference.plan import RunSettings
from inference.run import run

BATCH = 4
TAKEN_OVER = "rows are taken over from the run that was interrupted"
Answers = dict[str, bytes]
STARTS_AGAIN = "this run starts again"


@pytest.fixture(scope="module")
def root(sample_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_input(sample_cases, tmp_path_factory.mktemp("in"))


@pytest.fixture(scope="module", autouse=True)
def quick(onnx_weights: Path) -> Iterator[None]:
    engine = Remembering(open_engine(onnx_weights, "onnx", "cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference.run, "open_engine", lambda weights, *_: engine.at(weights or onnx_weights))
        yield


@pytest.fixture(scope="module")
def settings(root: Path, onnx_weights: Path) -> RunSettings:
    return RunSettings(root, root / "unset", onnx_weights, "onnx", "cpu", batch_size=BATCH)


@pytest.fixture(scope="module")
def undisturbed(settings: RunSettings, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    out = tmp_path_factory.mktemp("undisturbed")
    assert run(replace(settings, output=out)) == 0
    return content(out)


@pytest.fixture
def again(settings: RunSettings, tmp_path: Path) -> RunSettings:
    """Return the settings of a run into `tmp_path / "out"` that resumes."""
    return replace(settings, output=tmp_path / "out", resume=True)


def test_a_resumed_run_ends_as_an_undisturbed_one_and_says_what_it_took_over(
    again: RunSettings, undisturbed: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(again)
    said = resumed(again, capsys)
    assert TAKEN_OVER in said
    assert content(again.output) == undisturbed
    run(replace(again, resume=False))
    table = [
        text.splitlines()[:-1] for text in (said.partition("task  ")[2], capsys.readouterr().out.partition("task  ")[2])
    ]
    assert table[0] == table[1]  # every row, fallback and warning is counted


def test_done_batches_are_not_inferred_again(again: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(again, batches=2)
    begun: list[int] = []
    real = inference.run.predictions

    def predictions(engine: object, jobs: Iterable[object], *rest: object, **more: object) -> object:
        left = list(jobs)
        begun.append(len(left))
        return real(engine, left, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(inference.run, "predictions", predictions)
    run(again)
    run(again)
    assert begun[1] - begun[0] == 2 * BATCH


@pytest.mark.parametrize("renamed", range(4))
def test_a_kill_between_the_last_steps_is_repaired(
    again: RunSettings, undisturbed: Answers, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    """After no, one, two and all three lists were renamed, and before the journal is removed."""
    lists = set(prediction_files().values())
    left = again.output.with_name("left")

    def finish(folder: OutputFolder, part: Path, target: Path) -> None:
        done = lists & {path.name for path in folder.root.iterdir()}
        if target.name in lists and len(done) == renamed:
            shutil.copytree(folder.root, left)
            raise Killed
        folder.give_to_owner(part)
        os.replace(part, target)

    def unlink(journal: object) -> None:
        shutil.copytree(again.output, left)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(OutputFolder, "finish", finish)
        patch.setattr("inference.output.journal.Journal.finish", unlink)
        with pytest.raises(Killed):
            run(again)
    shutil.rmtree(again.output)
    left.rename(again.output)
    assert run(again) == 0
    assert content(again.output) == undisturbed


def test_lists_and_folder_are_synced_before_the_journal_is_removed(
    again: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real_fsync, real_finish = os.fsync, Journal.finish

    def fsync(number: int) -> None:
        synced.append(os.fstat(number).st_ino)
        real_fsync(number)

    def finish(journal: Journal) -> None:
        lists = [(again.output / name).stat().st_ino for name in prediction_files().values()]
        assert synced == [*lists, again.output.stat().st_ino]
        real_finish(journal)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Journal, "finish", finish)
    assert run(again) == 0
    assert len(synced) == 4


@pytest.mark.parametrize(("number", "damage"), [*((2, name) for name in DAMAGES), (1, "one bit")])
def test_a_damaged_line_and_what_follows_is_done_again(
    again: RunSettings,
    undisturbed: Answers,
    capsys: pytest.CaptureFixture[str],
    number: int,
    damage: str,
) -> None:
    journal = interrupted(again) / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[number] = DAMAGES[damage](lines[number])
    journal.write_bytes(b"".join(lines))
    assert (TAKEN_OVER in resumed(again, capsys)) == (number == 2)
    assert content(again.output) == undisturbed


@pytest.mark.parametrize("damage", [b"", None, b"\0" * 99], ids=["empty", "gone", "other"])
def test_a_mask_lost_with_the_power_is_done_again(
    again: RunSettings, undisturbed: Answers, damage: bytes | None
) -> None:
    masks = sorted(interrupted(again).rglob("*.png"))
    masks[0].unlink() if damage is None else masks[0].write_bytes(damage)
    run(again)
    assert content(again.output) == undisturbed


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"limit": 12}], ids=str)
def test_what_another_run_left_is_not_taken_over(
    again: RunSettings, capsys: pytest.CaptureFixture[str], change: dict[str, int], undisturbed: Answers
) -> None:
    interrupted(replace(again, **change))  # type: ignore[arg-type]
    said = resumed(again, capsys)
    assert said.count(STARTS_AGAIN) == 1
    assert TAKEN_OVER not in said
    assert content(again.output) == undisturbed


def test_what_other_weights_left_is_not_taken_over(
    again: RunSettings, capsys: pytest.CaptureFixture[str], tmp_path: Path, onnx_weights: Path
) -> None:
    weights = tmp_path / "w.onnx"
    weights.write_bytes(onnx_weights.read_bytes())
    interrupted(replace(again, weights=weights))
    assert TAKEN_OVER in resumed(again, capsys)  # the same bytes elsewhere are the same weights
    interrupted(again)
    # A field that no reader of ONNX knows is passed over: other bytes, the same model.
    weights.write_bytes(onnx_weights.read_bytes() + b"\xfa\x3f\x01x")
    assert STARTS_AGAIN in resumed(replace(again, weights=weights), capsys)


def test_other_rows_or_another_input_are_another_run(
    again: RunSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "in"
    shutil.copytree(again.input, root)
    interrupted(again)
    assert STARTS_AGAIN in resumed(replace(again, input=root), capsys)
    interrupted(replace(again, input=root))
    table = root / "csv_files" / "a.csv"
    table.write_text(table.read_text().replace("lung,segmentation,2", "lung,segmentation,3"))
    assert STARTS_AGAIN in resumed(replace(again, input=root), capsys)


def test_without_the_flag_a_run_starts_again_and_leaves_nothing_behind(
    again: RunSettings, undisturbed: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(again)
    said = resumed(replace(again, resume=False), capsys)
    assert (TAKEN_OVER in said, STARTS_AGAIN in said) == (False, False)
    assert content(again.output) == undisturbed


def test_where_nothing_is_left_the_flag_changes_nothing(
    again: RunSettings, undisturbed: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in ("fresh", "finished"):
        said = resumed(again, capsys)
        assert (TAKEN_OVER in said, STARTS_AGAIN in said) == (False, False)
        assert content(again.output) == undisturbed


def test_a_run_that_ends_before_its_first_batch_leaves_no_journal(again: RunSettings) -> None:
    (again.output / "regression_predictions.json").mkdir(parents=True)
    with pytest.raises(OutputError):
        run(again)
    assert content(again.output) == {}


def test_a_run_that_cannot_begin_costs_nothing_of_what_was_done(
    again: RunSettings, undisturbed: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(again)
    (again.output / "regression_predictions.json").mkdir()
    with pytest.raises(OutputError):
        run(again)
    (again.output / "regression_predictions.json").rmdir()
    assert TAKEN_OVER in resumed(again, capsys)
    assert content(again.output) == undisturbed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_journal_belongs_to_the_folders_owner(again: RunSettings) -> None:
    again.output.mkdir()
    os.chown(again.output, 4343, 4343)
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "inference.output.journal.Journal.finish", lambda journal: seen.append(journal.path.stat().st_uid)
        )
        run(again)
    assert seen == [4343]


def test_a_full_disk_is_survived(again: RunSettings, undisturbed: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        with pytest.raises(OutputError, match="continue with --resume"):
            run(again)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not set(prediction_files().values()) & set(content(again.output))
    assert TAKEN_OVER in resumed(again, capsys)
    assert content(again.output) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_is_continued(again: RunSettings, undisturbed: Answers, number: int) -> None:
    with subprocess.Popen(command(again), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(again.output.rglob("*.jpg")):
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.endswith("continue with --resume\n")
    left = content(again.output)
    assert set(prediction_files().values()) | {JOURNAL} <= set(left)
    subprocess.run([*command(again), "--resume"], check=True, stdout=subprocess.DEVNULL)
    assert content(again.output) == undisturbed


def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(again: RunSettings, undisturbed: Answers) -> None:
    kill(again, 6, random.Random(1), spread=0.3)
    assert content(again.output) == undisturbed


@pytest.mark.large
@pytest.mark.timeout(600)
def test_a_larger_run_killed_thirty_times_ends_as_an_undisturbed_one(
    again: RunSettings, sample_cases: Path, tmp_path: Path
) -> None:
    settings = replace(again, input=repeated(sample_cases, tmp_path / "in", times=6), batch_size=16)
    assert run(replace(settings, output=tmp_path / "whole", resume=False)) == 0
    expected = content(tmp_path / "whole")
    kill(settings, 30, random.Random(2), spread=0.5)
    assert content(settings.output) == expected
