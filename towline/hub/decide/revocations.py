"""How many times a cluster's certificates were revoked, as the store keeps it (gateway/revocation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.hub.decide.plan import Snapshot
from towline.kube.objects import Key, Object, name_of, uid_of

REVOCATIONS = ("towline.io", "revocations")
AGENTS = ("towline.io", "agents")
"""What agents showed last (hub/agents)."""


def key_of(cluster: Object) -> Key:
    return Key(*REVOCATIONS, "", name_of(cluster))


def generation(row: Mapping[str, Any] | None, cluster: Object) -> int:
    """Of this Cluster object, from the row of its name."""
    spec = row["spec"] if row is not None else {}
    return int(spec["generation"]) if spec.get("clusterUID") == uid_of(cluster) else 0


def is_revoked(snapshot: Snapshot, cluster: Object) -> bool:
    """Whether what its agent showed last was revoked since."""
    revoked = generation(snapshot.get(key_of(cluster)), cluster)
    agent = snapshot.get(Key(*AGENTS, "", name_of(cluster))) if revoked else None
    spec = agent["spec"] if agent is not None else {}
    return spec.get("cluster_uid") == uid_of(cluster) and int(spec["generation"]) < revoked
