"""Small data sets in the formats that people have, and the labels that are imported from them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision

from aurora.kinds import KINDS
from inference.check.check import check
from training.data.cases import check_label, load_cases
from training.exchange.importer import Wish, import_data

HEIGHT, WIDTH = 48, 64
RNG = np.random.default_rng(0)


def write_image(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Write an image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), RNG.integers(0, 255, size, dtype=np.uint8))
    return path


def write_mask(path: Path, mask: np.ndarray) -> np.ndarray:
    """Write a mask, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask)
    return mask


def disc(x: int = 20, y: int = 20, radius: int = 9, value: int = 1) -> np.ndarray:
    """Return a mask with a disc of a class."""
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (x, y), radius, value, cv2.FILLED)


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """Return a mask of the pixels from the first up to the second corner, which is excluded."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y1:y2, x1:x2] = 1
    return mask


def write_coco(path: Path, annotations: list[dict[str, Any]], **parts: Any) -> Path:
    """Write a COCO file of two images, 1.png and 2.png, and two categories; `parts` replace those of the file."""
    images = [{"id": n, "file_name": f"{n}.png", "height": HEIGHT, "width": WIDTH} for n in (1, 2)]
    categories = [{"id": 1, "name": "lesion"}, {"id": 3, "name": "cyst"}]
    path.parent.mkdir(parents=True, exist_ok=True)
    numbered = [{"id": number, **annotation} for number, annotation in enumerate(annotations, start=1)]
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": numbered} | parts))
    return path


def imported(source: Path, out: Path, task_id: str = "task", **wishes: Any) -> list[str]:
    """Import a source, check the roots as `inference check` and the training do, and return the lines about it."""
    lines = import_data(source, out, Wish(task_id, **wishes))
    for root in sorted({path.parent.parent for path in out.rglob("*.csv")}):
        report = check(root)
        assert (report.unreadable, report.shared_masks, report.misnamed_masks, report.problems) == ([], [], [], [])
        assert report.refusals == []
        assert all(task.rows == task.labelled for task in report.tasks)
        for case in load_cases([root]):
            check_label(case)
    return lines


def labels(root: Path) -> dict[tuple[str, str], Any]:
    """Return the labels of a root as the kinds of task read them, by the task and the name of the image."""
    found = {}
    for case in load_cases([root]):
        label = KINDS[case.task.type].read_label(case.row, root, case.task.num_classes)
        found[case.task.id, case.row.image_path.removeprefix("../images/")] = getattr(label, "points", label)
    return found


def left_out(lines: list[str]) -> dict[str, int]:
    """Return how often each reason for leaving something out was counted."""
    found = [line.removeprefix("left out (").rpartition(" [")[0] for line in lines if line.startswith("left out (")]
    return {text: int(count) for count, _, text in (line.partition("): ") for line in found)}


def boxes_of_another_tool(
    folder: Path, write: Callable[[supervision.DetectionDataset, str, str], object]
) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """Let `supervision` write two images and a box in each to `folder`/source; return that folder and the boxes."""
    boxes = {"a.png": (3, 4, 20, 21), "b.png": (30, 7, 64, 48)}
    paths = [str(write_image(folder / "images" / name)) for name in boxes]
    objects = {
        path: supervision.Detections(xyxy=np.array([box], float), class_id=np.array([0]))
        for path, box in zip(paths, boxes.values(), strict=True)
    }
    source = folder / "source"
    write(supervision.DetectionDataset(["lesion"], paths, objects), str(source / "images"), str(source / "annotations"))
    return source, boxes
