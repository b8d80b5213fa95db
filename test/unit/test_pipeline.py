"""From rows to answers with a model that is plain arithmetic on the image."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.listed import Listed

from aurora.images import Image, read_image
from aurora.images.transform import resize_to
from aurora.model.checkpoint import Spec
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.predict.pipeline import predictions, read_from
from aurora.predict.predictions import PredictedRow
from aurora.rows import Row
from aurora.tasks import TYPES, Task, TaskType, of_type, registry
from inference.plan import Plan

SEGMENTATION, CLASSIFICATION, DETECTION, REGRESSION = TYPES
TASKS = registry(
    [
        Task("seg2", SEGMENTATION, 2), Task("seg4", SEGMENTATION, 4), Task("cls2", CLASSIFICATION, 2),
        Task("cls3", CLASSIFICATION, 3), Task("det", DETECTION, 1), Task("reg", REGRESSION, 2),
    ]
)  # fmt: skip
WHITE = 255
FRAME = (64, 96)


class FakeEngine:
    """Every channel is the image's red at an eighth of the size, times the square of the channel's number.

    A white image makes the first class of every classification NaN.
    """

    name = "fake"

    def __init__(self, num_workers: int = 1) -> None:
        self.num_workers = num_workers
        self.spec = Spec(ModelConfig(EncoderConfig(4, 64, 64, 4), 8, image_size=FRAME), TASKS, {})
        self.encoded: list[int] = []

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        assert images.dtype == np.uint8
        assert images.shape[1:] == (*FRAME, 3)
        self.encoded.append(len(images))
        return {kind: self._head(kind, images[index]) for kind, index in rows.items()}

    def _head(self, kind: TaskType, images: np.ndarray) -> np.ndarray:
        factors = np.arange(1, 1 + sum(task.channels for task in of_type(TASKS, kind)), dtype=np.float32) ** 2
        maps = images[:, None, ::8, ::8, 0] / np.float32(WHITE) * factors[:, None, None]
        if kind != CLASSIFICATION:
            return maps
        maps[images[:, 0, 0, 0] == WHITE, 0] = np.nan
        return maps[:, :, 0, 0]


def row(task_id: str, image: int | str, number: int = 2, kind: TaskType | None = None) -> Row:
    kind = kind or TASKS[task_id].type
    return Row(task_id, kind, None, f"../images/{image}.png", f"../m/{number}.png", f"a.csv:{number}", {})


def mixed(images: int) -> list[Row]:
    pairs = [(task, image) for image in range(images) for task in TASKS]
    return [row(task, image, number) for number, (task, image) in enumerate(pairs, start=2)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images 0 to 8 of various sizes, each with other content; and one that is white."""
    (tmp_path / "images").mkdir()
    for number in range(9):
        pixels = np.random.default_rng(number).integers(0, 200, (20 + 9 * number, 90, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), pixels)
    cv2.imwrite(str(tmp_path / "images" / "white.png"), np.full((30, 30, 3), WHITE, np.uint8))
    return tmp_path


def predicted(rows: list[Row], root: Path, engine: FakeEngine | None = None, batch_size: int = 4) -> list[PredictedRow]:
    engine = engine or FakeEngine()
    jobs = Plan(Listed(rows), engine.spec.tasks).jobs()
    return list(predictions(engine, jobs, read_from(root, engine), batch_size, use=lambda item: item))


def mask(item: PredictedRow) -> np.ndarray:
    assert isinstance(item.prediction, np.ndarray)
    return item.prediction


def plain(found: list[PredictedRow]) -> list[Any]:
    return [
        (
            item.row.source,
            item.prediction.tolist() if isinstance(item.prediction, np.ndarray) else item.prediction.model_dump(),
        )
        for item in found
    ]


def test_every_row_of_every_type_gets_its_own_answer_in_order(root: Path) -> None:
    found = predicted(mixed(3), root)
    assert [item.row for item in found] == mixed(3)
    assert [item.fallback for item in found] == [None] * 18
    assert [type(item.prediction).__name__ for item in found[2:6]] == [
        "ClassificationPrediction", "ClassificationPrediction", "DetectionPrediction", "LandmarksPrediction",
    ]  # fmt: skip


def test_each_task_is_answered_by_its_own_channels(root: Path) -> None:
    (item,) = predicted([row("cls3", 1)], root)
    red = FakeEngine()._head(CLASSIFICATION, _frame(root, 1))[0]
    assert not isinstance(item.prediction, np.ndarray)
    expected = np.exp(red[2:5]) / np.exp(red[2:5]).sum()
    np.testing.assert_allclose(item.prediction.model_dump()["predicted_probs"], expected, rtol=1e-6)


def _frame(root: Path, number: int) -> np.ndarray:
    return resize_to(read_image(root / "images" / f"{number}.png", root).pixels, FRAME)[None]


def test_masks_have_the_size_of_their_own_image(root: Path) -> None:
    found = predicted([row("seg4", number, number) for number in range(9)], root)
    assert [mask(item).shape for item in found] == [(20 + 9 * number, 90) for number in range(9)]


