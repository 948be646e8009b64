"""Clusters: their execution namespace, their finalizer, and an exit that waits for what they hold."""

from __future__ import annotations

from towline.hub.decide import bindings
from towline.hub.decide.plan import NOTHING, Delete, EventNote, Plan, Put, Snapshot
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    is_deleting,
    revision_of,
    with_finalizer,
    without_finalizer,
)


def decide(snapshot: Snapshot, key: Key, now: float, holding: int) -> Plan:
    """The Cluster at `key`. `holding` is how many Works it may still hold (the Work table knows).

    While it is being deleted scheduling leaves it out, so its Works turn into removals; when the last was acknowledged the
    execution namespace and the finalizer go."""
    cluster = snapshot.get(key)
    if cluster is None:
        return NOTHING
    space = Key("", "namespaces", "", names.execution_namespace(key.name))
    present = snapshot.get(space)
    if not is_deleting(cluster):
        return _joined(key, cluster, space, present)
    if names.CLUSTER_FINALIZER not in finalizers_of(cluster):
        return NOTHING
    waiting = _bindings_on(snapshot, key.name) + len(snapshot.list(names.WORK_GROUP, "works", space.name))
    if waiting or holding:
        return Plan(reasons={"waiting": f"{max(waiting, holding)} Works may be in the cluster still"})
    writes: list[Put | Delete] = []
    if present is not None:
        writes.append(Delete(space, revision_of(present)))
    left = without_finalizer(cluster, names.CLUSTER_FINALIZER)
    if finalizers_of(left):
        writes.append(Put(key, left, revision_of(cluster)))
    else:
        writes.append(Delete(key, revision_of(cluster)))
    message = f"Removed execution space for cluster({key.name})."
    return Plan(tuple(writes), (EventNote(cluster, "Normal", "RemoveExecutionSpaceSucceed", message),))


def _joined(key: Key, cluster: Object, space: Key, present: Object | None) -> Plan:
    writes: list[Put | Delete] = []
    events: list[EventNote] = []
    held = with_finalizer(cluster, names.CLUSTER_FINALIZER)
    if held is not cluster:
        writes.append(Put(key, held, revision_of(cluster)))
    if present is None:
        writes.append(Put(space, _execution_namespace(space.name), 0))
        message = f"Created execution space({space.name}) for cluster({key.name})."
        events.append(EventNote(cluster, "Normal", "CreateExecutionSpaceSucceed", message))
    return Plan(tuple(writes), tuple(events))


def _execution_namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {names.SYSTEM: "true", names.NAMESPACE_NAME: name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _bindings_on(snapshot: Snapshot, cluster: str) -> int:
    return sum(
        1
        for binding in bindings.all_bindings(snapshot)
        if cluster in bindings.desired(binding) or cluster in bindings.observed(binding)
    )
