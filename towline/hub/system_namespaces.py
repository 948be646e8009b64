"""The namespaces that are there from the start, as in Kubernetes and Karmada."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from towline.hub.decide.conditions import rfc3339
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Conflict, Write
from towline.kube.names import NAMESPACE_NAME
from towline.kube.objects import Key, Object, encode

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "karmada-system", "karmada-cluster")


async def ensure(cache: Cache, now: float, new_uid: Callable[[], str]) -> None:
    """Make those that are missing."""
    keys = [Key("", "namespaces", "", name) for name in NAMESPACES]
    rows = [
        Write(key.path(), encode(_namespace(key.name, now, new_uid())), 0)
        for key in keys
        if cache.get(key) is None
    ]
    if rows:
        with suppress(Conflict):  # another hub made them just now
            await cache.commit(rows)


def _namespace(name: str, now: float, uid: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name, "uid": uid, "creationTimestamp": rfc3339(now), "labels": {NAMESPACE_NAME: name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }  # fmt: skip
