"""Descheduling: replicas that find no node in a member move elsewhere (Karmada 2.11), and do not come back at once.

Only Deployments that are divided by room, and only as they stand: as many pods as the cluster was given, and every replica placed.
Taking replicas from a cluster leaves the binding short of some, which scheduling places like any others; there the cluster has no room
for a while (`full`), whatever is estimated: it just showed that it has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from towline.hub.decide import bindings, lately
from towline.hub.decide.aggregation import with_fully_applied
from towline.hub.decide.capacity import Stuck
from towline.hub.decide.placing import unplaceable
from towline.hub.decide.plan import NOTHING, EventNote, Plan, Put, Snapshot
from towline.hub.decide.scheduling.request import DYNAMIC, strategy_of
from towline.kube.objects import (
    Key,
    Object,
    generation_of,
    is_deleting,
    revision_of,
    with_metadata,
)

INTERVAL_SECONDS = 120.0
"""How often what is stuck is looked at again (Karmada's descheduling-interval)."""
_BINDINGS_MAX = 100
"""Of one plan; etcd takes 128 writes."""


def decide(snapshot: Snapshot, key: Key, now: float, stuck: Sequence[Stuck]) -> Plan:
    """What the agent of the Cluster at `key` counted as stuck, taken from the bindings that it belongs to."""
    cluster = snapshot.get(key)
    if cluster is None or is_deleting(cluster) or not stuck:
        return NOTHING
    writes: list[Put] = []
    events: list[EventNote] = []
    for row in stuck:
        at = bindings.key_for(row.namespace, row.name, "Deployment")
        binding = snapshot.get(at)
        left = _left(binding, key.name, row, now) if binding is not None else None
        if binding is None or left is None or len(writes) == _BINDINGS_MAX:
            continue
        taken = bindings.targets(binding)[key.name] - left
        writes.append(Put(at, _without(binding, key.name, left, now), revision_of(binding)))
        message = (
            f"{taken} replicas that find no node in cluster {key.name} are taken from it; it keeps {left}."
        )
        note = EventNote(binding, "Normal", "DescheduleBindingSucceed", message)
        events += bindings.with_template(snapshot, binding, note)
    return Plan(tuple(writes), tuple(events), requeue_after_seconds=INTERVAL_SECONDS)


def full(binding: Object, now: float) -> frozenset[str]:
    """The clusters that replicas of this binding were taken from not long ago: they get none back, and no more are taken."""
    return frozenset(lately.until(binding, lately.DESCHEDULED, now))


def _left(binding: Object, cluster: str, row: Stuck, now: float) -> int | None:
    """How many replicas the cluster is to keep; None: nothing is to be taken from it now."""
    spec = binding.get("spec") or {}
    assigned = bindings.targets(binding).get(cluster, 0)
    if not _concerns(binding, spec) or row.pods != assigned or cluster in full(binding, now):
        return None
    if sum(bindings.targets(binding).values()) != bindings.demand(spec).replicas:
        return None  # others wait for a place already
    status = bindings.status_in(binding, cluster) or {}
    left = max(assigned - row.unschedulable, int(status.get("readyReplicas") or 0))
    return left if left < assigned else None


def _concerns(binding: Object, spec: Mapping[str, Any]) -> bool:
    resource = spec.get("resource") or {}
    return (
        not is_deleting(binding)
        and resource.get("kind") == "Deployment"
        and str(resource.get("apiVersion")).startswith("apps/")
        and strategy_of(spec.get("placement") or {}) in DYNAMIC
        and unplaceable(binding) is None  # what is taken away would not be placed elsewhere
    )


def _without(binding: Object, cluster: str, left: int, now: float) -> Object:
    """The binding with `left` replicas in the cluster; without it where that is none."""
    targets = [
        target if target["name"] != cluster else {**target, "replicas": left}
        for target in binding["spec"]["clusters"]
        if target["name"] != cluster or left
    ]
    moved = {**binding, "spec": {**binding["spec"], "clusters": targets}}
    moved = with_metadata(moved, generation=generation_of(binding) + 1)
    return with_fully_applied(lately.noting(moved, lately.DESCHEDULED, [cluster], now), now)
