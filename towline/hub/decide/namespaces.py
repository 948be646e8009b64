"""Hub Namespaces in the members: which clusters need one, and how long the hub's own must stay.

Every hub Namespace that is not reserved follows to all clusters, as in Karmada, or only to those that hold something in
it (`everywhere` False). A Namespace has no binding; its finalizer keeps it until no member may hold it.
"""

from __future__ import annotations

from collections.abc import Collection

from towline.hub.decide import bindings
from towline.hub.decide.plan import NOTHING, Delete, Plan, Put, Snapshot
from towline.hub.decide.propagation import propagatable
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    is_deleting,
    labels_of,
    name_of,
    revision_of,
    with_finalizer,
    without_finalizer,
)


def spreads(namespace: Object) -> bool:
    """Whether members may hold this Namespace at all (Karmada 2.6)."""
    name = name_of(namespace)
    return (
        name != "default"
        and propagatable(Key("", "namespaces", "", name))
        and labels_of(namespace).get(names.SKIP_AUTO_PROPAGATION) != "true"
    )


def needed_clusters(snapshot: Snapshot, namespace: str, *, everywhere: bool) -> set[str]:
    """The joined clusters that must have `namespace`."""
    joined = {
        name_of(cluster) for cluster in snapshot.list(names.CLUSTER_GROUP, "clusters") if not is_deleting(cluster)
    }
    if everywhere:
        return joined
    held: set[str] = set()
    for binding in snapshot.list(names.WORK_GROUP, bindings.BINDINGS, namespace):
        held |= bindings.desired(binding).keys() | bindings.observed(binding).keys()
    return held & joined


def holds_contents(snapshot: Snapshot, namespace: str) -> bool:
    """Whether members may still hold something in it: it is taken away last."""
    return bool(snapshot.list(names.WORK_GROUP, bindings.BINDINGS, namespace))


def decide(snapshot: Snapshot, key: Key, now: float, holders: Collection[str]) -> Plan:
    """The finalizer of the hub Namespace at `key`; `holders` are the clusters that may hold it (the Work table knows)."""
    namespace = snapshot.get(key)
    if namespace is None:
        return NOTHING
    if not is_deleting(namespace):
        if holders and names.PROPAGATION_FINALIZER not in finalizers_of(namespace):
            held = with_finalizer(namespace, names.PROPAGATION_FINALIZER)
            return Plan(writes=(Put(key, held, revision_of(namespace)),))
        return NOTHING
    if names.PROPAGATION_FINALIZER not in finalizers_of(namespace):
        return NOTHING
    own = snapshot.get(bindings.key_for("", key.name, "Namespace"))
    if holders or own is not None or holds_contents(snapshot, key.name):
        return Plan(reasons={"waiting": f"copies may exist in {', '.join(sorted(holders))}"})
    left = without_finalizer(namespace, names.PROPAGATION_FINALIZER)
    if finalizers_of(left) or (left.get("spec") or {}).get("finalizers"):
        return Plan(writes=(Put(key, left, revision_of(namespace)),))
    return Plan(writes=(Delete(key, revision_of(namespace)),))
