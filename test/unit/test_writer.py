"""Answers become masks and lists, each whole and in its own place."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aurora.errors import OutputError
from aurora.images import encode_mask
from aurora.kinds import KINDS, Prediction, prediction_files
from aurora.rows import Row
from aurora.tasks import TYPES, TaskType
from inference.output.folder import OutputFolder
from inference.output.journal import RowOutcome
from inference.output.writer import PredictionWriter, read_back

SEGMENTATION, CLASSIFICATION, DETECTION, REGRESSION = TYPES
MASK = np.arange(200, dtype=np.uint8).reshape(10, 20)
BOX = KINDS[DETECTION].fallback(Row("task", DETECTION, 1, "../i.png", None, "a.csv:2", {}), 1, (9, 9))


def put(writer: PredictionWriter, row: Row, answer: Prediction) -> RowOutcome:
    return writer.write(
        row, answer, encode_mask(answer, row.mask_path or "") if isinstance(answer, np.ndarray) else b""
    )


def row(kind: TaskType, mask_path: str | None = None, number: int = 2) -> Row:
    return Row("task", kind, 2, f"../i/ü {number}.png", mask_path, f"a.csv:{number}", {})


def masked(path: str | None, number: int = 2) -> Row:
    return row(SEGMENTATION, path, number)


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def lists(root: Path) -> dict[TaskType, list[dict]]:
    return {kind: json.loads((root / name).read_bytes()) for kind, name in prediction_files().items()}


def write_all(writer: PredictionWriter, pairs: list[tuple[Row, Any]]) -> None:
    with writer:
        for case, answer in pairs:
            put(writer, case, answer)


@pytest.fixture
def writer(tmp_path: Path) -> PredictionWriter:
    return PredictionWriter(OutputFolder(tmp_path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_masks_keep_their_pixels_and_their_place(tmp_path: Path, writer: PredictionWriter) -> None:
    with writer:
        put(writer, masked("../S/Two/a set/MASKS/1.png"), MASK)
    found = pixels(tmp_path / "S/Two/a set/MASKS/1.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, MASK)


@pytest.mark.parametrize("kind", prediction_files())
@pytest.mark.parametrize("count", [0, 1, 3])
def test_lists_are_valid_json_in_the_order_written(
    tmp_path: Path, writer: PredictionWriter, kind: TaskType, count: int
) -> None:
    with writer:
        for number in range(count):
            put(writer, row(kind, number=number), KINDS[kind].fallback(row(kind, number=number), 2, (9, 9)))
    found = lists(tmp_path)
    assert [entry["image_path"] for entry in found.pop(kind)] == [f"../i/ü {number}.png" for number in range(count)]
    assert list(found.values()) == [[], []]


def test_a_finished_run_leaves_only_the_answers(tmp_path: Path, writer: PredictionWriter) -> None:
    with writer:
        put(writer, masked("../S/1.png"), MASK)
        assert not names(tmp_path) & set(prediction_files().values())
    assert names(tmp_path) == {"S/1.png", *prediction_files().values()}


def test_after_an_error_there_are_no_lists_and_no_parts(tmp_path: Path, writer: PredictionWriter) -> None:
    with pytest.raises(AttributeError):
        write_all(writer, [(masked("../S/1.png"), MASK), (row(DETECTION), BOX), (row(DETECTION), None)])
    assert names(tmp_path) == {"S/1.png"}


def test_an_error_leaves_an_earlier_runs_lists_alone(tmp_path: Path, writer: PredictionWriter) -> None:
    (tmp_path / prediction_files()[DETECTION]).write_text("[1]")
    with pytest.raises(KeyError), writer:
        raise KeyError
    assert (tmp_path / prediction_files()[DETECTION]).read_text() == "[1]"


def test_a_folder_in_a_lists_place_is_noticed_at_once(tmp_path: Path, writer: PredictionWriter) -> None:
    (tmp_path / "regression_predictions.json").mkdir()
    with pytest.raises(OutputError, match=r"regression_predictions\.json is a folder"):
        writer.__enter__()
    assert names(tmp_path) == set()


def test_a_list_that_cannot_be_opened_leaves_nothing_behind(tmp_path: Path, writer: PredictionWriter) -> None:
    (tmp_path / f".{prediction_files()[DETECTION]}.part").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        writer.__enter__()
    assert names(tmp_path) == set()
    assert all(file.closed for file in writer.lists.values())


def test_of_two_rows_with_one_mask_the_first_is_kept(tmp_path: Path, writer: PredictionWriter) -> None:
    with writer:
        put(writer, masked("../S/1.png", 2), MASK)
        second = put(writer, masked("../S/./1.png", 3), MASK + 1)
    np.testing.assert_array_equal(pixels(tmp_path / "S/1.png"), MASK)
    assert second == RowOutcome(warnings=("another row names the same mask; the first one's is kept",))


@pytest.mark.parametrize("name", ["1.jpg", "1", "1.PNG", "1.dcm"])
def test_a_mask_is_a_png_under_a_name_of_no_known_format(tmp_path: Path, writer: PredictionWriter, name: str) -> None:
    with writer:
        outcome = put(writer, masked(f"../S/{name}"), MASK)
    assert (tmp_path / "S" / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert any("name it .png" in text for text in outcome.warnings) == (not name.lower().endswith(".png"))


@pytest.mark.parametrize(
    "path",
    [
        "../classification_predictions.json",
        "detection_predictions.json",
        ".././regression_predictions.json",
        "../detection_predictions.json/1.png",
        "../.classification_predictions.json.part",
        "../S/.mask.part",
        "../.aurora-run.part",
    ],
)
def test_a_mask_never_takes_the_place_of_other_answers(tmp_path: Path, writer: PredictionWriter, path: str) -> None:
    with writer:
        refused = put(writer, masked(path), MASK)
        put(writer, row(CLASSIFICATION), KINDS[CLASSIFICATION].fallback(row(CLASSIFICATION), 2, (9, 9)))
    assert "reserved for other predictions" in (refused.unwritten or "")
    assert [len(entries) for entries in lists(tmp_path).values()] == [1, 0, 0]
    assert names(tmp_path) == set(prediction_files().values())


@pytest.mark.parametrize(
    "path", [None, "/1.png", "../../1.png", "../S/../../1.png", "..\\..\\1.png", "C:/1.png", "../"]
)
def test_a_mask_without_a_safe_place_is_refused(tmp_path: Path, writer: PredictionWriter, path: str | None) -> None:
    with writer:
        assert "mask_path" in (put(writer, masked(path), MASK).unwritten or "")
    assert names(tmp_path) == set(prediction_files().values())


@pytest.mark.parametrize("kind", TYPES)
def test_what_was_written_is_read_back(writer: PredictionWriter, kind: TaskType) -> None:
    case = row(kind, "../S/1.jpg")
    answer = MASK if kind == SEGMENTATION else KINDS[kind].fallback(case, 2, (9, 9))
    with writer:
        outcome = put(writer, case, answer)
    found = read_back(writer.folder.root, case, outcome)
    np.testing.assert_equal(found, answer)


def test_what_is_taken_over_stands_in_the_lists_and_keeps_its_mask(tmp_path: Path, writer: PredictionWriter) -> None:
    with writer:
        outcomes = [put(writer, row(DETECTION), BOX), put(writer, masked("../S/1.png"), MASK)]
    before = (tmp_path / prediction_files()[DETECTION]).read_bytes()
    with PredictionWriter(OutputFolder(tmp_path)) as again:
        for case, outcome in zip([row(DETECTION), masked("../S/1.png")], outcomes, strict=True):
            again.take_over(case.type, outcome)
        put(again, masked("../S/1.png", 3), MASK + 1)
    assert (tmp_path / prediction_files()[DETECTION]).read_bytes() == before
    np.testing.assert_array_equal(pixels(tmp_path / "S/1.png"), MASK)


def test_a_mask_that_no_png_can_hold_is_refused(tmp_path: Path, writer: PredictionWriter) -> None:
    with writer:
        assert "1000001x1" in (put(writer, masked("../S/1.png"), np.zeros((1, 1_000_001), np.uint8)).unwritten or "")
    assert not (tmp_path / "S").exists()


def test_a_full_disk_ends_the_run_and_keeps_whole_masks_only(small_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    writer = PredictionWriter(OutputFolder(small_disk))
    with pytest.raises(OutputError, match=r"No space left.*MiB are free.*--output"):
        write_all(writer, [(masked(f"../S/{number}.png"), noise) for number in range(9)])
    assert names(small_disk) == {"S/0.png"}
    np.testing.assert_array_equal(pixels(small_disk / "S/0.png"), noise)


def test_a_disk_filled_by_records_leaves_no_half_list(small_disk: Path) -> None:
    writer = PredictionWriter(OutputFolder(small_disk))
    neutral = KINDS[REGRESSION].fallback(row(REGRESSION), 40, (9, 9))
    with pytest.raises(OutputError, match="No space left"):
        write_all(writer, [(row(REGRESSION), neutral)] * 99)
    assert names(small_disk) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_answers_belongs_to_the_folders_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 4343, 4343)
    with PredictionWriter(OutputFolder(tmp_path)) as writer:
        put(writer, masked("../S/1.png"), MASK)
    assert {place.stat().st_uid for place in tmp_path.rglob("*")} == {4343}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_lists_that_are_being_written_belong_to_the_folders_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 4343, 4344)
    with PredictionWriter(OutputFolder(tmp_path)):
        owners = [(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()]
    assert owners == 3 * [(4343, 4344)]
