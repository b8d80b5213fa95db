"""Splits: what is one group, and how groups are parted."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from aurora.errors import UsageError
from aurora.images import read_image
from aurora.rows import Row, image_file
from aurora.tasks import Task, TaskType
from training.data.cases import Case, load_cases
from training.data.near_duplicates import thumbprint
from training.data.split import Grouping, group_cases, split_cases


def picture(seed: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """(H, W) uint8: large blobs under speckle, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.standard_normal(size), (0, 0), sigma) * sigma for sigma in (20, 6, 1.5)]
    return cv2.normalize(sum(layers), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def case(root: Path, name: str, task: str = "t", patient: str | None = None) -> Case:
    row = Row(task, TaskType.CLASSIFICATION, 2, f"../{name}", None, "a.csv:2", {}, patient)
    return Case(root, row, Task(task, TaskType.CLASSIFICATION, 2, False))


def saved(root: Path, name: str, pixels: np.ndarray, task: str = "t", patient: str | None = None) -> Case:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(root / name), pixels)
    return case(root, name, task, patient)


def grouped(cases: Sequence[Case]) -> list[int]:
    return group_cases(cases).groups


def rows(counts: dict[str, int], root: Path) -> list[Case]:
    """Cases without image files, each by a patient of its own: groups are as many as rows."""
    return [case(root, f"{task}{n}.png", task, f"{task}{n}") for task, count in counts.items() for n in range(count)]


def test_the_rows_of_one_file_are_one_group_and_unrelated_images_are_apart(tmp_path: Path) -> None:
    cases = [saved(tmp_path, f"{seed}.png", picture(seed)) for seed in (0, 1, 2)]
    found = group_cases([*cases, case(tmp_path, "x/../1.png", "u")])
    assert found == Grouping([0, 1, 2, 1], images=3, identical=0, similar=0, patients=0, of_patients=0, unreadable=0)


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    one = saved(tmp_path, "1.png", picture(0))
    (tmp_path / "2.png").symlink_to("1.png")
    assert group_cases([one, case(tmp_path, "2.png")]).images == 1


def test_equal_pixels_in_two_files_of_two_tasks_are_one_group(tmp_path: Path) -> None:
    one, other = saved(tmp_path, "1.png", picture(0)), saved(tmp_path / "b", "2.bmp", picture(0), "u")
    found = group_cases([one, saved(tmp_path, "3.png", picture(1)), other])
    assert (found.groups, found.identical, found.similar) == ([0, 1, 0], 1, 0)


@pytest.mark.parametrize(("name", "change"), [
    ("2.jpg", lambda image: image),
    ("2.png", lambda image: cv2.resize(image, (100, 80), interpolation=cv2.INTER_AREA)),
    ("2.png", lambda image: image[:, ::-1]),
    ("2.png", lambda image: image[5:-5, 7:-7]),
    ("2.png", lambda image: cv2.putText(cv2.convertScaleAbs(image, alpha=1.3), "GA 21w", (9, 20), 0, 0.5, 255)),
])  # fmt: skip
def test_a_changed_copy_is_of_the_group(tmp_path: Path, name: str, change) -> None:  # type: ignore[no-untyped-def]
    cases = [saved(tmp_path, "1.png", picture(0)), saved(tmp_path, name, change(picture(0)), "u")]
    found = group_cases([*cases, saved(tmp_path, "3.png", picture(1))])
    assert (found.groups, found.identical, found.similar) == ([0, 0, 1], 0, 2)