def test_batches_computed_side_by_side_come_out_in_order(root: Path) -> None:
    assert plain(predicted(mixed(9), root, FakeEngine(num_workers=3), batch_size=1)) == plain(predicted(mixed(9), root))


def test_an_image_that_several_rows_use_is_encoded_once(root: Path) -> None:
    engine = FakeEngine()
    predicted(mixed(5), root, engine, batch_size=2)
    assert engine.encoded == [2, 2, 1]


def test_both_views_of_an_image_count_and_stay_together(root: Path) -> None:
    engine = FakeEngine()
    tasks = registry([replace(task, mirrored=task.id == "seg2") for task in TASKS.values()])
    engine.spec = replace(engine.spec, tasks=tasks)
    rows = [row("seg2" if number in (1, 2, 5) else "seg4", number, number + 2) for number in range(9)]
    predicted(rows, root, engine, batch_size=4)
    assert engine.encoded == [3, 3, 4, 1, 1]  # images 0 and 1, 2 and 3; 4 to 6, 7; 8


@pytest.mark.parametrize("batch_size", [2, 7, 100])
def test_batches_change_no_answer(root: Path, batch_size: int) -> None:
    rows = [*mixed(9)[::-1], row("new", 3, 99, DETECTION), row("seg2", "absent", 100)]
    assert plain(predicted(rows, root, batch_size=batch_size)) == plain(predicted(rows, root, batch_size=1))


def test_rows_that_need_no_model_do_not_wake_it(root: Path) -> None:
    engine = FakeEngine()
    found = predicted([row("new", 1, kind=SEGMENTATION), row("seg2", "absent")], root, engine)
    assert engine.encoded == []
    assert mask(found[0]).shape == (29, 90)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("cls2", "absent", 9), "can't be opened"),
        (row("new", 1, 9, DETECTION), "no task 'new'"),
        (row("seg2", 1, 9, REGRESSION), "as segmentation, the row asks for Regression"),
        (row("cls2", "white", 9), "not finite"),
        (row("det", "../../outside", 9), "leads out of the input folder"),
    ],
    ids=["no image", "unknown task", "other type", "NaN", "outside"],
)
def test_a_row_that_cannot_be_answered_gets_a_fallback_and_its_neighbours_theirs(
    root: Path, bad: Row, reason: str
) -> None:
    rows = mixed(2)
    found = predicted([*rows[:5], bad, *rows[5:]], root)
    (odd,) = [item for item in found if item.row is bad]
    assert reason in (odd.fallback or "")
    assert plain([item for item in found if item.row is not bad]) == plain(predicted(rows, root))


def test_what_spoils_one_row_spoils_no_other_of_the_same_image(root: Path) -> None:
    found = predicted([row(task, "white", number) for number, task in enumerate(TASKS)], root)
    assert [item.row.task_id for item in found if item.fallback] == ["cls2"]


def test_a_fallback_for_a_damaged_image_has_the_size_its_header_states(root: Path) -> None:
    whole = (root / "images" / "5.png").read_bytes()
    (root / "images" / "5.png").write_bytes(whole[: len(whole) // 2])
    (item,) = predicted([row("seg2", 5)], root)
    assert item.fallback
    assert mask(item).shape == (65, 90)


def test_what_is_odd_about_an_image_or_a_row_is_passed_on(root: Path) -> None:
    cv2.imwrite(str(root / "images" / "deep.png"), np.arange(900, dtype=np.uint16).reshape(30, 30))
    odd = Row("cls3", CLASSIFICATION, 5, "../images/deep.png", None, "a.csv:2", {})
    (item,) = predicted([odd], root)
    assert item.fallback is None
    assert ["percentile" in item.warnings[0], "num_classes is 5" in item.warnings[1]] == [True, True]


def test_after_a_stop_the_batch_in_hand_is_finished_and_soon_no_other_is_begun(root: Path) -> None:
    engine, found = FakeEngine(), list[PredictedRow]()
    jobs = Plan(Listed(mixed(9)), TASKS).jobs()
    for item in predictions(engine, jobs, read_from(root, engine), 1, use=lambda item: item, stop=lambda: bool(found)):
        found.append(item)
    assert found[-1].last
    assert 0 < len(found) < 9 * len(TASKS)
    assert len(found) % len(TASKS) == 0


def test_the_last_row_of_every_batch_is_marked(root: Path) -> None:
    found = predicted([*mixed(3), row("seg2", "absent", 99)], root, batch_size=2)
    assert [number for number, item in enumerate(found) if item.last] == [11, 18]


def test_an_image_that_breaks_its_decoder_costs_only_its_own_answer(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_or_break(path: Path, folder: Path) -> Image:
        if path.name.startswith("1"):
            raise MemoryError("no room")
        return read_image(path, folder)

    monkeypatch.setattr("aurora.images.reader.read_image", read_or_break)
    found = predicted(mixed(3), root)
    broken = {item.row.image_path for item in found if item.fallback}
    assert len(broken) == 1
    assert all("MemoryError: no room" in item.fallback for item in found if item.fallback)
