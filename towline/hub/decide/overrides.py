"""Overrides: which override policies change a template on its way to a cluster, and what becomes of it (Karmada 2.5).

Cluster policies come before those of the namespace, and within both the most specific selector comes last, so it wins; ties
go by name. Rules are carried out in their order, after replicas are revised. A rule that cannot be carried out blocks that
cluster only: it keeps what it has, and the message says which rule.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson

from towline.hub.decide.plan import EventNote, Snapshot
from towline.hub.decide.policies import specificity
from towline.hub.decide.scheduling.affinity import matcher
from towline.hub.decide.wire import Applied, Blocked, WireWork
from towline.kube import names, overriders, variables
from towline.kube.objects import Key, Object, name_of, namespace_of, revision_of

POLICIES = "overridepolicies"
CLUSTER_POLICIES = "clusteroverridepolicies"

_BLOCKED = "overrides cannot be applied: "
"""How the message of an aggregatedStatus entry begins that is the hub's own and not the agent's."""


class OverrideFailed(Exception):
    """A rule that cannot be carried out for a cluster."""

    def __init__(self, blocked: Blocked) -> None:
        super().__init__(str(blocked))
        self.blocked = blocked


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule of a policy. `policy` as events name it; `path` is the rule's; `matches` None: in every cluster."""

    policy: str
    namespace: str
    name: str
    path: str
    overriders: Mapping[str, Any]
    matches: Callable[[Object], bool] | None = None
    variables: bool = False


@dataclass(frozen=True, slots=True)
class Overrides:
    """What changes one template on its way. `cluster` answers a Cluster by name."""

    rules: Sequence[Rule] = ()
    revisions: Hashable = ()
    """Equal for the same policies in the same versions."""
    cluster: Callable[[str], Object] = field(default=lambda name: {"metadata": {"name": name}})

    @property
    def looks_at_clusters(self) -> bool:
        """Whether what a cluster gets depends on its labels or spec."""
        return any(rule.matches is not None or rule.variables for rule in self.rules)


NO_OVERRIDES = Overrides()


class Candidates(NamedTuple):
    """The policies that may select templates of one kind in one namespace: cluster policies, and the namespace's own."""

    clusterwide: Sequence[Object]
    own: Sequence[Object]


def candidates(snapshot: Snapshot, namespace: str, api_version: str, kind: str) -> Candidates:
    """What has to be looked at for each template of a kind; the same until a policy changes."""

    def fits(policy: Object) -> bool:
        selectors = (policy.get("spec") or {}).get("resourceSelectors") or ()
        wanted = ((selector.get("apiVersion"), selector.get("kind")) for selector in selectors)
        return not selectors or (api_version, kind) in wanted

    own = snapshot.list(names.POLICY_GROUP, POLICIES, namespace) if namespace else ()
    clusterwide = snapshot.list(names.POLICY_GROUP, CLUSTER_POLICIES)
    return Candidates(tuple(filter(fits, clusterwide)), tuple(filter(fits, own)))


def matching(snapshot: Snapshot, template: Object, known: Candidates | None = None) -> Overrides:
    """The rules of all policies that select `template`, in the order in which they are carried out. `known`: the candidates
    for its kind, where somebody keeps them."""
    if known is None:
        kind = (str(template.get("apiVersion")), str(template.get("kind")))
        known = candidates(snapshot, namespace_of(template), *kind)
    found = [policy for policies in known if policies for policy in _selecting(policies, template)]
    if not found:
        return NO_OVERRIDES
    return Overrides(
        tuple(rule for policy in found for rule in _rules(policy)),
        tuple((namespace_of(policy), name_of(policy), revision_of(policy)) for policy in found),
        lambda name: (
            snapshot.get(Key(names.CLUSTER_GROUP, "clusters", "", name)) or {"metadata": {"name": name}}
        ),
    )


def selects(policy: Object, template: Object) -> int:
    """How closely an override policy selects `template`: as propagation policies do, but without selectors it means all."""
    if (policy.get("spec") or {}).get("resourceSelectors"):
        return specificity(policy, template)
    return 1 if namespace_of(policy) in ("", namespace_of(template)) else 0


def rules_for(overrides: Overrides, cluster: str) -> tuple[Sequence[Rule], Hashable]:
    """The rules that count in a cluster, and a key: clusters with equal keys get the same changes."""
    if not overrides.rules:
        return (), ()
    found = overrides.cluster(cluster)
    rules = [rule for rule in overrides.rules if rule.matches is None or rule.matches(found)]
    facts = variables.facts_of(found) if any(rule.variables for rule in rules) else b""
    return rules, (tuple((rule.policy, rule.path) for rule in rules), facts)


