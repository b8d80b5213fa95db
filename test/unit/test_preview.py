"""Pictures of answers."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from aurora.answers import Answer, classification, detection, regression
from aurora.errors import OutputError
from aurora.images import read_image
from aurora.rows import Row
from aurora.tasks import TaskType
from inference.preview import CAPTION, COLOURS, COLUMNS, TILE, Preview, tile

SIZE = (100, 200)


def row(task_id: str = "lung") -> Row:
    return Row(task_id, TaskType.SEGMENTATION, 2, "../1.png", None, "a.csv:2", {})


def drawn(answer: Answer) -> np.ndarray:
    return tile(row(), answer, np.zeros((*SIZE, 3), np.uint8))


def coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The extent x1, y1, x2, y2 of a colour."""
    y, x = np.nonzero((picture == colour).all(axis=2))
    return int(x.min()), int(y.min()), int(x.max()), int(y.max())


def test_a_mask_is_outlined_in_a_colour_per_class() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[20:40, 20:60], mask[60:80, 100:180] = 1, 2
    assert coloured(drawn(mask), COLOURS[0]) == pytest.approx((22, 22, 66, 44), abs=2)
    assert coloured(drawn(mask), COLOURS[1]) == pytest.approx((110, 66, 198, 88), abs=2)


def test_a_box_and_points_are_drawn_where_they_are_in_the_image() -> None:
    box = detection(row(), np.array([0.25, 0.2, 0.5, 0.6]), SIZE)
    assert coloured(drawn(box), COLOURS[0]) == pytest.approx((55, 22, 110, 66), abs=2)
    points = regression(row(), np.array([[0.25, 0.5], [0.75, 0.5]]), SIZE)
    assert coloured(drawn(points), COLOURS[1]) == pytest.approx((165 - 7, 55 - 7, 165 + 7, 55 + 7), abs=2)


def test_a_class_is_written_into_the_caption() -> None:
    first, second = (drawn(classification(row(), np.array(p))) for p in ([0.1, 0.9], [0.9, 0.1]))
    assert first.shape == (TILE + CAPTION, TILE, 3)
    assert not np.array_equal(first[TILE:], second[TILE:])


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_images_of_any_shape_fit_their_tile(size: tuple[int, int]) -> None:
    assert tile(row("ü"), np.ones(size, np.uint8), np.zeros((*size, 3), np.uint8)).shape == (TILE + CAPTION, TILE, 3)


@pytest.mark.parametrize(("tasks", "shape"), [(0, (1, 1)), (1, (1, 1)), (COLUMNS, (1, COLUMNS)), (8, (2, COLUMNS))])
def test_the_sheet_holds_the_first_answer_of_every_task(tmp_path: Path, tasks: int, shape: tuple[int, int]) -> None:
    preview = Preview(tmp_path / "new", tmp_path)
    for task in range(tasks):
        preview.offer(row(str(task)), np.full(SIZE, 1, np.uint8))
        preview.offer(row(str(task)), np.full(SIZE, 2, np.uint8))
    assert [np.unique(np.asarray(answer)).tolist() for _, answer in preview.first.values()] == [[1]] * tasks
    assert read_image(preview.write(), tmp_path).pixels.shape == (shape[0] * (TILE + CAPTION), shape[1] * TILE, 3)


def test_the_sheet_shows_the_image_in_its_own_colours(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((*SIZE, 3), (10, 20, 200), np.uint8))
    preview = Preview(tmp_path / "sheet", tmp_path)
    (tmp_path / "csv_files").mkdir()
    preview.offer(row(), classification(row(), np.array([1.0])))
    assert read_image(preview.write(), tmp_path).pixels[5, 5].tolist() == [200, 20, 10]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--preview"):
        Preview(tmp_path / "file" / "sheet", tmp_path).write()
