"""Batches that are too large for the memory are cut, and no row is lost or mixed up."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from aurora.images.reader import ModelInput
from aurora.predict.batch import BatchSplitter, LoadedJob, is_out_of_memory
from aurora.predict.request import Job, Request
from aurora.rows import Row
from aurora.tasks import TaskType

CLASSIFICATION, DETECTION = TaskType.CLASSIFICATION, TaskType.DETECTION


class Bounded:
    """Answers with the image's grey; holds no more than `most` images at once."""

    name, path = "bounded", Path("w")

    def __init__(self, most: int, cpu: "Bounded | None" = None, error: Exception | None = None) -> None:
        self.most, self.cpu = most, cpu
        self.error = error or RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.done: list[int] = []

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        if len(images) > self.most:
            raise self.error
        self.done.append(len(images))
        return {kind: images[index, 0, 0, :1].astype(np.float32) for kind, index in rows.items()}

    def cpu_fallback(self) -> "Bounded | None":
        return self.cpu


def loaded(number: int) -> LoadedJob:
    """An image of one grey that two tasks want; every fifth can't be read."""
    row = Row("t", CLASSIFICATION, 2, f"{number}.png", None, f"a.csv:{number}", {})
    requests = [Request(row, 2), Request(Row("d", DETECTION, 1, row.image_path, None, row.source, {}), 1)]
    pixels = None if number % 5 == 4 else np.full((8, 8, 3), number, np.uint8)
    return LoadedJob(Job(requests), ModelInput(pixels, (8, 8)))


def greys(splitter: BatchSplitter, batch: list[LoadedJob]) -> list[list[int | None]]:
    """What each image's two requests got, image by image."""
    outputs = [output for batch_output in splitter.run(batch) for output in batch_output.requests]
    raws = [int(output.raw[output.request.row.type][0]) if output.raw else None for output in outputs]
    return [raws[start : start + 2] for start in range(0, len(raws), 2)]


@pytest.mark.parametrize("most", [99, 16, 7, 2, 1])
def test_every_image_gets_its_own_answer_whatever_the_memory(most: int) -> None:
    batch = [loaded(number) for number in range(16)]
    expected = [[None] * 2 if number % 5 == 4 else [number] * 2 for number in range(16)]
    assert greys(BatchSplitter(Bounded(most), 16), batch) == expected


def test_what_fitted_once_is_what_is_tried_next_and_it_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    splitter = BatchSplitter(engine := Bounded(3), 16)
    for _ in range(3):
        greys(splitter, [loaded(number) for number in (0, 1, 2, 3, 5, 6, 7, 8)])
    assert engine.done == [2] * 12
    assert capsys.readouterr().out == "the memory doesn't hold 8 images at once; continuing with fewer\n"


def test_an_image_too_large_for_the_gpu_goes_to_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    cpu = Bounded(1)
    assert greys(BatchSplitter(Bounded(0, cpu), 16), [loaded(1), loaded(2)]) == [[1, 1], [2, 2]]
    assert cpu.done == [1, 1]
    assert capsys.readouterr().out.count("computed on the CPU") == 1


@pytest.mark.parametrize("cpu", [None, Bounded(0)], ids=["on the CPU already", "too large there as well"])
def test_an_image_too_large_for_everything_says_so(cpu: Bounded | None) -> None:
    (output,) = BatchSplitter(Bounded(0, cpu), 16).run([loaded(1)])
    assert output.reason == "there is not enough memory for this image"
    assert [request.raw for request in output.requests] == [{}, {}]


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="illegal"):
        greys(
            BatchSplitter(Bounded(0, error=RuntimeError("CUDA error: an illegal memory access")), 16),
            [loaded(0), loaded(1)],
        )


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB.",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
        "bfc_arena.cc:360 AllocateRawInternal Failed to allocate memory for requested buffer of size 25165824",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "std::bad_alloc",
    ],
)
def test_the_engines_own_words_for_it_are_known(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("Non-zero status code returned while running Conv node"))
