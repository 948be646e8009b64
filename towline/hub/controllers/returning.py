"""When failback is to look at the fleet: something that waits or is on its way changed, or a cluster came back or went."""

from __future__ import annotations

from collections.abc import Iterator

from towline.hub.controllers import evicting
from towline.hub.decide import bindings, failback
from towline.hub.decide.failback import FLEET
from towline.hub.decide.plan import Plan, Snapshot
from towline.hub.decide.scheduling import View
from towline.hub.store.cache import WatchEvent
from towline.hub.store.fleet import Fleet
from towline.hub.store.works import CLUSTERS
from towline.kube.names import FAILBACK
from towline.kube.objects import Key

__all__ = ["FLEET", "concerned", "decide"]


def decide(snapshot: Snapshot, now: float, view: View, fleet: Fleet) -> Plan:
    """Who sets out next; not before agents had the time to come back to a hub that just started, and only to where one is heard: after a
    stall of this hub the Clusters still say that all is well."""
    return failback.decide(
        snapshot, now, view, settled_at=fleet.settled_at, answering=lambda: fleet.answering(now)
    )


def concerned(event: WatchEvent) -> Iterator[Key]:
    """The fleet, if this change may let something return, or ends a return."""
    key = event.entry.key
    if bindings.is_binding(key):
        states = [entry for entry in (event.previous, event.entry) if entry is not None]
        if any(FAILBACK in (state.meta.labels or ()) for state in states):
            yield FLEET
    elif key[:2] == CLUSTERS and evicting.turned(event):
        yield FLEET
