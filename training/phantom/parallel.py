"""Work shared among processes. Threads gain less here: numpy's random numbers and small arrays hold Python's lock."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import cv2

Job = TypeVar("Job")
Result = TypeVar("Result")


def available_workers() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> list[Result]:
    """`work` done on each of `jobs` by so many processes (1: in this one); results in the jobs' order.

    The first error of `work` is raised, and what has not begun is dropped, as on an interrupt: what has begun ends.
    """
    if workers == 1 or len(jobs) < 2:
        return [work(job) for job in jobs]
    # A forked process would inherit OpenCV's thread pool without its threads, and wait for them for ever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _prepare)
    try:
        return list(pool.map(work, jobs))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare() -> None:
    """Ctrl-C reaches every process of the terminal: the first one answers it, the workers finish what they hold."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
