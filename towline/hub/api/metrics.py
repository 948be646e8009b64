"""The API's counters, under the names that Kubernetes' dashboards know."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """One server's counters, in `registry`."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        labels = ("verb", "group", "resource", "subresource", "code")
        self._requests = Counter(
            "apiserver_request", "Answered requests.", labels, registry=self.registry
        )  # the client appends _total
        self._seconds = Histogram(
            "apiserver_request_duration_seconds",
            "Time to the answer, watches apart.",
            ("verb", "group", "resource"),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "apiserver_current_inflight_requests",
            "Requests under way, watches apart.",
            ("request_kind",),
            registry=self.registry,
        )
        self.watches = Gauge(
            "apiserver_longrunning_requests",
            "Open watches.",
            ("verb", "group", "version", "resource", "scope"),
            registry=self.registry,
        )
        self._rejected = Counter(
            "apiserver_flowcontrol_rejected_requests",
            "Requests answered 429.",
            ("priority_level", "reason"),
            registry=self.registry,
        )
        levels = ("priority_level",)
        self._queued = Gauge(
            "apiserver_flowcontrol_current_inqueue_requests",
            "Requests that wait.",
            levels,
            registry=self.registry,
        )
        self._seats = Gauge(
            "apiserver_flowcontrol_current_executing_seats", "Seats taken.", levels, registry=self.registry
        )
        self._children: dict[tuple[str, ...], Counter] = {}
        self._timers: dict[tuple[str, ...], Histogram] = {}

    def answered(self, verb: str, group: str, resource: str, subresource: str, code: int) -> None:
        at = (verb, group, resource, subresource, str(code))
        counter = self._children.get(at)
        if counter is None:
            counter = self._children[at] = self._requests.labels(*at)
        counter.inc()

    def took(self, verb: str, group: str, resource: str, seconds: float) -> None:
        at = (verb, group, resource)
        timer = self._timers.get(at)
        if timer is None:
            timer = self._timers[at] = self._seconds.labels(*at)
        timer.observe(seconds)

    def follow(self, level: str, load: Callable[[], tuple[int, int]]) -> None:
        """Ask `load` for (seats taken, requests waiting) of a level whenever somebody asks here."""
        self._seats.labels(level).set_function(lambda: load()[0])
        self._queued.labels(level).set_function(lambda: load()[1])

    def rejected(self, level: str, reason: str) -> None:
        self._rejected.labels(level, reason).inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)
