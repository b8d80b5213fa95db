"""A run's records: JSON lines, TensorBoard's files, curves, and what of them survives a resumed run."""

import json
from pathlib import Path

import cv2
import pytest

from aurora.errors import OutputError
from training.fit.log import Log, draw_curves, epoch_line, read_log, task_table

ENTRY = {
    "loss": 0.5,
    "losses": {"fetal_head": 0.25, "IUGC": 0.75},
    "epoch": 2,
    "drawn": {"fetal_head": 12},
    "images_per_second": 30.25,
    "waiting": 0.015,
    "memory_mb": 1234.5,
    "composite": 0.625,
    "best": 0.75,
    "tasks": {"fetal_head": {"dsc": 0.9, "composite": 0.9}},
}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_an_entry_is_one_json_line_and_tensorboard_scalars(tmp_path: Path) -> None:
    log = Log(tmp_path, steps=10)
    log.write(step=4, **ENTRY)
    log.close()
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 4, **ENTRY}
    found = scalars(tmp_path)
    assert found["tasks/fetal_head/dsc"] == [(4, pytest.approx(0.9))]
    assert found["losses/IUGC"] == [(4, 0.75)]


def test_a_resumed_log_drops_what_came_after_its_step(tmp_path: Path) -> None:
    log = Log(tmp_path, steps=10)
    for step in (1, 2, 3):
        log.write(step=step, loss=float(step), losses={})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # as a loss of power may leave it
    log = Log(tmp_path, steps=10, step=2)
    log.write(step=3, loss=30.0, losses={})
    log.close()
    assert [(entry["step"], entry["loss"]) for entry in read_log(tmp_path / "log.jsonl")] == [(1, 1), (2, 2), (3, 30)]
    assert scalars(tmp_path)["loss"] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_a_new_log_begins_anew(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        log = Log(tmp_path, steps=10)
        log.write(step=1, loss=loss, losses={})
        log.close()
    assert [entry["loss"] for entry in read_log(tmp_path / "log.jsonl")] == [2.0]


def test_curves_are_a_picture_that_changes_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    pictures = []
    for loss in (0.5, 5.0):
        log.write_text("".join(json.dumps({"step": step, **ENTRY, "loss": loss / step}) + "\n" for step in (1, 2, 3)))
        draw_curves(log, tmp_path / "curves.png")
        pictures.append(cv2.imread(str(tmp_path / "curves.png")))
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()


def test_an_empty_log_draws_nothing(tmp_path: Path) -> None:
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_an_epoch_is_one_line_and_a_line_per_task() -> None:
    line = epoch_line({"step": 800, **ENTRY}, seconds_left=600)
    assert line == (
        "epoch 2  step 800  loss 0.500  composite 0.625 (best 0.750)  "
        "30.2 images/s  waiting 1.5%  1,234 MB  10 min left"
    )
    assert task_table({"step": 800, **ENTRY}).splitlines() == [
        "  fetal_head  drawn     12  loss 0.250  dsc 0.900  composite 0.900",
        "  IUGC        drawn      0  loss 0.750",
    ]


def test_a_log_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"can't write .*log\.jsonl"):
        Log(tmp_path / "file", steps=1)
