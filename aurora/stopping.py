"""A run that is told to stop finishes what it has in hand."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """A signal handler; `wanted` becomes true when the signal arrives."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Inside, SIGTERM and SIGINT don't end the process but set the `Stop` that is given."""
    stop = Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
