"""Policies: which one a template belongs to, the claim that says so, and when a deleted policy may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from towline.hub.decide.plan import NOTHING, Delete, Plan, Put, Snapshot
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    finalizers_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    revision_of,
    uid_of,
    with_metadata,
    without_finalizer,
)
from towline.kube.selectors import SelectorError, from_object

POLICIES = "propagationpolicies"
CLUSTER_POLICIES = "clusterpropagationpolicies"

_CLAIM_LABELS = (names.POLICY_ID, names.CLUSTER_POLICY_ID)
_CLAIM_ANNOTATIONS = (
    names.POLICY_NAMESPACE_ANNOTATION,
    names.POLICY_NAME_ANNOTATION,
    names.CLUSTER_POLICY_NAME_ANNOTATION,
)


class Claim(NamedTuple):
    """The policy that a template or binding says it belongs to. `namespace` is empty for a cluster policy."""

    namespace: str
    name: str
    id: str

    @property
    def key(self) -> Key:
        resource = POLICIES if self.namespace else CLUSTER_POLICIES
        return Key(names.POLICY_GROUP, resource, self.namespace, self.name)

    def __str__(self) -> str:
        """As Karmada's events name a policy."""
        return f"policy({self.namespace}/{self.name})" if self.namespace else f"cluster policy({self.name})"


@dataclass(frozen=True, slots=True)
class Match:
    """The policy that governs a template, or None, and what became of the others (as data)."""

    policy: Object | None
    considered: tuple[Mapping[str, Any], ...] = ()


def match(snapshot: Snapshot, template: Object) -> Match:
    """Whose template it is (Karmada 2.1).

    A claimed template stays with its policy while that exists and selects it. Otherwise the policies of its namespace
    compete, and only if none of them selects it the cluster policies do: largest explicit priority, then the most
    specific selector (name, label selector, kind), then the smallest name.
    """
    claim = claim_of(template)
    if claim is not None:
        policy = snapshot.get(claim.key)
        if policy is not None and not is_deleting(policy) and specificity(policy, template):
            return Match(policy, ({"policy": str(claim), "verdict": "claimed"},))
    considered: list[Mapping[str, Any]] = []
    namespace = namespace_of(template)
    if namespace:
        best = _best(snapshot.list(names.POLICY_GROUP, POLICIES, namespace), template, considered)
        if best is not None:
            return Match(best, tuple(considered))
    best = _best(snapshot.list(names.POLICY_GROUP, CLUSTER_POLICIES), template, considered)
    return Match(best, tuple(considered))


def specificity(policy: Object, template: Object) -> int:
    """How closely `policy` selects `template`: 3 by name, 2 by label selector, 1 by kind only, 0 not at all."""
    return max((_selector_matches(s, policy, template) for s in _selectors(policy)), default=0)


def _selectors(policy: Object) -> list[Mapping[str, Any]]:
    return (policy.get("spec") or {}).get("resourceSelectors") or []


def _selector_matches(selector: Mapping[str, Any], policy: Object, template: Object) -> int:
    if selector.get("kind") != template.get("kind") or selector.get("apiVersion") != template.get(
        "apiVersion"
    ):
        return 0
    wanted = namespace_of(policy) or selector.get("namespace") or ""
    if wanted and wanted != namespace_of(template):
        return 0
    if selector.get("name"):
        return 3 if selector["name"] == name_of(template) else 0
    if selector.get("labelSelector") is None:
        return 1
    try:
        return 2 if from_object(selector["labelSelector"]).matches(labels_of(template)) else 0
    except SelectorError:
        return 0  # admission refuses such a selector; one that slipped through selects nothing


def _best(policies: Any, template: Object, considered: list[Mapping[str, Any]]) -> Object | None:
    ranked: list[tuple[int, int, str, Object]] = []
    for policy in policies:
        closeness = specificity(policy, template)
        if not closeness:
            continue
        if is_deleting(policy):
            considered.append({"policy": str(claim_by(policy)), "verdict": "deleting"})
            continue
        priority = int((policy.get("spec") or {}).get("priority") or 0)
        ranked.append((-priority, -closeness, name_of(policy), policy))
    ranked.sort(key=lambda row: row[:3])
    for place, (priority, closeness, _, policy) in enumerate(ranked):
        considered.append(
            {
                "policy": str(claim_by(policy)),
                "verdict": "outranked" if place else "chosen",
                "priority": -priority,
                "specificity": -closeness,
            }
        )
    return ranked[0][3] if ranked else None


# --- the claim -----------------------------------------------------------------------------------------------


def claim_by(policy: Object) -> Claim:
    """The claim that `policy` puts on what it governs."""
    namespace = namespace_of(policy)
    label = names.POLICY_ID if namespace else names.CLUSTER_POLICY_ID
    return Claim(namespace, name_of(policy), labels_of(policy).get(label) or uid_of(policy))


def claim_of(obj: Mapping[str, Any]) -> Claim | None:
    """The claim on a template or binding: label and annotations must both be there."""
    labels, annotations = labels_of(obj), annotations_of(obj)
    namespace = annotations.get(names.POLICY_NAMESPACE_ANNOTATION)
    name = annotations.get(names.POLICY_NAME_ANNOTATION)
    if names.POLICY_ID in labels and namespace and name:
        return Claim(namespace, name, labels[names.POLICY_ID])
    name = annotations.get(names.CLUSTER_POLICY_NAME_ANNOTATION)
    if names.CLUSTER_POLICY_ID in labels and name:
        return Claim("", name, labels[names.CLUSTER_POLICY_ID])
    return None


def with_claim(obj: Object, claim: Claim | None) -> Object:
    """`obj` with exactly this claim, or with none; the same object when that is so already."""
    labels = {k: v for k, v in labels_of(obj).items() if k not in _CLAIM_LABELS}
    annotations = {k: v for k, v in annotations_of(obj).items() if k not in _CLAIM_ANNOTATIONS}
    if claim is not None and claim.namespace:
        labels[names.POLICY_ID] = claim.id
        annotations[names.POLICY_NAMESPACE_ANNOTATION] = claim.namespace
        annotations[names.POLICY_NAME_ANNOTATION] = claim.name
    elif claim is not None:
        labels[names.CLUSTER_POLICY_ID] = claim.id
        annotations[names.CLUSTER_POLICY_NAME_ANNOTATION] = claim.name
    if labels == labels_of(obj) and annotations == annotations_of(obj):
        return obj
    return with_metadata(obj, labels=labels or None, annotations=annotations or None)


# --- the policy's own end ------------------------------------------------------------------------------------


def decide(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """A policy being deleted goes once nothing carries its claim. (Propagation takes the claims off.)"""
    policy = snapshot.get(key)
    if policy is None or not is_deleting(policy):
        return NOTHING
    finalizer = names.POLICY_FINALIZER if key.namespace else names.CLUSTER_POLICY_FINALIZER
    if finalizer not in finalizers_of(policy):
        return NOTHING
    label = names.POLICY_ID if key.namespace else names.CLUSTER_POLICY_ID
    claimed = [held for held in snapshot.labelled(label, claim_by(policy).id) if held != key]
    if claimed:
        return Plan(
            reasons={"waiting": "claims are still on objects", "claimed": [str(held) for held in claimed]}
        )
    left = without_finalizer(policy, finalizer)
    if finalizers_of(left):
        return Plan(writes=(Put(key, left, revision_of(policy)),))
    return Plan(writes=(Delete(key, revision_of(policy)),))
