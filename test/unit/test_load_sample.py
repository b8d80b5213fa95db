"""Samples as the network gets them: label on the object, mirrored as the registry says, the same for a seed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.discs import centre, disc_case, extent, pixels_off, write_disc

from aurora.images import read_image
from aurora.images.transform import resize_to
from aurora.tasks import OFFICIAL, TYPES, TaskType
from training.augment.field_of_view import crop_field_of_view
from training.config import ALL_AUGMENTATIONS, Augmentation
from training.data import cases as data
from training.data.cases import load_cases, load_sample

FRAMES = pytest.mark.parametrize("frame", [(128, 128), (128, 192), (192, 128), (64, 256)])
SIZES = [(120, 200), (300, 90), (60, 600)]
SEEDS = st.integers(0, 10_000)
EVERY_TYPE = pytest.mark.parametrize("kind", list(TYPES))
PLACED = pytest.mark.parametrize("kind", [TaskType.SEGMENTATION, TaskType.DETECTION, TaskType.REGRESSION])
OWN = {f"own_{kind}": kind for kind in TYPES}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """By size of the image, a folder with a disc."""
    made = {size: tmp_path_factory.mktemp("disc") for size in SIZES}
    for size, folder in made.items():
        write_disc(folder, size)
    return made


@pytest.fixture
def cropped() -> Iterator[None]:
    """Grey values stay, no overlays are drawn, and every field of view is cropped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "augment_intensity", lambda image, rng: image)
        patch.setattr(data, "draw_overlays", lambda image, rng: image)
        patch.setattr(data, "crop_field_of_view", partial(crop_field_of_view, chance=1.0))
        yield


@FRAMES
@PLACED
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("cropped")
def test_the_target_is_where_the_object_is_seen(
    folders: dict[tuple[int, int], Path], frame: tuple[int, int], kind: TaskType, size: tuple[int, int]
) -> None:
    case = disc_case(folders[size], kind, size)
    for seed in range(8):
        sample = load_sample([case], frame, np.random.default_rng(seed))
        seen = extent(sample.image[..., 0].astype(float))
        if kind == TaskType.SEGMENTATION:
            assert pixels_off(centre(extent(sample.targets[case.task][1])), centre(seen), frame) < 0.5
        elif kind == TaskType.DETECTION:
            assert pixels_off(sample.targets[case.task], seen, frame) < 0.6
        else:
            assert pixels_off(sample.targets[case.task][0], centre(seen), frame) < 0.5


@FRAMES
@PLACED
@pytest.mark.usefixtures("cropped")
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_the_crop_hides_nothing_labelled(
    folders: dict[tuple[int, int], Path], frame: tuple[int, int], kind: TaskType, seed: int
) -> None:
    case = disc_case(folders[SIZES[0]], kind, SIZES[0], "white.png")
    sample = load_sample([case], frame, np.random.default_rng(seed))
    whole = load_sample([case], frame, np.random.default_rng(seed), ["geometry"])
    labelled = np.zeros(frame, bool)
    places = np.floor(np.minimum(sample.targets[case.task].reshape(-1, 2), 0.999) * frame[::-1]).astype(int)
    if kind == TaskType.SEGMENTATION:
        labelled = np.kron(sample.targets[case.task][1], np.ones((4, 4))) > 0
    elif kind == TaskType.DETECTION:
        (left, top), (right, bottom) = places
        labelled[top : bottom + 1, left : right + 1] = True
    else:
        labelled[places[:, 1], places[:, 0]] = True
    np.testing.assert_array_equal(sample.targets[case.task], whole.targets[case.task])
    np.testing.assert_array_equal(sample.image[labelled], whole.image[labelled])


