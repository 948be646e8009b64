"""A Cluster's nodeSummary and resourceSummary from what its agent counted (Karmada 1.1).

A decision of its own beside `health`: room changes all the time, and its writes are spaced in a way that word of a lost cluster
must not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from towline.hub.decide.plan import NOTHING, Plan, Put, Snapshot
from towline.kube import amounts
from towline.kube.objects import Key, Object, revision_of


class Stuck(NamedTuple):
    """A Deployment in the member: of its `pods` so many find no node, for longer than the hub lets them."""

    namespace: str
    name: str
    pods: int
    unschedulable: int


@dataclass(frozen=True, slots=True)
class ClusterCapacity:
    """What an agent counted: amounts by resource in base units (`kube.amounts`), `graded` as (grade, nodes)."""

    nodes: int
    ready_nodes: int
    allocatable: Mapping[str, int]
    allocating: Mapping[str, int]
    allocated: Mapping[str, int]
    graded: tuple[tuple[int, int], ...] = ()
    openings: int = 0
    """Another number when something that the sums do not show may have made room."""
    stuck: tuple[Stuck, ...] = ()


def decide(snapshot: Snapshot, key: Key, capacity: ClusterCapacity | None) -> Plan:
    """The summaries in the status of the Cluster at `key`. An agent that has not counted (yet) erases nothing."""
    cluster = snapshot.get(key)
    if cluster is None or capacity is None:
        return NOTHING
    before = cluster.get("status") or {}
    summaries = {"nodeSummary": _nodes(capacity), "resourceSummary": _resources(capacity)}
    if all(before.get(field) == summary for field, summary in summaries.items()):
        return NOTHING
    return Plan((Put(key, {**cluster, "status": {**before, **summaries}}, revision_of(cluster)),))


def _nodes(capacity: ClusterCapacity) -> Object:
    return {"totalNum": capacity.nodes, "readyNum": capacity.ready_nodes}


def _resources(capacity: ClusterCapacity) -> Object:
    summary: dict[str, Any] = {
        "allocatable": _listed(capacity.allocatable),
        "allocating": _listed({"pods": 0, **capacity.allocating}),
        "allocated": _listed({"pods": 0, **capacity.allocated}),
    }
    if capacity.graded:
        summary["allocatableModelings"] = [
            {"grade": grade, "count": count} for grade, count in capacity.graded
        ]
    return summary


def _listed(resources: Mapping[str, int]) -> dict[str, str]:
    return {name: amounts.quantity(name, resources[name]) for name in sorted(resources)}
