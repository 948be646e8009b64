"""Policies: which one a template belongs to, and the claim that says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from towline.hub.decide.plan import Snapshot
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    with_metadata,
)
from towline.kube.selectors import SelectorError, from_object

POLICIES = "propagationpolicies"
CLUSTER_POLICIES = "clusterpropagationpolicies"
PRIORITY_CLASSES = ("scheduling.k8s.io", "priorityclasses")

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
class Block:
    """Why `policy` cannot take effect now: a reason and a message, as conditions have them."""

    policy: Object
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Match:
    """The policy that governs a template, or None, and what became of the others (as data)."""

    policy: Object | None
    considered: tuple[Mapping[str, Any], ...] = ()
    preempted: Claim | None = None
    """The claim that `policy` takes the template from, by preemption."""
    block: Block | None = None
    """What waits: `policy` itself, or one that would preempt it."""


def match(snapshot: Snapshot, template: Object) -> Match:
    """Whose template it is (Karmada 2.1), from what is there and not from what happened.

    A claimed template stays with its policy while that exists, selects it and is not preempted. Otherwise the policies of its
    namespace compete, and only if none of them selects it the cluster policies do: largest explicit priority, then the most
    specific selector (name, label selector, kind), then the smallest name.

    Karmada preempts when a policy is written; here the strongest of all that may preempt takes the template whenever
    it is looked at. That comes to the same: one that preempts is stronger than the present owner, so a chain of preemptions in any
    order ends with the strongest, which no other may preempt. An owner whose priority is lowered is preempted because the
    comparison is made anew, by the highest first. Only who held a template first among equals depends on history, and the claim is that history.
    """
    claim = claim_of(template)
    owner = None if claim is None else snapshot.get(claim.key)
    if claim is not None and owner is not None and not is_deleting(owner) and specificity(owner, template):
        return _kept(snapshot, template, claim, owner)
    considered: list[Mapping[str, Any]] = []
    best = _best(_candidates(snapshot, template, POLICIES), template, considered)
    if best is None:
        best = _best(_candidates(snapshot, template, CLUSTER_POLICIES), template, considered)
    return Match(best, tuple(considered), block=None if best is None else _block(snapshot, best))


def _kept(snapshot: Snapshot, template: Object, claim: Claim, owner: Object) -> Match:
    """The owner, or the strongest that takes the template from it. One that could not take effect takes nothing."""
    considered: list[Mapping[str, Any]] = []
    waiting: Block | None = None
    for rival in _preempting(snapshot, template, owner):
        block = _block(snapshot, rival)
        data = {"policy": str(claim_by(rival)), "priority": priority_of(rival)}
        if block is None:
            considered.append({**data, "verdict": "preempts"})
            considered.append({"policy": str(claim), "verdict": "preempted", "priority": priority_of(owner)})
            return Match(rival, tuple(considered), claim)
        considered.append({**data, "verdict": "cannot preempt yet", "message": block.message})
        waiting = waiting or block
    considered.insert(0, {"policy": str(claim), "verdict": "claimed"})
    return Match(owner, tuple(considered), block=_block(snapshot, owner) or waiting)


def _preempting(snapshot: Snapshot, template: Object, owner: Object) -> Iterator[Object]:
    """Those that may take `template` from `owner`, strongest first: policies of its namespace from any cluster policy, others only
    from a strictly lower priority of their own kind. Each names the template in a selector."""
    among = [POLICIES] if namespace_of(owner) else [POLICIES, CLUSTER_POLICIES]
    for resource in among:
        above = priority_of(owner) if resource == among[-1] else None
        rivals = [
            policy
            for policy in _candidates(snapshot, template, resource)
            if _spec(policy).get("preemption") == "Always"
            and (above is None or priority_of(policy) > above)
            and not is_deleting(policy)
            and specificity(policy, template) == 3
        ]
        yield from sorted(rivals, key=lambda policy: (-priority_of(policy), name_of(policy)))


def _candidates(snapshot: Snapshot, template: Object, resource: str) -> Sequence[Object]:
    found = (snapshot.get(key) for key in snapshot.selecting(template) if key.resource == resource)
    return [policy for policy in found if policy is not None]


def _block(snapshot: Snapshot, policy: Object) -> Block | None:
    """Whether something that `policy` depends on is missing."""
    missing = [key for key in dependencies(policy) if snapshot.get(key) is None]
    if not missing:
        return None
    if missing[0][:2] == PRIORITY_CLASSES:
        message = f'waiting for PriorityClass "{missing[0].name}" of schedulePriority: not found'
        return Block(policy, "PriorityClassNotFound", message)
    what = "OverridePolicy" if namespace_of(policy) else "ClusterOverridePolicy"
    absent = ", ".join(key.name for key in missing if key[:2] != PRIORITY_CLASSES)
    message = f"waiting for dependent overrides: {what} {absent} not found"
    return Block(policy, "DependentOverridesNotFound", message)


def dependencies(policy: Object) -> Iterator[Key]:
    """What must exist for `policy` to take effect: its dependentOverrides, and the PriorityClass of its schedulePriority."""
    namespace = namespace_of(policy)
    resource = "overridepolicies" if namespace else "clusteroverridepolicies"
    for name in _spec(policy).get("dependentOverrides") or ():
        yield Key(names.POLICY_GROUP, resource, namespace, str(name))
    wish = _spec(policy).get("schedulePriority")
    if wish:
        yield priority_class_key(wish)


def priority_class_key(wish: Mapping[str, Any]) -> Key:
    """The PriorityClass that a schedulePriority names."""
    return Key(*PRIORITY_CLASSES, "", str(wish.get("priorityClassName") or ""))


def specificity(policy: Object, template: Object) -> int:
    """How closely `policy` selects `template`: 3 by name, 2 by label selector, 1 by kind only, 0 not at all."""
    return max((_selector_matches(s, policy, template) for s in selectors_of(policy)), default=0)


class Selection(NamedTuple):
    """A selector as far as an index can know it: what it says about labels is left out. `name` is empty for any name."""

    namespace: str
    """The policy's own; empty for a cluster policy."""
    api_version: str
    kind: str
    name: str


