"""ClusterTaintPolicies: taints that come and go with what a Cluster's conditions say (Karmada 1.11, 2.8).

Every policy that means the cluster is asked, the oldest first: what one adds a later one may remove. A policy that is deleted leaves its
taints where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from towline.hub.decide import taints
from towline.hub.decide.doubt import Doubt
from towline.hub.decide.plan import NOTHING, EventNote, Plan, Put, Snapshot
from towline.hub.decide.scheduling.affinity import matcher
from towline.hub.decide.taints import OF_HEALTH, with_wishes
from towline.kube.names import POLICY_GROUP
from towline.kube.objects import Key, Object, name_of, revision_of, with_generation
from towline.kube.taints import Place, place_of, taints_of

POLICIES = (POLICY_GROUP, "clustertaintpolicies")
DOUBT_SECONDS = 5.0
"""How often a taint that a doubt holds back is looked at again."""

Wishes = dict[Place, Mapping[str, Any] | None]


def decide(snapshot: Snapshot, key: Key, now: float, doubt: Callable[[], Doubt | None]) -> Plan:
    """The taints that policies give to the Cluster at `key`. `doubt` is asked before a NoExecute taint is added."""
    cluster = snapshot.get(key)
    if cluster is None:
        return NOTHING
    wishes = wishes_for(cluster, snapshot.list(*POLICIES))
    present = set(map(place_of, taints_of(cluster)))
    evicting = [at for at, taint in wishes.items() if taint and at[1] == "NoExecute" and at not in present]
    waits = None
    if evicting and (found := doubt()) is not None and key.name in found.clusters:
        wishes = {at: taint for at, taint in wishes.items() if at not in evicting}
        waits = DOUBT_SECONDS
    tainted = with_wishes(cluster, wishes, now)
    if tainted is cluster:
        return Plan(requeue_after_seconds=waits)
    message = f"Update Cluster({key.name}) with taints({taints.told(tainted)}) succeed"
    event = EventNote(cluster, "Normal", taints.SUCCEEDED, message)
    return Plan((Put(key, with_generation(tainted, cluster), revision_of(cluster)),), (event,), waits)


def wishes_for(cluster: Object, policies: Iterable[Object]) -> Wishes:
    """What `policies` say of `cluster`: a taint that it is to have, or None for one that it is not to have; the last word counts.

    The taints of the cluster's health are not theirs to say."""
    conditions = {
        str(row.get("type")): str(row.get("status"))
        for row in (cluster.get("status") or {}).get("conditions") or ()
    }
    wishes: Wishes = {}
    for policy in sorted(policies, key=_age):
        spec = policy.get("spec") or {}
        if not matcher(spec.get("targetClusters"))(cluster):
            continue
        for field, wanted in (("addOnConditions", True), ("removeOnConditions", False)):
            if not _holds(spec.get(field), conditions):
                continue
            for taint in spec.get("taints") or ():
                if place_of(taint) not in OF_HEALTH:
                    wishes[place_of(taint)] = taint if wanted else None
    return wishes


def _age(policy: Object) -> tuple[str, str]:
    return str((policy.get("metadata") or {}).get("creationTimestamp") or ""), name_of(policy)


def _holds(matches: Iterable[Mapping[str, Any]] | None, conditions: Mapping[str, str]) -> bool:
    """Whether all of `matches` hold. None of them say nothing; a condition that the cluster lacks matches nothing, not even NotIn."""
    if not matches:
        return False
    for match in matches:
        status = conditions.get(str(match.get("conditionType")))
        if status is None:
            return False
        listed = status in (match.get("statusValues") or ())
        if listed != (match.get("operator") == "In"):
            return False
    return True