def apply(manifest: Object, rules: Sequence[Rule], cluster: Object) -> tuple[Object, Applied]:
    """`manifest` as `cluster` gets it, and what was done. Raises OverrideFailed."""
    facts = variables.facts_of(cluster) if any(rule.variables for rule in rules) else b""
    done: list[Rule] = []
    for rule in rules:
        try:
            if rule.variables:
                filled = overriders.resolved(rule.overriders, facts, f"{rule.path}.overriders")
                rule = replace(rule, overriders=filled)
            manifest = overriders.changed(manifest, rule.overriders, f"{rule.path}.overriders")
        except overriders.OverrideError as error:
            raise OverrideFailed(Blocked(rule.policy, str(error))) from None
        done.append(rule)
    return manifest, _applied(done)


def _selecting(policies: Iterable[Object], template: Object) -> list[Object]:
    ranked = [(selects(policy, template), name_of(policy), policy) for policy in policies]
    chosen = sorted((row for row in ranked if row[0]), key=lambda row: row[:2])
    return [policy for _, _, policy in chosen]


def _rules(policy: Object) -> Iterable[Rule]:
    """The rules in their order. What stands in `targetCluster` and `overriders` is one rule; its place is `spec`."""
    spec, namespace, name = policy.get("spec") or {}, namespace_of(policy), name_of(policy)
    told = f"override policy({namespace}/{name})" if namespace else f"cluster override policy({name})"
    listed = [(f"spec.overrideRules[{n}]", rule) for n, rule in enumerate(spec.get("overrideRules") or ())]
    for path, rule in listed or [("spec", spec)]:
        target = rule.get("targetCluster")
        yield Rule(
            told,
            namespace,
            name,
            path,
            rule.get("overriders") or {},
            matcher(target) if target else None,
            spec.get("variables") == "Enabled",
        )


def _applied(rules: Sequence[Rule]) -> Applied:
    """The annotations of a Work say what was applied, by policies of either kind."""
    annotations = {}
    for field_, clusterwide in ((names.APPLIED_CLUSTER_OVERRIDES, True), (names.APPLIED_OVERRIDES, False)):
        shown = [
            {"policyName": rule.name, "overriders": rule.overriders}
            for rule in rules
            if (not rule.namespace) == clusterwide and rule.overriders
        ]
        if shown:
            annotations[field_] = orjson.dumps(shown).decode()
    return Applied(tuple(dict.fromkeys(rule.policy for rule in rules if rule.overriders)), annotations)


# --- a cluster that is blocked -------------------------------------------------------------------------------


def with_block(entry: Mapping[str, Any], blocked: Blocked | None) -> Mapping[str, Any]:
    """An aggregatedStatus entry as it is while a rule keeps its cluster from getting the template. Its status stays what the
    agent reports of what it holds. Without a block, what the hub said of one is taken back, and the agent's word is awaited.
    """
    if blocked is not None:
        return {
            **entry,
            "applied": False,
            "appliedMessage": f"{_BLOCKED}{blocked}",
            "health": entry.get("health") or "Unknown",
        }
    if is_blocked(entry):
        return {key: value for key, value in entry.items() if key not in ("applied", "appliedMessage")}
    return entry


def is_blocked(entry: Mapping[str, Any]) -> bool:
    """Whether an aggregatedStatus entry says that overrides keep the cluster from getting the template."""
    return entry.get("applied") is False and str(entry.get("appliedMessage") or "").startswith(_BLOCKED)


def notes(regarding: Object, cluster: str, before: WireWork | None, after: WireWork) -> list[EventNote]:
    """What users are told when a cluster's Work changed: policies that count now, or one that cannot be applied."""
    if after.blocked is not None:
        if before is not None and before.blocked == after.blocked:
            return []
        message = f"Apply {after.blocked.policy} for cluster({cluster}) failed: {after.blocked.why}"
        return [EventNote(regarding, "Warning", "ApplyOverridePolicyFailed", message)]
    known = before.overrides if before is not None and before.blocked is None else None
    if after.overrides is None or after.overrides == known:
        return []
    return [
        EventNote(
            regarding,
            "Normal",
            "ApplyOverridePolicySucceed",
            f"Apply {policy} for cluster({cluster}) succeed.",
        )
        for policy in after.overrides.policies
    ]
