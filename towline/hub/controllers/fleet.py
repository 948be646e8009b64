"""Which Clusters, or the fleet as a whole, a change concerns: health, doubt and taints."""

from __future__ import annotations

from collections.abc import Iterator

from towline.hub.decide import taint_policies
from towline.hub.decide.doubt import FLEET
from towline.hub.store.cache import Cache, WatchEvent
from towline.hub.store.works import CLUSTERS
from towline.kube.objects import Key

_UNKNOWN = b'"Unknown"'


def doubted(event: WatchEvent) -> Iterator[Key]:
    """The fleet, when who is lost may have changed. Not for every word of a cluster: most come because its room changed."""
    entry, previous = event.entry, event.previous
    if entry.key[:2] == CLUSTERS and (
        previous is None or event.type == "DELETED" or _UNKNOWN in entry.value or _UNKNOWN in previous.value
    ):
        yield FLEET


def tainted(cache: Cache, event: WatchEvent) -> Iterator[Key]:
    """The Clusters that policies may taint otherwise now. One that is deleted leaves all as it is."""
    key = event.entry.key
    if key[:2] == CLUSTERS:
        yield key
    elif key[:2] == taint_policies.POLICIES and event.type != "DELETED":
        yield from (entry.key for entry in cache.list(*CLUSTERS))
