"""How many times a cluster's certificates were revoked, as the store keeps it (gateway/revocation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube.objects import Key, Object, name_of, uid_of

REVOCATIONS = ("towline.io", "revocations")


def key_of(cluster: Object) -> Key:
    return Key(*REVOCATIONS, "", name_of(cluster))


def generation(row: Mapping[str, Any] | None, cluster: Object) -> int:
    """Of this Cluster object, from the row of its name."""
    spec = row["spec"] if row is not None else {}
    return int(spec["generation"]) if spec.get("clusterUID") == uid_of(cluster) else 0