def test_a_patient_of_the_column_is_one_in_all_folders_but_not_one_of_that_name(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    cases = [saved(root, f"{n}.png", picture(n), patient="patient7") for n, root in enumerate((here, here, there))]
    found = group_cases([*cases, saved(there, "patient7.png", picture(3)), saved(there, "4.png", picture(4))])
    assert (found.groups, found.patients, found.of_patients) == ([0, 0, 0, 1, 2], 2, 4)


@pytest.mark.parametrize(("one", "other", "together"), [
    ("A/patient0066_2CH_ED.png", "B/patient0066_4CH_ES.png", True),
    ("camus_patient0213_4CH_ES.png", "camus_patient0213_2CH_ED.png", True),
    ("subject-12_x.png", "Subject-12_y.png", True),
    ("case_0012_slice3.png", "case_0012_slice4.png", True),
    ("PatientID_7_a.png", "PatientID_7_b.png", True),
    ("010_HC.png", "010_2HC.png", True),
    ("patient1_a.png", "patient12_a.png", False),
    ("camus_patient0213.png", "other_patient0213.png", False),
    ("showcase1_a.png", "showcase1_b.png", False),
    ("patient1/a.png", "patient1/b.png", False),
    ("scan_12_1.png", "scan_12_2.png", False),
])  # fmt: skip
def test_a_patient_is_read_from_the_name_of_the_file(tmp_path: Path, one: str, other: str, together: bool) -> None:
    groups = grouped([case(tmp_path, one), case(tmp_path, other)])
    assert groups == ([0, 0] if together else [0, 1])


def test_the_column_is_believed_before_the_name(tmp_path: Path) -> None:
    cases = [case(tmp_path, f"patient1_{n}.png", patient=patient) for n, patient in enumerate("ab")]
    assert grouped(cases) == [0, 1]


def test_groups_are_chained(tmp_path: Path) -> None:
    copy = picture(0)[:, ::-1]
    cases = [
        saved(tmp_path, "1.png", picture(0), "t"),
        saved(tmp_path, "2.png", picture(1), "u", patient="p"),
        saved(tmp_path, "3.jpg", copy, "v", patient="p"),
        saved(tmp_path, "4.png", picture(1), "w"),
    ]
    assert grouped(cases) == [0, 0, 0, 0]


def test_unreadable_images_are_told_apart_by_path_and_counted(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    cases = [case(tmp_path, name) for name in ("broken.png", "absent.png", "../outside.png", "absent.png")]
    found = group_cases(cases)
    assert (found.groups, found.images, found.unreadable) == ([0, 1, 2, 1], 3, 3)


def test_black_images_are_no_near_duplicates(tmp_path: Path) -> None:
    cases = [saved(tmp_path, f"{n}.png", np.full((50, 50 + n), n, np.uint8)) for n in range(3)]
    assert grouped(cases) == [0, 1, 2]


def test_each_task_gets_its_share(tmp_path: Path) -> None:
    counts = {"large": 1000, "middle": 200, "rare": 20}
    train, val, grouping = split_cases(rows(counts, tmp_path), 0.15, 0)
    assert Counter(case.task.id for case in val) == {"large": 150, "middle": 30, "rare": 3}
    assert (len(train), grouping.unvalidated) == (1220 - 183, ())


def test_the_share_is_met_as_nearly_as_groups_of_several_tasks_allow(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = [case(tmp_path, f"{task}{n}.png", task, str(rng.integers(60))) for task in "abc" for n in range(300)]
    _, val, grouping = split_cases(cases, 0.2, 0)
    assert max(abs(count - 60) for count in Counter(case.task.id for case in val).values()) <= grouping.largest / 3


def test_a_rare_task_weighs_as_much_as_a_large_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [int(rng.integers(1, 40)) for _ in range(40)]
    cases = [case(tmp_path, f"{n} {k}.png", "large", str(n)) for n, size in enumerate(sizes) for k in range(size)]
    cases += [case(tmp_path, f"{n}.png", "rare", str(n)) for n in range(40)]
    for seed in range(5):
        assert [c.task.id for c in split_cases(cases, 0.2, seed)[1]].count("rare") == 8


def test_large_groups_stand_on_either_side(tmp_path: Path) -> None:
    cases = [case(tmp_path, f"{n}.png", patient=str(n % 20)) for n in range(200)]
    cases += [case(tmp_path, f"{n}.png", patient=str(n)) for n in range(200, 400)]
    _, val, _ = split_cases(cases, 0.2, 0)
    assert Counter(int(case.row.patient or 0) < 20 for case in val) == {True: 40, False: 40}


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_task_of_two_groups_has_one_on_either_side(tmp_path: Path, share: float) -> None:
    train, val, grouping = split_cases(rows({"large": 100, "rare": 2}, tmp_path), share, 0)
    assert [[case.task.id for case in side].count("rare") for side in (train, val)] == [1, 1]
    assert grouping.unvalidated == ()


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_task_of_one_group_is_for_training_and_named(tmp_path: Path, share: float) -> None:
    cases = [*rows({"large": 100}, tmp_path), *(case(tmp_path, f"{n}.png", "single", "p") for n in range(3))]
    train, _, grouping = split_cases(cases, share, 0)
    assert [case.task.id for case in train].count("single") == 3
    assert grouping.unvalidated == ("single",)
    assert grouping.summary().endswith("no validation rows, for too few groups: single")


def test_the_seed_alone_chooses_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    cases = rows({"a": 60, "b": 40}, tmp_path)
    mixed = [cases[n] for n in np.random.default_rng(1).permutation(len(cases))]
    chosen = [{case.row.image_path for case in split_cases(given, 0.2, 5)[1]} for given in (cases, mixed)]
    assert chosen[0] == chosen[1]
    assert chosen[0] != {case.row.image_path for case in split_cases(cases, 0.2, 6)[1]}


def test_cases_keep_their_order_and_none_is_lost(tmp_path: Path) -> None:
    cases = rows({"a": 30, "b": 30}, tmp_path)
    train, val, _ = split_cases(cases, 0.3, 0)
    places = [[cases.index(case) for case in side] for side in (train, val)]
    assert places == [sorted(side) for side in places]
    assert sorted([*places[0], *places[1]]) == list(range(60))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        split_cases([], share, 0)


def test_no_cases_are_no_groups() -> None:
    train, val, grouping = split_cases([], 0.5, 0)
    assert (train, val, grouping.groups, grouping.largest) == ([], [], [], 0)


def test_the_summary_says_what_was_grouped() -> None:
    text = Grouping([0, 0, 1], 2, identical=5, similar=6, patients=7, of_patients=8, unreadable=9).summary()
    assert text.splitlines() == [
        "3 rows of 2 images are 2 groups by picture and patient, the largest of 2 rows",
        "5 images repeat another's pixels, 6 are near-identical to another, 8 are by 7 known patients, 9 can't be read",
    ]


@pytest.mark.slow
def test_real_images_are_parted_without_a_leak(realus: Path) -> None:
    train, val, grouping = split_cases(load_cases([realus / "train", realus / "val"]), 0.2, 0)
    files = [{image_file(c.root, c.row): c.root for c in side} for side in (train, val)]
    digests = [{thumbprint(read_image(*file).pixels).digest for file in side.items()} for side in files]
    hearts = [{path.stem.split("_")[1] for path in side if path.stem.startswith("camus")} for side in files]
    assert digests[0].isdisjoint(digests[1])
    assert len(hearts[0]) > len(hearts[1]) > 10
    assert hearts[0].isdisjoint(hearts[1])
    assert (grouping.unreadable, grouping.largest <= 30) == (0, True)
    held = Counter(c.task.id for c in val)
    for task, count in Counter(c.task.id for c in [*train, *val]).items():
        assert held[task] == pytest.approx(0.2 * count, abs=3)
