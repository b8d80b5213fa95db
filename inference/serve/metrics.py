"""What the service counts, in the text format of Prometheus."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

#: The paths that are counted by name; all others count together, because a client can invent any number of them.
PATHS = ("/", "/health", "/invoke", "/metrics", "/predict", "/tasks")


class Metrics:
    """The counters of one service.

    Args:
        stages: returns the seconds of work of each stage so far.
    """

    def __init__(self, stages: Callable[[], Mapping[str, float]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "aurora_requests", "Requests that were answered.", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "aurora_request_seconds", "Seconds from a request to its response.", ["path"], registry=self._registry
        )
        self.waiting = Gauge("aurora_waiting", "Predictions that are waiting or computed now.", registry=self._registry)
        self.refused = Counter("aurora_refused", "Predictions refused because too many wait.", registry=self._registry)
        self._registry.register(_Stages(stages))

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count a response."""
        name = path if path in PATHS else "other"
        self._requests.labels(name, str(status)).inc()
        self._seconds.labels(name).observe(seconds)

    def text(self) -> bytes:
        """Return all values."""
        return generate_latest(self._registry)


class _Stages(Collector):
    def __init__(self, stages: Callable[[], Mapping[str, float]]) -> None:
        self._stages = stages

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily("aurora_stage_seconds", "Seconds of work of each stage.", labels=["stage"])
        for name, seconds in self._stages().items():
            family.add_metric([name], seconds)
        yield family
