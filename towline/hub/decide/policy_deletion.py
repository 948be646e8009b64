"""The end of a policy: it goes once nothing that it governed carries its claim. (Propagation takes the claims off.)"""

from __future__ import annotations

from towline.hub.decide.bindings import is_binding
from towline.hub.decide.plan import NOTHING, Delete, Plan, Put, Snapshot
from towline.hub.decide.policies import claim_by
from towline.hub.decide.propagation import propagatable
from towline.kube import names
from towline.kube.objects import Key, finalizers_of, is_deleting, revision_of, without_finalizer


def decide(snapshot: Snapshot, key: Key, now: float) -> Plan:
    policy = snapshot.get(key)
    if policy is None or not is_deleting(policy):
        return NOTHING
    finalizer = names.POLICY_FINALIZER if key.namespace else names.CLUSTER_POLICY_FINALIZER
    if finalizer not in finalizers_of(policy):
        return NOTHING
    label = names.POLICY_ID if key.namespace else names.CLUSTER_POLICY_ID
    # Whoever copies labels to what is never propagated makes no claim.
    claimed = [
        str(held)
        for held in snapshot.labelled(label, claim_by(policy).id)
        if is_binding(held) or propagatable(held)
    ]
    if claimed:
        return Plan(reasons={"waiting": "claims are still on objects", "claimed": claimed})
    left = without_finalizer(policy, finalizer)
    if finalizers_of(left):
        return Plan(writes=(Put(key, left, revision_of(policy)),))
    return Plan(writes=(Delete(key, revision_of(policy)),))
