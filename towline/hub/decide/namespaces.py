"""Hub Namespaces in the members: which clusters need one, and how long the hub's own must stay.

Every hub Namespace that is not reserved follows to all clusters, as in Karmada, or only to those that hold something in
it (`everywhere` False). A Namespace has no binding; it stays until no member may hold it.
"""

from __future__ import annotations

from collections.abc import Collection

from towline.hub.decide import bindings
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.plan import NOTHING, Delete, Plan, Put, Snapshot
from towline.hub.decide.propagation import propagatable
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    generation_of,
    is_deleting,
    labels_of,
    name_of,
    revision_of,
    with_finalizer,
    with_metadata,
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


def needed_clusters(snapshot: Snapshot, namespace: str) -> set[str]:
    """The clusters that hold, or shall hold, something in `namespace`."""
    held: set[str] = set()
    for binding in snapshot.list(names.WORK_GROUP, bindings.BINDINGS, namespace):
        held |= bindings.desired(binding).keys() | bindings.observed(binding).keys()
    return held


def holds_contents(snapshot: Snapshot, namespace: str) -> bool:
    """Whether members may still hold something in it: it is taken away last."""
    return bool(snapshot.list(names.WORK_GROUP, bindings.BINDINGS, namespace))


def decide(snapshot: Snapshot, key: Key, now: float, holders: Collection[str]) -> Plan:
    """The end of the hub Namespace at `key`: first what is in it, then the members' copies, then its row.

    `holders` are the clusters that may hold it (the Work table knows). Kubernetes' own `spec.finalizers` keeps the row
    meanwhile; one that was written without it gets ours as soon as a member may hold it."""
    namespace = snapshot.get(key)
    if namespace is None:
        return NOTHING
    guarded = bool((namespace.get("spec") or {}).get("finalizers"))
    if not is_deleting(namespace):
        if guarded or not holders or names.PROPAGATION_FINALIZER in finalizers_of(namespace):
            return NOTHING
        held = with_finalizer(namespace, names.PROPAGATION_FINALIZER)
        return Plan(writes=(Put(key, held, revision_of(namespace)),))
    steps, left = _emptying(snapshot, key.name, now)
    if steps or left:
        again = 0.0 if len(steps) == EMPTYING_WRITES else None
        return Plan(
            tuple(steps), requeue_after_seconds=again, reasons={"waiting": f"{left} objects are in it"}
        )
    own = snapshot.get(bindings.key_for("", key.name, "Namespace"))
    if holders or own is not None:
        return Plan(reasons={"waiting": f"copies may exist in {', '.join(sorted(holders))}"})
    spec = {field: value for field, value in (namespace.get("spec") or {}).items() if field != "finalizers"}
    left_over = without_finalizer({**namespace, "spec": spec}, names.PROPAGATION_FINALIZER)
    if not finalizers_of(left_over):
        return Plan(writes=(Delete(key, revision_of(namespace)),))
    if left_over == namespace:
        return NOTHING
    return Plan(writes=(Put(key, left_over, revision_of(namespace)),))


EMPTYING_WRITES = 100
"""How many objects of a dying namespace one plan removes."""


def _emptying(snapshot: Snapshot, namespace: str, now: float) -> tuple[list[Put | Delete], int]:
    """The next steps towards an empty namespace, and how many objects are in it still."""
    steps: list[Put | Delete] = []
    count = 0
    for group, plural in sorted({(kind.group, kind.plural) for kind in snapshot.kinds if kind.namespaced}):
        for obj in snapshot.list(group, plural, namespace):
            count += 1
            if len(steps) == EMPTYING_WRITES:
                continue
            key = Key(group, plural, namespace, name_of(obj))
            if not finalizers_of(obj):
                steps.append(Delete(key, revision_of(obj)))
            elif not is_deleting(obj):
                marked = with_metadata(
                    obj,
                    deletionTimestamp=rfc3339(now),
                    deletionGracePeriodSeconds=0,
                    generation=generation_of(obj) + 1 if generation_of(obj) else None,
                )
                steps.append(Put(key, marked, revision_of(obj)))
    return steps, count
