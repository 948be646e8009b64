"""Which Clusters, or the fleet as a whole, a change concerns: joining and leaving, health, doubt, taints and remedies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from towline.hub.decide import remedies, taint_policies
from towline.hub.decide.capacity import ClusterCapacity, Stuck
from towline.hub.decide.doubt import FLEET
from towline.hub.store.cache import Cache, WatchEvent
from towline.hub.store.fleet import Fleet
from towline.hub.store.works import CLUSTERS, NAMESPACES, WORKS
from towline.kube import names
from towline.kube.objects import Key

_UNKNOWN = b'"Unknown"'


def meant(event: WatchEvent) -> Iterator[Key]:
    """The Cluster that changed, or whose execution namespace or stored Works did."""
    key = event.entry.key
    if key[:2] == CLUSTERS:
        yield key
    elif (key[:2] == NAMESPACES and (cluster := names.cluster_of_execution_namespace(key.name))) or (
        key[:2] == WORKS and (cluster := names.cluster_of_execution_namespace(key.namespace))
    ):
        yield Key(*CLUSTERS, "", cluster)


def leaving(cache: Cache, cluster: str) -> tuple[Key, ...]:
    """The Cluster of this name, if it is being deleted."""
    entry = cache.get(Key(*CLUSTERS, "", cluster))
    return (entry.key,) if entry is not None and entry.meta.deletionTimestamp is not None else ()


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


def remedied(cache: Cache, event: WatchEvent) -> Iterator[Key]:
    """The Clusters that a Remedy may concern, or whose conditions may have changed."""
    key = event.entry.key
    if key[:2] == CLUSTERS:
        yield key
    elif key[:2] == remedies.REMEDIES:
        yield from (entry.key for entry in cache.list(*CLUSTERS))


def counted(fleet: Fleet, cluster: Key) -> ClusterCapacity | None:
    """What its agent said last of its room."""
    contact = fleet.contact(cluster.name)
    return contact.capacity if contact is not None else None


def stuck(fleet: Fleet, cluster: Key) -> Sequence[Stuck]:
    """What finds no node in it, as an agent says that is connected here."""
    said = counted(fleet, cluster) if fleet.whose(cluster.name) else None
    return said.stuck if said is not None else ()
