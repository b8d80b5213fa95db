"""Merged shards equal the undivided run byte for byte; shards that can't be merged are named."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from shutil import copytree

import pytest
from support.interrupted import Remembering, content, interrupted, small_input

import inference.run
from aurora.engine.select import open_engine
from aurora.errors import InputError, UsageError
from aurora.kinds import prediction_files
from inference.merge import merge
from inference.output.journal import JOURNAL
from inference.plan import ENVIRONMENTS, RunSettings, Shard
from inference.run import run


@pytest.fixture(scope="module")
def settings(sample_cases: Path, onnx_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunSettings]:
    engine = Remembering(open_engine(onnx_weights, "onnx", "cpu"))
    root = small_input(sample_cases, tmp_path_factory.mktemp("in"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference.run, "open_engine", lambda *_: engine)
        yield RunSettings(root, root / "unset", onnx_weights, "onnx", "cpu", batch_size=2)


@pytest.fixture(scope="module")
def whole(settings: RunSettings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole")
    assert run(replace(settings, output=out)) == 0
    return content(out)


def shards(settings: RunSettings, place: Path, count: int) -> list[Path]:
    """Run all shards, each into a folder of its own, and return the folders."""
    for index in range(1, count + 1):
        assert run(replace(settings, output=place / str(index), shard=Shard(index, count))) == 0
    return [place / str(index) for index in range(1, count + 1)]


@pytest.fixture(scope="module")
def three(settings: RunSettings, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return shards(settings, tmp_path_factory.mktemp("three"), 3)


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_merged_shards_are_the_undivided_run(
    settings: RunSettings, whole: dict[str, bytes], tmp_path: Path, count: int
) -> None:
    folders = shards(settings, tmp_path / "shards", count)
    random.Random(count).shuffle(folders)
    merge(folders, tmp_path / "out")
    assert content(tmp_path / "out") == whole


def test_a_shard_that_was_killed_and_resumed_is_as_good_as_any(
    settings: RunSettings, whole: dict[str, bytes], tmp_path: Path
) -> None:
    folders = shards(settings, tmp_path / "shards", 4)
    killed = replace(settings, output=tmp_path / "killed", shard=Shard(2, 4))
    interrupted(killed, batches=0)
    folders[1] = killed.output
    with pytest.raises(InputError, match=r"shard 2/4 in .* has predicted 2 of 4 rows; finish it with --resume"):
        merge(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert run(replace(killed, resume=True)) == 0
    merge(folders, tmp_path / "out")
    assert content(tmp_path / "out") == whole


def test_a_finished_shard_that_is_resumed_stays_as_it_is(settings: RunSettings, three: list[Path]) -> None:
    before = content(three[0])
    assert run(replace(settings, output=three[0], shard=Shard(1, 3), resume=True)) == 0
    assert content(three[0]) == before


def test_the_rows_of_an_image_stay_together(settings: RunSettings, three: list[Path]) -> None:
    sizes = [json.loads((folder / JOURNAL).read_bytes().splitlines()[0])["rows"] for folder in three]
    assert min(sizes) > 0
    assert sum(sizes) == len(inference.run.read_rows(settings.input).rows)


def copies(folders: list[Path], place: Path) -> list[Path]:
    return [Path(copytree(folder, place / folder.name)) for folder in folders]


def test_a_missing_shard_is_named(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected all 3 shards, found 2; missing: 2; run them"):
        merge([three[2], three[0]], tmp_path / "out")


def test_a_shard_that_is_given_twice_is_named(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shard 2/3 is given twice, .*; name each once"):
        merge([*three, *copies(three[1:2], tmp_path)], tmp_path / "out")


def test_shards_of_different_runs_are_not_mixed(settings: RunSettings, three: list[Path], tmp_path: Path) -> None:
    other = replace(settings, output=tmp_path / "2", shard=Shard(2, 3), batch_size=3)
    assert run(other) == 0
    with pytest.raises(InputError, match=r"expected shards of one run, .* batch size or number; run them alike"):
        merge([three[0], other.output, three[2]], tmp_path / "out")


def test_a_folder_that_is_no_shard_is_named(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected the output of 'inference run --shard' in .*, found none"):
        merge([*three, tmp_path], tmp_path / "out")


def test_a_mask_that_was_changed_is_named(three: list[Path], tmp_path: Path) -> None:
    folders = copies(three, tmp_path / "changed")
    mask = min(path for folder in folders for path in folder.rglob("*.png"))
    mask.write_bytes(mask.read_bytes() + b"x")
    with pytest.raises(InputError, match=rf"{mask.name} isn't what shard \d/3 wrote; run that shard again"):
        merge(folders, tmp_path / "out")


@pytest.mark.parametrize("left", [None, b"", b"[\n{", b'[\n{"task_id": "another"}\n]\n'])
def test_whatever_became_of_a_shards_lists_the_merged_ones_are_whole(
    whole: dict[str, bytes], three: list[Path], tmp_path: Path, left: bytes | None
) -> None:
    folders = copies(three, tmp_path / "killed")
    for name in prediction_files().values():
        (folders[2] / name).unlink()
        if left is not None:
            (folders[2] / name).write_bytes(left)
    merge(folders, tmp_path / "out")
    assert content(tmp_path / "out") == whole


def test_shards_are_not_merged_into_one_of_them(three: list[Path], tmp_path: Path) -> None:
    folders = copies(three, tmp_path / "shards")
    before = [content(folder) for folder in folders]
    with pytest.raises(UsageError, match=r"expected an output folder that is no shard's, found .*2; name another"):
        merge(folders, tmp_path / "shards" / ".." / "shards" / "2")
    assert [content(folder) for folder in folders] == before


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RANK": "0", "WORLD_SIZE": "4"}, "1/4"),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, "3/3"),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "7", "SLURM_ARRAY_TASK_MIN": "1"}, "5/7"),
        (
            {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
            "1/7",
        ),
        ({"JOB_COMPLETION_INDEX": "9", "JOB_COMPLETIONS": "10"}, "10/10"),
    ],
)
def test_schedulers_say_which_shard_it_is(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(Shard.parse("auto")) == expected


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "3", "a/b", "-1/3", "1/3/5", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected --shard I/N with I from 1 to N, or auto, found"):
        Shard.parse(text)


def test_auto_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in chain.from_iterable(ENVIRONMENTS):
        monkeypatch.delenv(str(name), raising=False)
    with pytest.raises(UsageError, match="found none of: RANK and WORLD_SIZE; "):
        Shard.parse("auto")
