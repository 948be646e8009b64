"""Hub Namespaces in the members: which clusters need one, and how long the hub's own must stay.

Every hub Namespace that is not reserved follows to all clusters, as in Karmada, or only to those that hold something in
it (`everywhere` False). A Namespace has no binding; it stays until no member may hold it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from towline.hub.decide import bindings
from towline.hub.decide.conditions import rfc3339, with_condition
from towline.hub.decide.plan import NOTHING, Delete, Plan, Put, Snapshot
from towline.hub.decide.propagation import propagatable
from towline.kube import deletion, names
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    finalizers_of,
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
    steps, content = _emptying(snapshot, key.name, now)
    if steps:
        again = 0.0 if len(steps) == EMPTYING_WRITES else None
        waiting = {"waiting": f"{content.count} objects are in it"}
        return Plan(tuple(steps), requeue_after_seconds=again, reasons=waiting)
    own = snapshot.get(bindings.key_for("", key.name, "Namespace"))
    if content.count or holders or own is not None:
        left = f"{content.count} objects are in it"
        copies = f"copies may exist in {', '.join(sorted(holders))}"
        told = _with_conditions(namespace, content, now)
        writes = () if told == namespace else (Put(key, told, revision_of(namespace)),)
        return Plan(writes, reasons={"waiting": left if content.count else copies})
    spec = {name: value for name, value in (namespace.get("spec") or {}).items() if name != "finalizers"}
    left_over = without_finalizer({**namespace, "spec": spec}, names.PROPAGATION_FINALIZER)
    if not finalizers_of(left_over):
        return Plan(writes=(Delete(key, revision_of(namespace)),))
    if left_over == namespace:
        return NOTHING
    return Plan(writes=(Put(key, left_over, revision_of(namespace)),))


def noted(snapshot: Snapshot, key: Key, let_go: Collection[str]) -> Plan:
    """`let_go` are the clusters whose agents told this hub that they hold the dying Namespace at `key` no more. Noted on it while others
    hold it, for the hub that decides on its end, and for one that restarts."""
    namespace = snapshot.get(key)
    if namespace is None or not is_deleting(namespace):
        return NOTHING
    known = let_go_by(namespace)
    if known.issuperset(let_go):
        return NOTHING
    listed = ",".join(sorted(known.union(let_go)))
    noted = with_metadata(namespace, annotations={**annotations_of(namespace), names.LET_GO_BY: listed})
    return Plan((Put(key, noted, revision_of(namespace)),))


def let_go_by(namespace: Object) -> frozenset[str]:
    """The clusters that are noted to hold it no more."""
    return frozenset(filter(None, annotations_of(namespace).get(names.LET_GO_BY, "").split(",")))


EMPTYING_WRITES = 100
"""How many objects of a dying namespace one plan removes."""
TOLD_MAX = 10
"""How many objects that may not be deleted a condition names."""
PODS = ("", "pods")


@dataclass(slots=True)
class _Content:
    """What is left in a dying namespace, as its conditions tell it."""

    count: int = 0
    resources: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    protected: list[str] = field(default_factory=list)


def _emptying(snapshot: Snapshot, namespace: str, now: float) -> tuple[list[Put | Delete], _Content]:
    """The next steps towards an empty namespace, and what is in it. Pods go first, as in Kubernetes: what they rely on
    outlives them."""
    steps: list[Put | Delete] = []
    content = _Content()
    resources = {kind.resource: kind for kind in snapshot.kinds if kind.namespaced}
    for group, plural in sorted(resources, key=lambda at: (at != PODS, at)):
        for obj in snapshot.list(group, plural, namespace):
            content.count += 1
            content.resources[f"{plural}.{group}"] += 1
            content.finalizers.update(finalizers_of(obj))
            key = Key(group, plural, namespace, name_of(obj))
            if deletion.is_protected(labels_of(obj)):
                content.protected.append(f'{plural} "{key.name}": {deletion.PROTECTED}')
            elif not finalizers_of(obj):
                steps.append(Delete(key, revision_of(obj)))
            elif not is_deleting(obj):
                counted = resources[group, plural].generation
                marked = deletion.marked(obj, rfc3339(now), finalizers_of(obj), counted=counted)
                steps.append(Put(key, marked, revision_of(obj)))
            if len(steps) == EMPTYING_WRITES:
                return steps, content
        if (group, plural) == PODS and content.count > len(content.protected):
            break
    return steps, content


def _with_conditions(namespace: Object, content: _Content, now: float) -> Object:
    """`namespace` with the five conditions by which Kubernetes says how far its end is."""
    remaining = ", ".join(f"{at} has {n} resource instances" for at, n in sorted(content.resources.items()))
    held = ", ".join(f"{name} in {n} resource instances" for name, n in sorted(content.finalizers.items()))
    refused = sorted(content.protected)
    failures = (
        ("NamespaceDeletionDiscoveryFailure", "", ""),
        ("NamespaceDeletionGroupVersionParsingFailure", "", ""),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeletionFailed",
            refused
            and f"Failed to delete all resource types, {len(refused)} remaining: {', '.join(refused[:TOLD_MAX])}",
        ),
        (
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            remaining and f"Some resources are remaining: {remaining}",
        ),
        (
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            held and f"Some content in the namespace has finalizers remaining: {held}",
        ),
    )
    status = namespace.get("status") or {}
    conditions = status.get("conditions") or []
    for kind, reason, message in failures:
        value, why, told = ("True", reason, message) if message else ("False", *_FINE[kind])
        conditions = with_condition(conditions, kind, value, why, str(told), now)
    return {**namespace, "status": {**status, "phase": "Terminating", "conditions": conditions}}


_FINE = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": (
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
}
"""What Kubernetes says of a condition that is not there: reason and message."""
