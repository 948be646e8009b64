"""Garbage collection: what has lost its owners goes, and a deletion waits for dependents or lets them go.

One key is any object. It is decided on one revision of everything: an owner that is not there at a revision at which its
dependent is, will never be there again, because uids are given once. What cannot be read is not absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from towline.hub.decide import bindings
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.plan import NOTHING, Delete, EventNote, Plan, Put, Snapshot
from towline.kube import deletion, names
from towline.kube.deletion import FOREGROUND, ORPHAN, Cascade
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    is_deleting,
    labels_of,
    revision_of,
    uid_of,
    with_metadata,
    without_finalizer,
)

ORPHANING_WRITES = 100
"""How many dependents one plan lets go."""
COMPUTED = ((names.WORK_GROUP, "works"),)
"""Resources that are not, or not only, in the snapshot: that one of them is not there says nothing."""
NAMESPACES = ("", "namespaces")

Owner = Literal["solid", "absent", "leaving"]
Reference = Mapping[str, Any]


def decide(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """The collector's part in the life of the object at `key`."""
    obj = snapshot.get(key)
    if obj is None:
        return NOTHING
    if is_deleting(obj):
        if ORPHAN in finalizers_of(obj):
            return _orphaning(snapshot, key, obj)
        if FOREGROUND in finalizers_of(obj):
            return _waiting(snapshot, key, obj)
        return NOTHING
    if not _references(obj) or bindings.is_binding(key):
        return NOTHING
    return _owned(snapshot, key, obj, now)


def owner_key(snapshot: Snapshot, key: Key, reference: Reference) -> Key | None:
    """Where the owner that `reference`, on the object at `key`, names would be. None for a kind that nobody knows here,
    or that cannot own it: an owner is in the namespace of its dependent, or in none."""
    kind = snapshot.kinds.named(str(reference.get("apiVersion")), str(reference.get("kind")))
    if kind is None or (kind.namespaced and not key.namespace):
        return None
    return kind.key(key.namespace, str(reference.get("name")))


# --- dependents ------------------------------------------------------------------------------------------------


def _owned(snapshot: Snapshot, key: Key, obj: Object, now: float) -> Plan:
    """An object with owners: it stays for one that stays, and goes when there is none."""
    kept: list[Reference] = []
    leaving = False
    for reference in _references(obj):
        at = owner_key(snapshot, key, reference)
        owner = None if at is None else snapshot.get(at)
        if at is None:
            return _unknown_owner(snapshot, obj, reference)
        if owner is None and at[:2] in COMPUTED:
            return Plan(reasons={"waiting": f"an owner is {at}, which may be computed"})
        state = _state(owner, reference)
        if state == "solid":
            kept.append(reference)
        leaving = leaving or state == "leaving"
    if kept:
        if len(kept) == len(_references(obj)):
            return NOTHING
        changed = with_metadata(obj, ownerReferences=[dict(reference) for reference in kept])
        return Plan((Put(key, changed, revision_of(obj)),), reasons={"released": "from owners that are gone"})
    if deletion.is_protected(labels_of(obj)):
        return Plan(reasons={"waiting": deletion.PROTECTED})
    dependents = _dependents(snapshot, key, obj) if leaving else []
    if dependents:
        if any(is_deleting(child) and FOREGROUND in finalizers_of(child) for _, child, _ in dependents):
            # A circle in which each would wait for the next: this one lets its owner go first.
            free = [{**reference, "blockOwnerDeletion": False} for reference in _references(obj)]
            obj = with_metadata(obj, ownerReferences=free)
        return _deletion(snapshot, key, obj, "Foreground", now)
    return _deletion(snapshot, key, obj, "", now)


def _state(owner: Object | None, reference: Reference) -> Owner:
    if owner is None or uid_of(owner) != reference.get("uid"):
        return "absent"
    return "leaving" if is_deleting(owner) and FOREGROUND in finalizers_of(owner) else "solid"


