"""Remedies: the actions that a cluster's conditions call for (Karmada 1.11, 2.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.hub.decide.conditions import condition
from towline.hub.decide.plan import NOTHING, Plan, Put, Snapshot
from towline.kube import names
from towline.kube.objects import Key, Object, is_deleting, revision_of

REMEDIES = (names.REMEDY_GROUP, "remedies")


def decide(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """status.remedyActions of the Cluster at `key`: those of all Remedies that match, each once, sorted."""
    cluster = snapshot.get(key)
    if cluster is None:
        return NOTHING
    matching = [spec for spec in map(_spec, snapshot.list(*REMEDIES)) if spec and _matches(spec, cluster)]
    actions = sorted({action for spec in matching for action in spec.get("actions") or ()})
    status: Object = cluster.get("status") or {}
    if actions == (status.get("remedyActions") or []):
        return NOTHING
    changed = {field: value for field, value in status.items() if field != "remedyActions"}
    changed |= {"remedyActions": actions} if actions else {}
    return Plan((Put(key, {**cluster, "status": changed}, revision_of(cluster)),))


def _spec(remedy: Object) -> Mapping[str, Any]:
    """What a Remedy says; nothing once it is being deleted."""
    return {} if is_deleting(remedy) else remedy.get("spec") or {}


def _matches(spec: Mapping[str, Any], cluster: Object) -> bool:
    """Without an affinity a Remedy is for all clusters, without decision matches it always applies; one match is enough."""
    affinity, matches = spec.get("clusterAffinity"), spec.get("decisionMatches")
    if affinity is not None and cluster["metadata"]["name"] not in (affinity.get("clusterNames") or ()):
        return False
    return not matches or any(_holds(match.get("clusterConditionMatch"), cluster) for match in matches)


def _holds(match: Mapping[str, Any] | None, cluster: Object) -> bool:
    """A condition that the cluster does not have matches nothing, NotEqual included."""
    found = condition(cluster.get("status"), str((match or {}).get("conditionType") or ""))
    if match is None or found is None:
        return False
    equal: bool = found.get("status") == match.get("conditionStatus")
    return equal if match.get("operator") == "Equal" else not equal
