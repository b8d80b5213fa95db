"""Work ahead of its taker: in order, bounded, and its failures are not lost."""

from collections.abc import Iterator
from threading import Lock

import pytest

from aurora.ahead import ahead


def test_reading_is_ahead_by_a_bounded_number_and_in_order() -> None:
    begun, lock = [], Lock()

    def items() -> Iterator[int]:
        for number in range(50):
            with lock:
                begun.append(number)
            yield number

    results = ahead(lambda number: -number, items(), limit=5, threads=4)
    assert [next(results) for _ in range(3)] == [0, -1, -2]
    assert len(begun) == 8
    assert list(results) == [-number for number in range(3, 50)]


def test_a_failure_ahead_reaches_the_reader() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda number: 1 // number, [2, 1, 0, 1], limit=2, threads=4))
