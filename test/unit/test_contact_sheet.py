"""The selection of predictions to show, and their sheets."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from aurora.images import read_image
from aurora.rows import Row
from aurora.tasks import TaskType
from inference.output.folder import OutputFolder
from inference.output.journal import RowOutcome
from inference.report.contact_sheet import CAPTION, COLUMNS, TILE, write_sheets
from inference.report.gallery import DOUBTFUL, SAMPLE, Gallery

CLASSIFICATION = TaskType.CLASSIFICATION


def row(number: int = 0, task_id: str = "organ") -> Row:
    return Row(task_id, CLASSIFICATION, 2, f"../{number}.png", None, f"a.csv:{number + 2}", {})


def outcome(row: Row, confidence: float | None = 0.5) -> RowOutcome:
    record = {"image_path": row.image_path, "task_id": row.task_id, "predicted_class": 0, "predicted_probs": [1.0]}
    return RowOutcome(json.dumps(record), confidence=confidence)


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    (tmp_path / "csv_files").mkdir()
    return Gallery(tmp_path, tmp_path / "out")


def sheets(gallery: Gallery) -> Path:
    return write_sheets(gallery, OutputFolder(gallery.root / "sheets", "--preview")).parent


def size(path: Path) -> tuple[int, int]:
    height, width = cv2.imread(str(path)).shape[:2]
    return height // (TILE + CAPTION), width // TILE


def test_the_first_the_most_doubtful_and_a_sample_are_kept(gallery: Gallery) -> None:
    confidences = np.random.default_rng(0).permutation(1000) / 1000
    for number, confidence in enumerate(confidences.tolist()):
        gallery.offer(row(number), outcome(row(number), confidence))
    (chosen,) = gallery.tasks.values()
    assert [item.number for item in chosen.first] == [0]
    assert [item.outcome.confidence for item in chosen.most_doubtful()] == [0.0, 0.001, 0.002, 0.003][:DOUBTFUL]
    assert len({item.number for item in chosen.sample}) == SAMPLE


def test_a_sample_is_drawn_evenly_and_the_same_again(tmp_path: Path) -> None:
    samples = []
    for task in [*map(str, range(300)), "0"]:
        gallery = Gallery(tmp_path, tmp_path)
        for number in range(100):
            gallery.offer(row(number, task), outcome(row(number)))
        samples.append([item.number for item in gallery.tasks[task, CLASSIFICATION].sample])
    assert samples[0] == samples[-1]
    assert np.mean(samples) == pytest.approx(49.5, abs=2)
    assert np.bincount(np.ravel(samples), minlength=100).std() < 12


def test_fallbacks_are_not_doubtful(gallery: Gallery) -> None:
    gallery.offer(row(), outcome(row(), confidence=None))
    (chosen,) = gallery.tasks.values()
    assert chosen.most_doubtful() == []
    assert len(chosen.sample) == 1


def test_predictions_that_could_not_be_written_are_not_shown(gallery: Gallery) -> None:
    gallery.offer(row(), RowOutcome(unwritten="mask_path is blank", confidence=0.1))
    assert gallery.tasks == {}


@pytest.mark.parametrize(("tasks", "shape"), [(0, (1, 1)), (1, (1, 1)), (COLUMNS, (1, COLUMNS)), (8, (2, COLUMNS))])
def test_the_overview_holds_the_first_prediction_of_every_task(
    gallery: Gallery, tasks: int, shape: tuple[int, int]
) -> None:
    for task in range(tasks):
        for number in range(3):
            gallery.offer(row(number, f"task{task}"), outcome(row(number)))
    folder = sheets(gallery)
    assert size(folder / "preview.png") == shape
    assert len(list(folder.iterdir())) == tasks + 1


def test_every_task_has_a_sheet_whatever_it_is_called(gallery: Gallery) -> None:
    names = ["organ", "../organ", "a/b", "a b", "preview", "PREVIEW", "ü" * 300, "", "..", "A_B"]
    for name in names:
        gallery.offer(row(0, name), outcome(row()))
    files = {path.name for path in sheets(gallery).iterdir()}
    assert len({name.lower() for name in files}) == len(names) + 1
    assert {"organ.png", "organ-2.png", "a_b.png", "a_b-2.png", "preview-2.png", "task.png"} <= files


def test_a_sheet_shows_the_images_in_their_own_colours(gallery: Gallery) -> None:
    cv2.imwrite(str(gallery.root / "0.png"), np.full((100, 200, 3), (10, 20, 200), np.uint8))
    gallery.offer(row(0), outcome(row()))
    picture = read_image(sheets(gallery) / "organ.png", gallery.root).pixels
    assert picture[80, 200].tolist() == [200, 20, 10]


def test_an_image_or_a_mask_that_is_gone_leaves_a_tile(gallery: Gallery) -> None:
    gone = Row("lung", TaskType.SEGMENTATION, 2, "../1.png", "../m.png", "a.csv:2", {})
    gallery.offer(gone, RowOutcome(mask="m.png", checksum=1))
    gallery.offer(gone, RowOutcome(warnings=("another row names the same mask; the first one's is kept",)))
    assert size(sheets(gallery) / "lung.png") == (1, 2)
