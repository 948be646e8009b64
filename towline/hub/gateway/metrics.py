"""What the gateway counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class GatewayMetrics:
    """Registered in `registry`; `direction` is in (from agents) or out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sessions = Gauge("towline_sessions", "Agents connected.", registry=registry)
        self.batches = Counter(
            "towline_session_batches", "Batches on sessions.", ("direction",), registry=registry
        )
        self.frames = Counter(
            "towline_session_frames", "Frames on sessions.", ("direction",), registry=registry
        )
        self.bytes = Counter("towline_session_bytes", "Bytes on sessions.", ("direction",), registry=registry)
        self._traffic = {
            direction: [each.labels(direction) for each in (self.batches, self.frames, self.bytes)]
            for direction in ("in", "out")
        }
        self.refused = Counter(
            "towline_sessions_refused", "Sessions refused or cut off for what they said.", registry=registry
        )

        self.estimates = Counter(
            "towline_estimates", "Questions to agents about room.", ("result",), registry=registry
        )

    def estimated(self, answered: bool) -> None:
        self.estimates.labels("answered" if answered else "unanswered").inc()

    def count(self, direction: str, frames: int, size_bytes: int) -> None:
        for counter, amount in zip(self._traffic[direction], (1, frames, size_bytes), strict=True):
            counter.inc(amount)