def _unknown_owner(snapshot: Snapshot, obj: Object, reference: Reference) -> Plan:
    """Left alone, whatever its other owners say: somebody may know this owner."""
    named = f"{reference.get('apiVersion')}/{reference.get('kind')}"
    if snapshot.kinds.named(str(reference.get("apiVersion")), str(reference.get("kind"))) is None:
        return Plan(reasons={"waiting": f"an owner is a {named}, which is not known here"})
    identity = f"[{named}, namespace: , name: {reference.get('name')}, uid: {reference.get('uid')}]"
    message = f'ownerRef {identity} does not exist in namespace ""'
    event = EventNote(obj, "Warning", "OwnerRefInvalidNamespace", message)
    return Plan(
        events=(event,), reasons={"waiting": f"{identity} has a namespace: it owns nothing without one"}
    )


def _deletion(snapshot: Snapshot, key: Key, obj: Object, cascade: Cascade, now: float) -> Plan:
    """A DELETE with this policy; without one the object's own finalizers say it, and then Background."""
    present = finalizers_of(obj)
    left = deletion.finalizers("Background", present, cascade)
    is_namespace = key[:2] == NAMESPACES
    reasons = {"collected": "no owner is left"}
    if not left and not _holds_content(key, obj):
        return Plan((Delete(key, revision_of(obj)),), reasons=reasons)
    kind = snapshot.kinds.stored(key.group, key.resource)
    counted = kind is not None and kind.generation and not is_namespace
    marked = deletion.marked(obj, rfc3339(now), left, counted=counted, namespace=is_namespace)
    return Plan((Put(key, marked, revision_of(obj)),), reasons=reasons)


# --- owners ----------------------------------------------------------------------------------------------------


def _waiting(snapshot: Snapshot, key: Key, obj: Object) -> Plan:
    """Deleted in the foreground: it goes when nothing that blocks it is left. Dependents are decided by themselves."""
    blocking = [
        at
        for at, _, references in _dependents(snapshot, key, obj)
        if at != key and any(reference.get("blockOwnerDeletion") for reference in references)
    ]
    if blocking:
        return Plan(reasons={"waiting": f"for {len(blocking)} dependents, {blocking[0]} first"})
    return Plan((_without(key, obj, FOREGROUND),))


def _orphaning(snapshot: Snapshot, key: Key, obj: Object) -> Plan:
    """Deleted without its dependents: they forget it, and then it goes."""
    writes: list[Put | Delete] = []
    for at, child, references in _dependents(snapshot, key, obj):
        if at == key:
            continue
        if len(writes) == ORPHANING_WRITES:
            return Plan(tuple(writes), requeue_after_seconds=0.0)
        left = [reference for reference in _references(child) if reference not in references]
        writes.append(Put(at, with_metadata(child, ownerReferences=left or None), revision_of(child)))
    return Plan((*writes, _without(key, obj, ORPHAN)))


def _dependents(snapshot: Snapshot, key: Key, owner: Object) -> list[tuple[Key, Object, Sequence[Reference]]]:
    """What names this object as its owner, each with its references that do."""
    uid = uid_of(owner)
    found: list[tuple[Key, Object, Sequence[Reference]]] = []
    for at in snapshot.dependents(uid):
        child = snapshot.get(at)
        if child is None:
            continue
        mine = [r for r in _references(child) if r.get("uid") == uid and owner_key(snapshot, at, r) == key]
        if mine:
            found.append((at, child, mine))
    return found


def _without(key: Key, obj: Object, finalizer: str) -> Put | Delete:
    freed = without_finalizer(obj, finalizer)
    if finalizers_of(freed) or _holds_content(key, obj):
        return Put(key, freed, revision_of(obj))
    return Delete(key, revision_of(obj))


def _holds_content(key: Key, obj: Object) -> bool:
    return key[:2] == NAMESPACES and bool((obj.get("spec") or {}).get("finalizers"))


def _references(obj: Object) -> Sequence[Reference]:
    return (obj.get("metadata") or {}).get("ownerReferences") or ()
