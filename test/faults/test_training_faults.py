"""Bad data and a full disk in the middle of training: one sentence or a counted skip, and what is saved stays valid."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aurora.errors import ImageError, InputError, OutputError
from training.config import FitConfig
from training.data.cases import Case, load_cases
from training.fit.distributed import ProcessGroup
from training.fit.log import read_log
from training.fit.loop import fit
from training.fit.state import load_state
from training.phantom import generate

ALONE = ProcessGroup(torch.device("cpu"))
CONFIG = FitConfig(
    steps=6,
    steps_per_epoch=3,
    save_every=1,
    image_size=64,
    batch_size=4,
    warmup_steps=1,
    device="cpu",
    precision="fp32",
)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    generate(tmp_path / "data", cases=4, seed=1, tasks=["breast_2cls", "fetal_head"], size_scale=0.3)
    return load_cases([tmp_path / "data"])


def cut_image(case: Case) -> None:
    """Leave the header and take the pixels, so that only decoding finds out."""
    path = (case.root / "csv_files" / case.row.image_path).resolve()
    path.write_bytes(path.read_bytes()[:200])


def test_an_image_that_breaks_in_training_ends_the_run_in_one_sentence(cases: list[Case], tmp_path: Path) -> None:
    for case in cases:
        cut_image(case)
    with pytest.raises(ImageError) as caught:
        fit(CONFIG, cases, [], tmp_path / "run", [], ALONE)
    assert "\n" not in str(caught.value)


def test_or_is_left_out_named_once_and_counted(
    cases: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [case for case in cases if case.task.id == "breast_2cls"][:2]
    for case in broken:
        cut_image(case)
    config = CONFIG.model_copy(update={"on_bad_case": "skip", "batch_size": 16})
    fit(config, cases, [], tmp_path / "run", [], ALONE)
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["skipped"] == 2
    said = capsys.readouterr().out
    images = [(case.root / "csv_files" / case.row.image_path).resolve() for case in broken]
    assert [said.count(f"left out: {image}") for image in images] == [1, 1]


def test_cases_that_all_have_to_be_left_out_end_the_run(cases: list[Case], tmp_path: Path) -> None:
    for case in cases:
        cut_image(case)
    config = CONFIG.model_copy(update={"on_bad_case": "skip"})
    with pytest.raises(InputError, match="expected images that can be read, found none in 8 rows; the last: "):
        fit(config, cases, [], tmp_path / "run", [], ALONE)


def test_a_resumed_run_wants_the_same_data(cases: list[Case], tmp_path: Path) -> None:
    fit(CONFIG, cases, [], tmp_path / "run", [], ALONE)
    with pytest.raises(InputError, match="expected the data that the run"):
        fit(CONFIG, cases[:-1], [], tmp_path / "run", [], ALONE, resume=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one state and the weights, but not for two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_one_sentence_and_the_last_state_stays_valid(cases: list[Case], small_disk: Path) -> None:
    with pytest.raises(
        OutputError,
        match=r"state-00000002\.safetensors: No space left on device; .*; make room \(\d+ MiB are free\) or name",
    ) as caught:
        fit(CONFIG, cases, [], small_disk / "run", [], ALONE)
    assert "\n" not in str(caught.value)
    found = load_state(small_disk / "run")
    assert found is not None
    assert found[1]["step"] == 1
    subprocess.run(["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
    fit(CONFIG, cases, [], small_disk / "run", [], ALONE, resume=True)
    assert [entry["step"] for entry in read_log(small_disk / "run" / "log.jsonl")] == [3, 6]
