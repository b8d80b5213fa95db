"""Whole runs on what can go wrong: every row is answered, or the run ends with its code and says why."""

import hashlib
import json
import os
import pickle
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

import inference.run  # noqa: F401  at once, because a test gives up the right to read it
from aurora.answers import JSON_FILES
from aurora.images import read_mask
from inference.__main__ import entrypoint

verify = runpy.run_path(str(Path(__file__).parents[1] / "contract" / "reader.py"))["verify"]

HEAD = "task_id,task_name,num_classes,image_path,mask_path\n"
GOOD = (
    "lung,segmentation,2,../images/0.png,../masks/0.png\n"
    "breast_3cls,classification,3,../images/1.png,\n"
    "thyroid_nodule_det,detection,1,../images/2.png,\n"
    "IUGC,Regression,3,../images/2.png,\n"
)


class Ended(NamedTuple):
    """How a run ended: its exit code, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An input root with four good rows on three images."""
    root = tmp_path / "in"
    (root / "csv_files").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "csv_files" / "a.csv").write_text(HEAD + GOOD)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (30 + number, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "images" / f"{number}.png"), pixels)
    return root


@pytest.fixture
def run(
    root: Path, tmp_path: Path, onnx_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`python -m inference run`, in this process, from `root` to `tmp_path / "out"` unless told otherwise."""

    def run(*flags: object, output: Path = tmp_path / "out", weights: Path = onnx_weights) -> Ended:
        places = ("--input", root, "--output", output, "--weights", weights, "--engine", "onnx")
        monkeypatch.setattr(sys, "argv", ["inference", "run", *map(str, (*places, *flags))])
        with pytest.raises(SystemExit) as ended:
            entrypoint()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return run


def table(root: Path, *rows: str) -> None:
    """Add a CSV file."""
    (root / "csv_files" / "b.csv").write_text(HEAD + "".join(f"{row}\n" for row in rows))


def answers(out: Path) -> list[dict]:
    return [entry for name in JSON_FILES.values() for entry in json.loads((out / name).read_bytes())]


def assert_refused(ended: Ended, code: int, *said: str) -> None:
    """The run ended with `code`, and its last line is one plain sentence that holds `said`."""
    last = ended.err.splitlines()[-1]
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    assert last.startswith("error: ")
    assert [text for text in said if text not in last] == []


def test_a_run_without_faults_writes_a_valid_set(run: Run, root: Path, tmp_path: Path) -> None:
    ended = run("--strict")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1].startswith("answered 4 of 4 rows in ")
    assert verify(root, tmp_path / "out") == []


def test_no_csv_files_end_with_3_and_what_is_there_instead(run: Run, root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "csv_files")
    assert_refused(run(), 3, "csv_files/*.csv", "images")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_header_alone_ends_with_3(run: Run, root: Path) -> None:
    (root / "csv_files" / "a.csv").write_text(HEAD)
    assert_refused(run(), 3, "at least one usable row", "a header and no rows")


def test_a_missing_column_ends_with_3_and_the_columns_found(run: Run, root: Path) -> None:
    (root / "csv_files" / "a.csv").write_text("task_id,task,image_path\nlung,segmentation,../images/0.png\n")
    assert_refused(run(), 3, "no column task_name", "task_id, task, image_path")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n"], ids=["empty", "html", "cut"])
def test_an_unreadable_image_costs_only_its_own_answer(run: Run, root: Path, tmp_path: Path, content: bytes) -> None:
    table(root, "organ_cls,classification,6,../images/bad.png,", "lung,segmentation,2,../images/bad.png,../masks/b.png")
    (root / "images" / "bad.png").write_bytes(content)
    ended = run()
    assert ended.code == 0
    assert "answered 6 of 6 rows, 2 of them by a fallback" in ended.out
    assert verify(root, tmp_path / "out") == []
    assert run("--strict").code == 10


def test_a_header_that_states_an_impossible_size_costs_only_its_own_answer(
    run: Run, root: Path, tmp_path: Path
) -> None:
    table(root, "lung,segmentation,2,../images/bomb.png,../masks/b.png")
    header = b"IHDR" + struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    (root / "images" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + bytes(99))
    ended = run()
    assert ended.code == 0
    assert "answered 5 of 5 rows, 1 of them by a fallback" in ended.out
    assert read_mask(tmp_path / "out" / "masks" / "b.png").shape == (512, 512)


def test_an_unknown_task_is_answered_by_its_own_type_and_number(run: Run, root: Path, tmp_path: Path) -> None:
    table(root, "new_cls,classification,4,../images/0.png,", "new_seg,segmentation,2,../images/0.png,../masks/n.png")
    ended = run()
    assert ended.code == 0
    assert "the weights have no task 'new_cls' [b.csv:2]" in ended.out
    assert [e["predicted_probs"] for e in answers(tmp_path / "out") if e["task_id"] == "new_cls"] == [[0.25] * 4]
    assert verify(root, tmp_path / "out") == []


def test_another_number_of_classes_than_the_weights_have_is_met(run: Run, root: Path, tmp_path: Path) -> None:
    table(
        root,
        "breast_2cls,classification,4,../images/0.png,",
        "organ_cls,classification,2,../images/0.png,",
        "FUGC,Regression,5,../images/0.png,",
        "cardiac_multi,segmentation,2,../images/0.png,../masks/c.png",
    )
    ended = run("--strict")
    assert ended.code == 0
    assert "num_classes is 4, and 'breast_2cls' has 2 in the weights [b.csv:2]" in ended.out
    assert verify(root, tmp_path / "out") == []


@pytest.mark.parametrize(
    "path",
    [
        "/outside/m.png",
        "../../outside/m.png",
        "../masks/../../m.png",
        "....//....//m.png",
        "..\\m.png",
        "C:/m.png",
        "",
    ],
)
def test_a_mask_path_that_leads_outside_writes_nothing_and_is_reported(
    run: Run, root: Path, tmp_path: Path, path: str
) -> None:
    before = {place for place in tmp_path.rglob("*") if "out" not in place.parts}
    table(root, f"lung,segmentation,2,../images/1.png,{path}")
    ended = run()
    assert ended.code == 0
    assert "[b.csv:2]" in next(line for line in ended.out.splitlines() if line.startswith("unwritten (1): mask_path"))
    assert verify_places(tmp_path) - before == {root / "csv_files" / "b.csv"}
    assert run("--strict").code == 10


def verify_places(tmp_path: Path) -> set[Path]:
    """Everything but the masks and lists that the good rows ask for."""
    out = tmp_path / "out"
    good = {out, out / "masks", out / "masks" / "0.png", *(out / name for name in JSON_FILES.values())}
    return set(tmp_path.rglob("*")) - good


@pytest.mark.parametrize("place", ["a file/out", "/proc/aurora-out", "/sys/aurora-out"])
def test_an_output_that_cannot_be_made_ends_with_5_before_anything_is_read(
    run: Run, root: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "a file").touch()
    shutil.rmtree(root)
    assert_refused(run(output=tmp_path / place), 5, "can't write to the output folder", "belongs to uid", "--output")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_output_of_somebody_else_ends_with_5(run: Run, tmp_path: Path) -> None:
    os.seteuid(65534)
    try:
        ended = run(output=tmp_path / "out")
    finally:
        os.seteuid(0)
    assert_refused(ended, 5, "Permission denied", "(uid 65534)", "docker run --user 0:0")


def test_missing_weights_end_with_4(run: Run, tmp_path: Path) -> None:
    assert_refused(run(weights=tmp_path / "none.onnx"), 4, "none.onnx", "--weights")


@pytest.mark.parametrize("bit", [1000, -1000])
def test_one_flipped_bit_in_the_weights_ends_with_4(run: Run, tmp_path: Path, onnx_weights: Path, bit: int) -> None:
    path, content = tmp_path / "w.onnx", bytearray(onnx_weights.read_bytes())
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    content[bit] ^= 1
    path.write_bytes(content)
    assert_refused(run(weights=path), 4, "w.onnx is damaged", "SHA256SUMS")


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_a_pickle_for_weights_ends_with_4_and_is_not_loaded(run: Run, tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert_refused(run(weights=tmp_path / "w.onnx"), 4, "w.onnx")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_weights_that_are_cut_end_with_4(run: Run, tmp_path: Path, onnx_weights: Path, share: float) -> None:
    whole = onnx_weights.read_bytes()
    (tmp_path / "w.onnx").write_bytes(whole[: int(share * len(whole))])
    assert_refused(run(weights=tmp_path / "w.onnx"), 4, "w.onnx")


def test_text_for_weights_ends_with_4(run: Run, tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_text("not ONNX at all")
    assert_refused(run(weights=tmp_path / "w.onnx"), 4, "w.onnx", "export it again")


def test_a_gpu_that_is_not_there_ends_with_6(run: Run, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    assert_refused(run("--device", "cuda"), 6, "'cuda' was asked for")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_ends_with_143_and_leaves_whole_files(
    root: Path, tmp_path: Path, onnx_weights: Path, number: int
) -> None:
    names = [f"copy{number}.png" for number in range(3000)]
    for name in names:
        os.link(root / "images" / "0.png", root / "images" / name)
    table(root, *(f"lung,segmentation,2,../images/{name},../masks/{name}" for name in names))
    out = tmp_path / "out"
    places = ("--input", root, "--output", out, "--weights", onnx_weights, "--batch-size", "1")
    command = [sys.executable, "-m", "inference", "run", *map(str, places)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (out / "masks" / names[0]).exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        ended = Ended(process.wait(), *process.communicate())
    assert ended.code == 143
    assert ended.err.splitlines()[-1].startswith("stopped by a signal; ")
    done = len(list((out / "masks").iterdir()))
    assert f"answered {done + 3} of 3004 rows" in ended.out
    assert 0 < done < 3000
    assert [entry["task_id"] for entry in answers(out)] == ["breast_3cls", "thyroid_nodule_det", "IUGC"]
    assert [path for path in out.rglob("*") if path.name.endswith(".part")] == [out / ".aurora-run.part"]
