"""Jobs from many threads share batches, and get the answers that they would get alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
from support.small_weights import TASKS, save_small_weights

import aurora
from aurora.api.model import Model
from aurora.api.results import Result
from aurora.errors import ImageError, UsageError
from aurora.predict import shared_queue


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return aurora.load(save_small_weights(tmp_path, TASKS), engine="torch")


def images(count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    drawn = (cv2.GaussianBlur(rng.integers(0, 256, (40, 60)).astype(np.uint8), (0, 0), 3) for _ in range(count))
    return [cv2.imencode(".png", image)[1].tobytes() for image in drawn]


def test_jobs_of_many_threads_get_their_own_answers(model: Model) -> None:
    scans = images(24)
    expected = list(model.predict_many(scans, TASKS))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda scan: model.submit(scan, TASKS).result(), scans))
    for alone, shared in zip(expected, found, strict=True):
        assert [result.answer for result in shared] == [result.answer for result in alone]
        # PyTorch rounds differently in batches of other sizes; on one processor by up to 1.5e-7.
        confidences = [result.confidence for result in alone]
        assert [result.confidence for result in shared] == pytest.approx(confidences, abs=1e-5)
        assert {result.source for result in shared} == {"image 1"}


def test_what_waits_while_a_batch_is_computed_is_the_next_batch(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, release, original = [], Event(), model.engine.run

    def run(pixels: np.ndarray, rows: dict) -> dict:
        sizes.append(len(pixels))
        release.wait(10)
        return original(pixels, rows)

    monkeypatch.setattr(model.engine, "run", run)
    queue = model._queue
    futures = [model.submit(scan, "breast_2cls") for scan in images(1 + queue.batch_size)]
    while queue._loaded.qsize() < queue.batch_size and not sizes[1:]:
        pass
    release.set()
    assert all(future.result(10)[0].fallback is None for future in futures)
    assert sum(sizes) == 1 + queue.batch_size
    assert len(sizes) <= 3


def test_a_failed_batch_fails_its_jobs_and_no_others(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    (scan,) = images(1)
    with monkeypatch.context() as broken:
        broken.setattr(model.engine, "run", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.submit(scan, TASKS).result(10)
    assert model.submit(scan, TASKS).result(10)[1].fallback is None


def test_an_unreadable_image_is_a_fallback(model: Model) -> None:
    assert {result.fallback for result in model.submit(b"no image", TASKS).result(10)} != {None}


def test_an_unknown_task_is_named_at_once(model: Model) -> None:
    with pytest.raises(UsageError, match="expected a task that the weights know, found 'lung'"):
        model.submit(images(1)[0], "lung")


def test_results_are_decoded_one_by_one(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    predict_row = shared_queue.predict_row
    monkeypatch.setattr(shared_queue, "predict_row", lambda row: decoded.append(row) or predict_row(row))
    (scan,) = images(1)
    counts = model.submit_for(lambda results: [len(decoded) for _ in results], scan, TASKS).result(10)
    assert counts == [1, 2, 3, 4]
    with pytest.raises(ImageError):
        model.submit_for(lambda results: refuse(next(results)), scan, TASKS).result(10)


def refuse(result: Result) -> None:
    raise ImageError("is refused", result.source)