@pytest.fixture(scope="module")
def half_white(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every official task and one more of each type, on an image whose left half is white."""
    root = tmp_path_factory.mktemp("half")
    (root / "csv_files").mkdir()
    image = np.zeros((60, 80), np.uint8)
    cv2.imwrite(str(root / "mask.png"), image)
    image[:, :40] = 255
    cv2.imwrite(str(root / "image.png"), image)
    tasks = [
        *((task.id, task.type, task.num_classes) for task in OFFICIAL.values()),
        *((n, k, 2) for n, k in OWN.items()),
    ]
    for name, kind, count in tasks:
        points = {f"point_{k}_xy": '"[40, 30]"' for k in range(1, count + 1)} if kind == TaskType.REGRESSION else {}
        cells = {"task_id": name, "task_name": kind, "num_classes": count, "image_path": "../image.png"}
        cells |= {"mask_path": "../mask.png", "mask": 0, "x_min": 30, "y_min": 20, "x_max": 50, "y_max": 40} | points
        text = ",".join(cells) + "\n" + ",".join(map(str, cells.values())) + "\n"
        (root / "csv_files" / f"{name}.csv").write_text(text)
    return root


@pytest.mark.usefixtures("cropped")
@pytest.mark.parametrize("name", [*OFFICIAL, *OWN])
def test_a_task_is_mirrored_unless_the_registry_says_that_it_knows_left_from_right(half_white: Path, name: str) -> None:
    case = next(case for case in load_cases([half_white]) if case.task.id == name)
    sided = OFFICIAL[name].left_right if name in OFFICIAL else case.task.type == TaskType.REGRESSION
    samples = [load_sample([case], (32, 32), np.random.default_rng(seed)) for seed in range(16)]
    kept = [sample.image[:, :16].mean() > sample.image[:, 16:].mean() for sample in samples]
    assert case.task.left_right is sided
    assert all(kept) if sided else 2 < sum(kept) < 14


@FRAMES
@pytest.mark.usefixtures("cropped")
def test_all_labels_of_an_image_are_where_its_object_is_seen(
    folders: dict[tuple[int, int], Path], frame: tuple[int, int]
) -> None:
    # The landmarks first: whatever is drawn for them keeps every label of the image.
    cases = [disc_case(folders[SIZES[0]], kind, SIZES[0]) for kind in reversed(TYPES)]
    assert cases[0].task.type == TaskType.REGRESSION
    for seed in range(8):
        sample = load_sample(cases, frame, np.random.default_rng(seed))
        seen = extent(sample.image[..., 0].astype(float))
        targets = {task.type: target for task, target in sample.targets.items()}
        assert targets.keys() == set(TYPES)
        assert pixels_off(centre(extent(targets[TaskType.SEGMENTATION][1])), centre(seen), frame) < 0.5
        assert pixels_off(targets[TaskType.DETECTION], seen, frame) < 0.6
        assert pixels_off(targets[TaskType.REGRESSION][0], centre(seen), frame) < 0.5


@pytest.mark.usefixtures("cropped")
def test_a_task_that_knows_left_from_right_is_left_out_of_half_of_another_tasks_samples(half_white: Path) -> None:
    cases = {case.task.id: case for case in load_cases([half_white])}
    plain, sided = cases["breast_2cls"], cases["FUGC"]
    samples = [load_sample([plain, sided], (32, 32), np.random.default_rng(seed)) for seed in range(64)]
    alone = [sample for sample in samples if sided.task not in sample.targets]
    mirrored = [sample for sample in samples if sample.image[:, :16].mean() < sample.image[:, 16:].mean()]
    assert 20 < len(alone) < 44
    assert 8 < len(mirrored) < 24
    assert all(sided.task not in sample.targets for sample in mirrored)
    assert all(plain.task in sample.targets for sample in samples)


@EVERY_TYPE
@FRAMES
def test_a_seed_gives_one_sample_whatever_runs_beside_it(
    folders: dict[tuple[int, int], Path], kind: TaskType, frame: tuple[int, int]
) -> None:
    case = disc_case(folders[SIZES[0]], kind, SIZES[0])
    seeds = [*range(12)]
    first = [load_sample([case], frame, np.random.default_rng(seed)) for seed in seeds]
    with ThreadPoolExecutor(3) as pool:
        second = [*pool.map(lambda seed: load_sample([case], frame, np.random.default_rng(seed)), seeds)]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.targets[case.task], other.targets[case.task])
    assert len({sample.image.tobytes() for sample in first}) == len(seeds)


@EVERY_TYPE
@FRAMES
def test_without_a_generator_the_image_is_only_resized(
    folders: dict[tuple[int, int], Path], kind: TaskType, frame: tuple[int, int]
) -> None:
    case = disc_case(folders[SIZES[0]], kind, SIZES[0])
    sample = load_sample([case], frame, None)
    plain = read_image(folders[SIZES[0]] / "disc.png", case.root).pixels
    np.testing.assert_array_equal(sample.image, resize_to(plain, frame))
    if kind == TaskType.DETECTION:
        np.testing.assert_allclose(
            sample.targets[case.task], [80.5 / 200, (48.5 - 120 / 7) / 120, 160.5 / 200, (48.5 + 120 / 7) / 120]
        )
    if kind == TaskType.REGRESSION:
        np.testing.assert_allclose(sample.targets[case.task][0], [120.5 / 200, 48.5 / 120])


@pytest.mark.parametrize("kind", ALL_AUGMENTATIONS)
def test_each_kind_of_augmentation_changes_what_it_says(
    folders: dict[tuple[int, int], Path], kind: Augmentation
) -> None:
    case, frame = disc_case(folders[SIZES[0]], TaskType.DETECTION, SIZES[0], "white.png"), (64, 64)
    plain = load_sample([case], frame, None)
    found = [load_sample([case], frame, np.random.default_rng(seed), [kind]) for seed in range(24)]
    assert any(not np.array_equal(sample.image, plain.image) for sample in found)
    moved = [not np.array_equal(sample.targets[case.task], plain.targets[case.task]) for sample in found]
    assert all(moved) if kind == "geometry" else not any(moved)
    for seed in range(4):
        unchanged = load_sample([case], frame, np.random.default_rng(seed), [])
        np.testing.assert_array_equal(unchanged.image, plain.image)
        np.testing.assert_array_equal(unchanged.targets[case.task], plain.targets[case.task])
