"""The labels lie on what is seen: thresholds that don't know them find the same outlines."""

import cv2
import numpy as np
import pytest

from aurora.tasks import OFFICIAL
from training.phantom import SCANNERS
from training.phantom.anatomy.canvas import Canvas
from training.phantom.phantom import Phantom, make_phantom
from training.phantom.tasks.classification import CLASSIFICATION, STEP

Mask = np.ndarray


def cases(task_id: str, scanner: str, count: int = 8) -> list[Phantom]:
    return [make_phantom(OFFICIAL[task_id], i, seed=5, split="train", scanner=SCANNERS[scanner]) for i in range(count)]


def threshold(image: np.ndarray, label: Mask) -> Mask:
    """The dark structure at `label`, which only says where to look: Otsu's threshold, then the convex hull."""
    near = cv2.dilate(label.astype(np.uint8), np.ones((25, 25))) > 0
    smooth = cv2.GaussianBlur(image, (0, 0), 1.5)
    level, _ = cv2.threshold(smooth[near].reshape(-1, 1), 0, 1, cv2.THRESH_OTSU)
    count, parts = cv2.connectedComponents(((smooth <= level) & near).astype(np.uint8))
    large = [k for k in range(1, count) if (parts == k).sum() > 0.02 * label.sum() and label[parts == k].mean() > 0.7]
    found = np.zeros(image.shape, np.uint8)
    if large:
        spots = np.argwhere(np.isin(parts, large))[:, ::-1].astype(np.int32)
        cv2.fillConvexPoly(found, cv2.convexHull(spots), 1)
    return found > 0


def dice(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize(
    ("task_id", "scanner", "bound"),
    [
        ("ovary_tumor", "linear_premium", 0.89), ("ovary_tumor", "linear_portable", 0.87),
        ("ovary_tumor", "curved_abdominal", 0.88), ("ovary_tumor", "sector_cardiac", 0.87),
        ("carotid_artery", "linear_premium", 0.91), ("carotid_artery", "linear_portable", 0.88),
        ("carotid_artery", "curved_abdominal", 0.89), ("carotid_artery", "sector_cardiac", 0.87),
        ("thyroid_nodule", "linear_premium", 0.88), ("thyroid_nodule", "linear_portable", 0.87),
        ("thyroid_nodule", "curved_abdominal", 0.88), ("thyroid_nodule", "sector_cardiac", 0.87),
        ("breast_lesion", "linear_premium", 0.85), ("breast_lesion", "linear_portable", 0.83),
        ("breast_lesion", "curved_abdominal", 0.84), ("fetal_head", "linear_premium", 0.83),
    ],
)  # fmt: skip
def test_a_threshold_finds_the_labelled_structure(task_id: str, scanner: str, bound: float) -> None:
    found = [dice(threshold(case.image, case.mask > 0), case.mask > 0) for case in cases(task_id, scanner)]
    assert np.median(found) > bound


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize(("task_id", "value"), [("fetal_head", 1), ("head_symphysis_multi", 2)])
def test_a_head_s_label_ends_on_the_skull(task_id: str, value: int, scanner: str) -> None:
    for case in cases(task_id, scanner, 6):
        inside = (case.mask == value).astype(np.uint8)
        steps = [cv2.erode(inside, np.ones((k, k), np.uint8)) > 0 for k in (1, 7, 21, 29)]
        bone, brain = (case.image[a & ~b].mean() for a, b in (steps[:2], steps[2:]))
        assert bone > brain + 20


@pytest.mark.parametrize("scanner", SCANNERS)
def test_a_fetal_abdomen_s_organs_are_darker_than_its_liver(scanner: str) -> None:
    for case in cases("fetal_abdomen_multi", scanner, 6):
        vessel, liver, stomach, vein = (np.median(case.image[case.mask == k]) for k in (1, 2, 3, 4))
        assert max(vessel, stomach, vein) < liver - 10


@pytest.mark.parametrize("scanner", SCANNERS)
def test_a_heart_s_cavities_are_darker_than_its_wall(scanner: str) -> None:
    for case in cases("cardiac_multi", scanner, 6):
        ventricle, wall, atrium = (np.median(case.image[case.mask == k]) for k in (1, 2, 3))
        assert max(ventricle, atrium) < wall - 15


@pytest.mark.parametrize("task_id", ["uterine_fibroid_det", "thyroid_nodule_det", "spinal_cord_injury_loc"])
@pytest.mark.parametrize("scanner", SCANNERS)
def test_a_box_holds_what_differs_from_its_surroundings(task_id: str, scanner: str) -> None:
    for case in cases(task_id, scanner, 6):
        x1, y1, x2, y2 = case.box
        dx, dy = (x2 - x1) // 4, (y2 - y1) // 4
        core = case.image[y1 + dy : y2 - dy, x1 + dx : x2 - dx].mean()
        beside = np.hstack([case.image[y1 + dy : y2 - dy, x1 - dx : x1], case.image[y1 + dy : y2 - dy, x2 : x2 + dx]])
        assert abs(core - beside.mean()) > 10


@pytest.mark.parametrize("scanner", SCANNERS)
def test_a_cervical_canal_lies_between_its_points(scanner: str) -> None:
    for case in cases("FUGC", scanner, 6):
        first, last = case.points
        across = np.array([last[1] - first[1], first[0] - last[0]]) / np.hypot(*(last - first))
        smooth = cv2.GaussianBlur(case.image, (3, 3), 0).astype(float)
        # The canal bends: the brightest within a few pixels of the straight line, against the lip beside it.
        profile = [[smooth[*np.round(first + t * (last - first) + d * across).astype(int)[::-1]]
                    for d in range(-16, 17)] for t in np.linspace(0.05, 0.95, 20)]  # fmt: skip
        assert np.mean([max(p) - np.median(p) for p in profile]) > 20


@pytest.mark.parametrize(("task_id", "level"), [("fetal_sacral_pos_cls", 8), ("fetal_head_pos_cls", None)])
def test_a_position_turns_with_its_label(task_id: str, level: float | None) -> None:
    """The sacrum's bright bone, and the back of the head, lie at label x 45 degrees from the right downwards."""
    for index in range(24):
        canvas = Canvas(220, 290, np.random.default_rng(index))
        CLASSIFICATION[task_id](canvas, np.random.default_rng(index), index % 8)
        deep = np.s_[45:, :]
        bone = canvas.echo[deep] > level if level else canvas.specular[deep] > 5.3
        dark = canvas.echo[deep] < -30
        if level:
            aim = np.argwhere(bone).mean(axis=0) - (0.55 * 220 - 45, 145)
        else:
            # The eye sockets, dark, lie opposite the back of the head.
            orbits = cv2.erode(dark.astype(np.uint8), np.ones((7, 7))) > 0
            head = cv2.convexHull(np.argwhere(bone)[:, ::-1].astype(np.int32))
            within = np.zeros(dark.shape, np.uint8)
            cv2.fillConvexPoly(within, head, 1)
            within = cv2.erode(within, np.ones((9, 9))) > 0
            aim = np.argwhere(within).mean(axis=0) - np.argwhere(orbits & within).mean(axis=0)
        error = (np.degrees(np.arctan2(*aim)) - STEP * (index % 8) + 180) % 360 - 180
        assert abs(error) < 35
