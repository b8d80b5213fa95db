"""Prefetching is ordered and bounded, and its failures reach the caller."""

import os
import sys
from collections.abc import Iterator
from threading import Lock, Thread, get_native_id

import pytest

from aurora.errors import DeviceError
from aurora.runtime.prefetch import NICE_INCREMENT, prefetch


def test_results_are_in_order_and_their_number_is_bounded() -> None:
    begun, lock = [], Lock()

    def items() -> Iterator[int]:
        for number in range(50):
            with lock:
                begun.append(number)
            yield number

    results = prefetch(lambda number: -number, items(), limit=5, threads=4)
    assert [next(results) for _ in range(3)] == [0, -1, -2]
    assert len(begun) == 8
    assert list(results) == [-number for number in range(3, 50)]


def test_a_failure_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda number: 1 // number, [2, 1, 0, 1], limit=2, threads=4))


def test_where_no_thread_can_be_started_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)
    with pytest.raises(DeviceError, match="can't start new thread; let this process have more"):
        list(prefetch(str, [1], limit=1, threads=1))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ranks single threads")
def test_low_priority_is_for_the_threads_that_ask_for_it() -> None:
    def rank(_: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, get_native_id())

    before = rank(0)
    assert (
        list(prefetch(rank, range(4), limit=2, threads=2, low_priority=True)) == [min(before + NICE_INCREMENT, 19)] * 4
    )
    assert list(prefetch(rank, range(4), limit=2, threads=2)) == [before] * 4
    assert rank(0) == before
