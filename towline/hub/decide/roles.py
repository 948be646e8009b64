"""The rules of aggregating ClusterRoles: those of the ClusterRoles that they select."""

from __future__ import annotations

from collections.abc import Iterable

from towline.hub.decide.plan import NOTHING, Plan, Put, Snapshot
from towline.kube import rbac
from towline.kube.objects import Key, Object, content_hash, is_deleting, revision_of

CLUSTER_ROLES = (rbac.GROUP, "clusterroles")


def decide(snapshot: Snapshot, key: Key, now: float) -> Plan:
    role = snapshot.get(key)
    if role is None or is_deleting(role) or not role.get("aggregationRule"):
        return NOTHING
    rules = rbac.aggregated(role, snapshot.list(*CLUSTER_ROLES))
    # Their order counts for nothing, and roles that gather one another in a circle would hand it round for ever.
    if _contents(rules) == _contents(role.get("rules") or []):
        return NOTHING
    return Plan((Put(key, {**role, "rules": rules}, revision_of(role)),))


def _contents(rules: Iterable[Object]) -> list[bytes]:
    return sorted(map(content_hash, rules))
