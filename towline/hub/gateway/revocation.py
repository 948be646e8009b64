"""Revocation: from one moment on no certificate that a cluster has is good, whoever holds it.

A cluster's certificates carry the number of its revocations so far (`AgentIdentity.generation`), and only those with the number
of the moment are good. The number is a row of the store, so that every hub sees it and none forgets it; it belongs to
one Cluster object, as the certificates do.
"""

from __future__ import annotations

from typing import Any, Protocol

from towline.hub.decide.revocations import REVOCATIONS, generation, key_of
from towline.hub.store.contract import Write
from towline.kube.objects import Key, Object, encode, name_of, uid_of


class Rows(Protocol):
    def get(self, key: Key) -> Any: ...


def generation_of(rows: Rows, cluster: Object) -> int:
    """How many times the certificates of this Cluster object were revoked."""
    row = rows.get(key_of(cluster))
    return generation(row.object if row is not None else None, cluster)


def revoked(rows: Rows, cluster: Object, by: str, now: float) -> Write:
    """One more revocation of this Cluster's certificates, decided on what `rows` holds. `by` is the user's name."""
    name = name_of(cluster)
    row = rows.get(key_of(cluster))
    spec = {
        "clusterUID": uid_of(cluster),
        "generation": generation_of(rows, cluster) + 1,
        "by": by,
        "at": now,
    }
    obj = {"apiVersion": "towline.io/v1", "kind": "Revocation", "metadata": {"name": name}, "spec": spec}
    return Write(key_of(cluster).path(), encode(obj), row.revision if row is not None else 0)


__all__ = ["REVOCATIONS", "generation_of", "revoked"]
