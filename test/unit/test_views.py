"""A mirrored view: the mean of both outputs, mirrored back, is the same for an image and its mirror image."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aurora.engine.pytorch import ModuleEngine
from aurora.kinds.base import Prediction
from aurora.kinds.classification import ClassificationPrediction
from aurora.kinds.detection import DetectionPrediction
from aurora.kinds.landmarks import LandmarksPrediction
from aurora.model.aurora import Aurora
from aurora.model.checkpoint import Spec
from aurora.model.config import PRESETS
from aurora.predict.pipeline import predictions, read_from
from aurora.predict.request import Job, request_of
from aurora.rows import Row
from aurora.tasks import OFFICIAL, Registry, Task, TaskType, registry, with_mirrored_views, without_refinements

TASKS = registry(
    [
        *(OFFICIAL[name] for name in ("cardiac_multi", "cervix_multi", "breast_2cls", "uterine_fibroid_det")),
        OFFICIAL["fetal_head_pos_cls"],
        Task("points", TaskType.REGRESSION, 3),
    ]
)
SIDED = {"cardiac_multi", "fetal_head_pos_cls"}
SIDE = 64


@pytest.fixture(scope="module")
def model() -> Aurora:
    torch.manual_seed(0)
    model = Aurora(PRESETS["micro"], TASKS)
    # Fresh heads answer nearly the same to everything.
    for parameter in model.heads.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / "image.png"), cv2.GaussianBlur(image, (0, 0), 3))
    cv2.imwrite(str(folder / "mirrored.png"), cv2.imread(str(folder / "image.png"))[:, ::-1])
    return folder


def predicted(model: Aurora, root: Path, tasks: Registry, name: str) -> dict[str, Prediction]:
    rows = [Row(task.id, task.type, task.num_classes, f"../{name}.png", None, task.id, {}) for task in tasks.values()]
    engine = ModuleEngine(model, Spec(model.config, tasks, {}))
    jobs = [Job([request_of(row, tasks) for row in rows])]
    found = predictions(engine, jobs, read_from(root, engine), 2, use=lambda predicted: predicted)
    return {predicted.row.task_id: predicted.prediction for predicted in found}


def numbers(prediction: Prediction, *, mirrored: bool = False) -> np.ndarray:
    """What a prediction says; `mirrored`, of the mirror image."""
    if isinstance(prediction, np.ndarray):
        return prediction[:, ::-1] if mirrored else prediction
    if isinstance(prediction, ClassificationPrediction):
        return np.array(prediction.predicted_probs)
    if isinstance(prediction, DetectionPrediction):
        # A box may end half a pixel beyond the centre of the last column.
        left, top, right, bottom = np.clip(prediction.bbox_pixels, 0, SIDE - 1)
        return np.array([SIDE - 1 - right, top, SIDE - 1 - left, bottom] if mirrored else [left, top, right, bottom])
    assert isinstance(prediction, LandmarksPrediction)
    points = np.array(prediction.predicted_points_pixels).reshape(-1, 2)
    return np.abs([SIDE - 1, 0] - points) if mirrored else points


def same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype == np.uint8:  # classes of nearly equal probability may change places
        return bool((one == other).mean() > 0.995)
    return bool(np.allclose(one, other, atol=1e-3))


def test_both_views_are_the_same_for_an_image_and_its_mirror_image_unless_left_matters(
    model: Aurora, root: Path
) -> None:
    viewed = with_mirrored_views(TASKS)
    both, mirrored = (predicted(model, root, viewed, name) for name in ("image", "mirrored"))
    plain = predicted(model, root, TASKS, "image")
    for name in TASKS:
        if name in SIDED:
            assert same(numbers(both[name]), numbers(plain[name]))
        else:
            assert same(numbers(both[name]), numbers(mirrored[name], mirrored=True)), name
            assert not same(numbers(both[name]), numbers(plain[name])), name


def test_only_the_tasks_that_say_so_see_a_mirrored_view(model: Aurora, root: Path) -> None:
    seen: list[Mapping[TaskType, list[int]]] = []

    class Watched(ModuleEngine):
        def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
            seen.append({task_type: index.tolist() for task_type, index in rows.items()})
            return super().run(images, rows)

    tasks = {**TASKS, "breast_2cls": with_mirrored_views(TASKS)["breast_2cls"]}
    rows = [Row(task.id, task.type, task.num_classes, "../image.png", None, task.id, {}) for task in tasks.values()]
    engine = Watched(model, Spec(model.config, tasks, {}))
    jobs = [Job([request_of(row, tasks)]) for row in rows]
    assert len(list(predictions(engine, jobs, read_from(root, engine), 8, use=lambda predicted: predicted))) == len(
        rows
    )
    assert seen == [
        {
            TaskType.SEGMENTATION: [0, 1],
            TaskType.CLASSIFICATION: [2, 3, 5],
            TaskType.DETECTION: [4],
            TaskType.REGRESSION: [6],
        }
    ]


def test_fast_leaves_the_mirrored_view_out() -> None:
    assert without_refinements(with_mirrored_views(TASKS)) == TASKS
