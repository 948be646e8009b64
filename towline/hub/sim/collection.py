"""Garbage collection: what has lost its owner or its node goes, and what is going takes its children along."""

from __future__ import annotations

from typing import Any

from towline.hub.sim.round import Round, owner_uids
from towline.kube.deletion import FOREGROUND, ORPHAN
from towline.kube.objects import (
    Key,
    Object,
    finalizers_of,
    is_deleting,
    uid_of,
    with_metadata,
    without_finalizer,
)


def collect(round: Round, key: Key, obj: Object) -> bool:
    """True when `obj` went, or was marked, because nothing that it belongs to is left."""
    if is_deleting(obj):
        return _finish(round, key, obj)
    owners = owner_uids(obj)
    lost = bool(owners) and all(round.key_of(uid) is None for uid in owners)
    if (key.group, key.resource) == ("", "pods"):
        node = (obj.get("spec") or {}).get("nodeName")
        lost = lost or bool(node and round.get(Key("", "nodes", "", node)) is None)
    if lost:
        round.remove(key)
    return lost


def run_namespace(round: Round, key: Key, namespace: Object) -> None:
    """A live namespace has a default ServiceAccount. (What one that is going holds, the API server deletes.)"""
    account = Key("", "serviceaccounts", key.name, "default")
    if not is_deleting(namespace) and round.is_free(account):
        metadata = {"name": "default", "namespace": key.name}
        round.create(account, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def is_closed(round: Round, key: Key) -> bool:
    """Nothing is made in a namespace that is going or gone."""
    if not key.namespace:
        return False
    namespace = round.get(Key("", "namespaces", "", key.namespace))
    return namespace is None or is_deleting(namespace)


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
