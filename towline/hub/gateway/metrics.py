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
        self.refused = Counter(
            "towline_sessions_refused", "Sessions refused or cut off for what they said.", registry=registry
        )

        self.estimates = Counter(
            "towline_estimates", "Questions to agents about room.", ("result",), registry=registry
        )

    def estimated(self, answered: bool) -> None:
        self.estimates.labels("answered" if answered else "unanswered").inc()

    def count(self, direction: str, frames: int, size_bytes: int) -> None:
        self.batches.labels(direction).inc()
        self.frames.labels(direction).inc(frames)
        self.bytes.labels(direction).inc(size_bytes)