def selections(policy: Object) -> set[Selection]:
    """Where the index of policies keeps `policy`."""
    return {
        Selection(
            namespace_of(policy),
            str(selector.get("apiVersion")),
            str(selector.get("kind")),
            str(selector.get("name") or ""),
        )
        for selector in selectors_of(policy)
    }


def selections_for(template: Object) -> set[Selection]:
    """Where the policies are kept that may select `template`."""
    api_version, kind = str(template.get("apiVersion")), str(template.get("kind"))
    return {
        Selection(namespace, api_version, kind, name)
        for namespace in (namespace_of(template), "")
        for name in (name_of(template), "")
    }


def is_policy(key: Key) -> bool:
    return key.group == names.POLICY_GROUP and key.resource in (POLICIES, CLUSTER_POLICIES)


def selectors_of(policy: Object) -> Sequence[Mapping[str, Any]]:
    selectors: Sequence[Mapping[str, Any]] = _spec(policy).get("resourceSelectors") or ()
    return selectors


def priority_of(policy: Object) -> int:
    """The explicit priority."""
    return int(_spec(policy).get("priority") or 0)


def removes(policy: Object) -> bool:
    """Whether what it propagated goes when it lets a template go and no other policy takes it (`onPolicyDelete`)."""
    return _spec(policy).get("onPolicyDelete") == "Remove"


def _spec(policy: Object) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = policy.get("spec") or {}
    return spec


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


def _best(policies: Iterable[Object], template: Object, considered: list[Mapping[str, Any]]) -> Object | None:
    ranked: list[tuple[int, int, str, Object]] = []
    for policy in policies:
        closeness = specificity(policy, template)
        if not closeness:
            continue
        if is_deleting(policy):
            considered.append({"policy": str(claim_by(policy)), "verdict": "deleting"})
            continue
        ranked.append((-priority_of(policy), -closeness, name_of(policy), policy))
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
