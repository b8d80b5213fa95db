"""Where a run's time goes: the seconds that each stage is at work, in however many threads."""

import time
from collections.abc import Callable
from threading import Lock
from typing import ParamSpec, TypeVar

from aurora.limits import processors

Args = ParamSpec("Args")
Result = TypeVar("Result")

#: More than this many threads per stage have never been seen to help, and each holds an image.
MOST_THREADS = 16


class Stages:
    """Counts while a run goes on.

    `threads` is how many the stages around the model may use each.
    """

    def __init__(self) -> None:
        self.threads = min(processors(), MOST_THREADS)
        self.seconds: dict[str, float] = {}
        self._lock = Lock()
        self._begun = self._ended = 0.0

    def timed(self, name: str, function: Callable[Args, Result]) -> Callable[Args, Result]:
        """The function, counting the time it takes for the stage `name`."""
        self.seconds[name] = 0.0

        def counted(*args: Args.args, **kwargs: Args.kwargs) -> Result:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                ended = time.perf_counter()
                with self._lock:
                    self.seconds[name] += ended - begun
                    self._begun = min(self._begun or begun, begun)
                    self._ended = max(self._ended, ended)

        return counted

    def __str__(self) -> str:
        spent = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
        whole = self._ended - self._begun
        return f"at work for {whole:.2f} s: {spent}; reading and answers in {self.threads} threads each"
