"""Which clusters there are, which of them are about to leave, and what their removals leave behind."""

from __future__ import annotations

import dataclasses

from towline.hub.decide.wire import WireWork
from towline.hub.store.cache import Cache, Entry, WatchEvent
from towline.kube import names
from towline.kube.exits import exit_of
from towline.kube.objects import Key

CLUSTERS = (names.CLUSTER_GROUP, "clusters")


class Leaving:
    """Reads the cache and keeps nothing."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def is_member(self, cluster: str) -> bool:
        return self._entry(cluster) is not None

    def is_leaving(self, cluster: str) -> bool:
        entry = self._entry(cluster)
        return entry is None or entry.meta.deletionTimestamp is not None

    def parting(self, cluster: str, work: WireWork) -> WireWork:
        """A removal as this cluster is to get it: one that leaves with its workloads only lets go of them."""
        return dataclasses.replace(work, preserve=True) if self._keeps(self._entry(cluster)) else work

    def changed(self, event: WatchEvent) -> bool:
        """Whether this Cluster came, goes, went, or is to leave otherwise than before."""
        before, after = event.previous, event.entry
        return (
            event.type != "MODIFIED"
            or before is None
            or before.meta.deletionTimestamp != after.meta.deletionTimestamp
            or self._keeps(before) != self._keeps(after)
        )

    def _keeps(self, entry: Entry | None) -> bool:
        if entry is None or entry.meta.deletionTimestamp is None:
            return False
        return exit_of({"metadata": {"annotations": entry.meta.annotations}}).keep_workloads

    def _entry(self, cluster: str) -> Entry | None:
        return self._cache.get(Key(*CLUSTERS, "", cluster))
