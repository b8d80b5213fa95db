"""What batches hold: all labels of a drawn image, images of the size that is due, and the same after a restart."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from support.discs import disc_case, write_disc

from aurora.errors import InputError
from aurora.tasks import TYPES
from training.config import FitConfig
from training.data.cases import Case
from training.fit.distributed import ProcessGroup
from training.fit.loader import PREFETCH, Batch, BatchLoader, frame_of_batch
from training.fit.sampler import TaskSampler

SIZE = (60, 90)
ALONE = ProcessGroup(torch.device("cpu"))
CONFIG = FitConfig(preset="micro", steps=6, batch_size=4, image_size=96, first_sizes=[32, 64])


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """One image with a label of each type, each of another task."""
    write_disc(tmp_path, SIZE)
    labelled = [disc_case(tmp_path, kind, SIZE) for kind in TYPES]
    return [replace(case, task=replace(case.task, id=case.task.type)) for case in labelled]


def loader_of(cases: list[Case], config: FitConfig = CONFIG) -> BatchLoader:
    return BatchLoader(cases, TaskSampler({case.task.id: 1 for case in cases}), config, ALONE)


def taken(loader: BatchLoader, count: int) -> Iterator[Batch]:
    return islice(iter(loader), count)


def test_an_image_brings_the_labels_of_all_its_tasks(cases: list[Case]) -> None:
    for batch in taken(loader_of(cases), 3):
        assert len(batch.images) == 4
        assert {task.id: len(target) for task, (_, target) in batch.targets.items()} == dict.fromkeys(TYPES, 4)
        assert batch.rows.keys() == set(TYPES)
        assert all(rows.tolist() == [0, 1, 2, 3] for rows in batch.rows.values())


def test_a_bad_label_of_another_task_costs_only_itself(cases: list[Case]) -> None:
    bad = replace(cases[0], row=replace(cases[0].row, mask_path="../absent.png"))
    mixed = [bad, *cases[1:]]
    loader = loader_of(mixed, CONFIG.model_copy(update={"on_bad_case": "skip"}))
    drawn = [task.id for batch in taken(loader, 3) for task in batch.targets]
    assert bad.task.id not in drawn
    assert set(drawn) == {case.task.id for case in cases[1:]}
    assert set(loader.skipped) <= {0}
    with pytest.raises(InputError, match=r"absent\.png"):
        next(iter(loader_of(mixed)))


def test_images_grow_in_equal_parts_of_the_run(cases: list[Case]) -> None:
    sizes = [tuple(batch.images.shape[1:3]) for batch in taken(loader_of(cases), 8)]
    assert sizes == [(32, 32)] * 2 + [(64, 64)] * 2 + [(96, 96)] * 4
    halved = CONFIG.model_copy(update={"gradient_accumulation": 2})
    assert [frame_of_batch(halved, batch)[0] for batch in range(12)] == [32] * 4 + [64] * 4 + [96] * 4
    assert frame_of_batch(CONFIG.model_copy(update={"first_sizes": []}), 0) == (96, 96)


@pytest.mark.parametrize("done", [1, 3])
def test_a_restored_loader_gives_the_batches_that_would_have_followed(cases: list[Case], done: int) -> None:
    loader = loader_of(cases)
    batches = iter(loader)
    for _ in range(done):
        next(batches)
    state = loader.state()
    assert len(state["drawn"]) == PREFETCH - 1
    restored = loader_of(cases)
    restored.restore(state)
    for one, other in zip(islice(batches, 3), taken(restored, 3), strict=True):
        assert one.images.shape == other.images.shape
        assert torch.equal(one.images, other.images)
