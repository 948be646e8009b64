"""Garbage collection: what has lost its owner or its namespace goes, and what is going takes its children along."""

from __future__ import annotations

from typing import Any

from towline.hub.sim.round import Round, owner_uids
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    is_deleting,
    name_of,
    uid_of,
    with_metadata,
    without_finalizer,
)

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


def collect(round: Round, key: Key, obj: Object) -> bool:
    """True when `obj` went (or was only marked) because nothing it belongs to is left."""
    if is_deleting(obj):
        return _finish(round, key, obj)
    owners = owner_uids(obj)
    lost = bool(owners) and all(round.key_of(uid) is None for uid in owners)
    if key.namespace and round.get(Key("", "namespaces", "", key.namespace)) is None:
        lost = True
    if (key.group, key.resource) == ("", "pods"):
        node = (obj.get("spec") or {}).get("nodeName")
        lost = lost or bool(node and round.get(Key("", "nodes", "", node)) is None)
    if lost:
        round.remove(key)
    return lost


def run_namespace(round: Round, key: Key, namespace: Object) -> None:
    """A live namespace has a default ServiceAccount; one that is going takes everything in it along."""
    if is_deleting(namespace):
        _empty(round, key, namespace)
        return
    account = Key("", "serviceaccounts", key.name, "default")
    if round.get(account) is None:
        metadata = {"name": "default", "namespace": key.name}
        round.create(account, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def _finish(round: Round, key: Key, obj: Object) -> bool:
    """The part of a deletion that the garbage collector owes: dependents go first, or are let go."""
    finalizers = finalizers_of(obj)
    if ORPHAN in finalizers:
        for child in round.dependents(uid_of(obj)):
            _release(round, child, uid_of(obj))
        obj = without_finalizer(obj, ORPHAN)
    elif FOREGROUND in finalizers:
        left = round.dependents(uid_of(obj))
        for child in left:
            round.remove(child)
        if not round.dependents(uid_of(obj)):
            obj = without_finalizer(obj, FOREGROUND)
    elif finalizers or key.resource == "namespaces":
        return False  # others have something to do first
    round.put(key, obj)
    if not finalizers_of(obj):
        round.remove(key)
    return True


def _release(round: Round, child: Key, uid: str) -> None:
    obj = round.get(child)
    if obj is not None:
        refs: list[Any] = [r for r in obj["metadata"]["ownerReferences"] if r.get("uid") != uid]
        round.put(child, with_metadata(obj, ownerReferences=refs or None))


def _empty(round: Round, key: Key, namespace: Object) -> None:
    inside = list(round.cluster.in_namespace(name_of(namespace)))
    for held in inside:
        round.remove(held)
    if any(round.get(held) is not None for held in inside):
        return  # something in it has a finalizer; its removal brings us back
    spec = namespace.get("spec") or {}
    if spec.get("finalizers"):
        namespace = round.put(key, {**namespace, "spec": {**spec, "finalizers": []}})
    round.remove(key)
