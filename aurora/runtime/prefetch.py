"""Work done in threads ahead of whoever takes the results, in order and with a bound."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, get_native_id
from typing import TypeVar

from aurora.errors import DeviceError

Item = TypeVar("Item")
Result = TypeVar("Result")


#: How much the threads that give way are behind the others, in steps of the scheduler.
NICE_INCREMENT = 10


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], limit: int, threads: int, *, low_priority: bool = False
) -> Iterator[Result]:
    """`function` of each item, in order, computed in threads; at most `limit` are held beyond the one that is given.

    With `low_priority` the threads take, on Linux, what the others leave of the processors, as far as they are short.
    Raises `DeviceError` where no thread can be started.
    """
    start = _lower_priority if low_priority and sys.platform == "linux" else None
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead", initializer=start) as pool:
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


def _lower_priority() -> None:
    thread = get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE_INCREMENT)


def _start_all(pool: ThreadPoolExecutor, threads: int) -> None:
    """Start the pool's threads now: later the memory may be too full for them."""
    begin = Event()
    try:
        for _ in range(threads):
            pool.submit(begin.wait)
    except RuntimeError as error:
        raise DeviceError(f"{error}; let this process have more threads or more memory") from error
    finally:
        begin.set()
