"""Run a function over an iterable in background threads; ordered, bounded prefetching."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, get_native_id
from typing import TypeVar

from aurora.errors import DeviceError
from aurora.runtime.hardware import MORE_THREADS

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How much the nice value of low-priority threads is raised.
NICE_INCREMENT = 10


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], limit: int, threads: int, *, low_priority: bool = False
) -> Iterator[Result]:
    """Yield `function(item)` of each item, in order, computed in background threads.

    Args:
        function: its exceptions are raised where its result would be yielded.
        items: read in the consumer's thread.
        limit: the number of results, finished or not, that may wait beyond the one being yielded.
        threads: the number of threads.
        low_priority: run the threads at a lower scheduling priority (Linux only).

    Example:
        >>> list(prefetch(abs, [-1, -2, -3], limit=2, threads=2))
        [1, 2, 3]

    Raises:
        DeviceError: no thread can be started.
    """
    start = lower_priority if low_priority else None
    with ThreadPoolExecutor(threads, thread_name_prefix="prefetch", initializer=start) as pool:
        _start_all(pool, threads)
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def lower_priority() -> None:
    """Let the calling thread, and those that it starts, give way to others (Linux only)."""
    if sys.platform != "linux":
        return
    thread = get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE_INCREMENT)


def _start_all(pool: ThreadPoolExecutor, threads: int) -> None:
    """Start the pool's threads now, because later there may not be enough memory for them."""
    begin = Event()
    try:
        for _ in range(threads):
            pool.submit(begin.wait)
    except RuntimeError as error:
        raise DeviceError(f"{error}; {MORE_THREADS}") from error
    finally:
        begin.set()
