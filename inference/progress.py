"""How far a run is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def progress(items: Iterable[T], total: int) -> Iterator[T]:
    """Pass `items` on, telling how many of `total` have passed."""
    return _bar(items, total) if sys.stdout.isatty() else _lines(items, total)


def _bar(items: Iterable[T], total: int) -> Iterator[T]:
    from rich.progress import track

    return iter(track(items, description="rows", total=total))


def _lines(items: Iterable[T], total: int) -> Iterator[T]:
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{done} of {total} rows", flush=True)
