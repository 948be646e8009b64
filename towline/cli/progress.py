"""What the demo knows of how far its objects have come. Pure; seconds are since the apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]
WORKLOAD = "Deployment"


@dataclass(slots=True)
class ClusterProgress:
    """One member: when each kind of object arrived, and its replicas."""

    place: str = ""
    arrived: dict[str, float] = field(default_factory=dict)
    ready: int = 0
    wanted: int = 0
    ready_at: float | None = None


class Progress:
    """All members, and the template's status on the hub. `see` takes what watches say."""

    def __init__(self, places: Mapping[str, str], kinds: Sequence[str]) -> None:
        self.kinds = tuple(kinds)
        self.clusters = {name: ClusterProgress(place) for name, place in places.items()}
        self.hub_ready = 0
        self.hub_ready_at: float | None = None

    def see(self, cluster: str, kind: str, obj: Object, seconds: float) -> list[str]:
        """Sentences about what is new in this member."""
        state = self.clusters[cluster]
        news = []
        if kind not in state.arrived:
            state.arrived[kind] = seconds
            news.append(f"{cluster}: {kind} arrived after {seconds:.2f} s")
        if kind == WORKLOAD:
            state.ready, state.wanted = _replicas(obj)
            if state.ready_at is None and _is_ready(obj):
                state.ready_at = seconds
                news.append(f"{cluster}: {state.ready}/{state.wanted} replicas ready after {seconds:.2f} s")
        return news + self._hub_news(seconds)  # the hub's watch may have been faster than this member's

    def see_hub(self, obj: Object, seconds: float) -> list[str]:
        """The template: its status sums up the members'."""
        self.hub_ready = int((obj.get("status") or {}).get("readyReplicas") or 0)
        return self._hub_news(seconds)

    @property
    def hub_wanted(self) -> int:
        return sum(state.wanted for state in self.clusters.values())

    def _hub_news(self, seconds: float) -> list[str]:
        all_ready = all(state.ready_at is not None for state in self.clusters.values())
        if self.hub_ready_at is not None or not all_ready or self.hub_ready != self.hub_wanted:
            return []
        self.hub_ready_at = seconds
        return [f"hub: the Deployment's status says {self.hub_ready} replicas ready after {seconds:.2f} s"]

    @property
    def last_arrival_seconds(self) -> float | None:
        """When everything had arrived everywhere; None before."""
        times = [state.arrived.get(kind) for state in self.clusters.values() for kind in self.kinds]
        return None if None in times else max((t for t in times if t is not None), default=0.0)

    @property
    def done(self) -> bool:
        return self.last_arrival_seconds is not None and self.hub_ready_at is not None

    def missing(self) -> str:
        """What is not there yet, for an error."""
        for name, state in self.clusters.items():
            for kind in self.kinds:
                if kind not in state.arrived:
                    return f"the {kind} in {name}"
            if state.ready_at is None:
                return f"the replicas in {name} ({state.ready} of {state.wanted} ready)"
        return f"the status on the hub ({self.hub_ready} of {self.hub_wanted} replicas ready)"


def _replicas(obj: Object) -> tuple[int, int]:
    wanted = (obj.get("spec") or {}).get("replicas")
    return int((obj.get("status") or {}).get("readyReplicas") or 0), 1 if wanted is None else int(wanted)


def _is_ready(obj: Object) -> bool:
    ready, wanted = _replicas(obj)
    observed = (obj.get("status") or {}).get("observedGeneration")
    return ready >= wanted and observed == (obj.get("metadata") or {}).get("generation")
