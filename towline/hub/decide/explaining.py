"""Explain: why a template is where it is, as data. The last decision as it was recorded, the same decision made again now (nothing
is written), and what differs between the two in words.

The shape, as kube/assets/placements.yaml describes it: `summary`, `next`, `state`, `template`, `binding`, `moves`, `policy`, `overrides`, `decision`,
`since`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from towline.hub.decide import bindings, overrides, policies, propagation
from towline.hub.decide.comparing import Decided, differences, refused_anew, winner_of
from towline.hub.decide.conditions import condition, rfc3339
from towline.hub.decide.moving import Holds, moves
from towline.hub.decide.placing import SCHEDULED, request_of
from towline.hub.decide.plan import Detail, Plan, Snapshot
from towline.hub.decide.scheduling import Outcome, View, schedule
from towline.hub.decide.standing import (
    Standing,
    binding_after,
    next_step,
    sentence,
    standing,
    targets_data,
)
from towline.kube import interpreter, names
from towline.kube.objects import Key, Object, is_deleting

OTHERS_MAX = 20
"""How many policies that select other objects are named; all are counted."""
NOTHING_HELD = Holds()
UNASKED = "agents are asked for their room before it is decided anew; by what is known without asking:"


class Recorded(NamedTuple):
    """A decision that was made: when (epoch seconds), on which revision, why, and its details."""

    at: float
    revision: int
    reasons: Mapping[str, Any]
    details: tuple[Detail, ...]

    @property
    def numbers(self) -> int:
        """What the details cost to keep."""
        return sum(map(len, self.details))


def explain(
    snapshot: Snapshot,
    key: Key,
    view: View,
    now: float,
    recorded: Recorded | None = None,
    holds: Holds = NOTHING_HELD,
) -> dict[str, Any]:
    """All about the template at `key`. `recorded` is its last decision that has details, if the hub still has one.

    Where the hub would ask agents before it decides anew, what is stored is told, and what is known without asking only under `since`."""
    asking, view = view, view.as_heard()
    template = snapshot.get(key)
    plan = propagation.decide(snapshot, key, now, view)
    kind = str((template or {}).get("kind") or key.resource)
    at = bindings.key_for(key.namespace, key.name, kind)
    stored = snapshot.get(at)
    after = binding_after(plan, at, stored)
    decided = "scheduling" in plan.reasons and after is not None and not is_deleting(after)
    wish = request_of(at, after) if decided and after is not None else None
    unsure = wish is not None and bool(schedule(wish, asking).asks)
    stands = standing(plan, key, template, stored if unsure and stored is not None else after)
    told: dict[str, Any] = {"state": stands.state, "template": _template(key, template, kind)}
    if stored is not None:
        told["binding"] = _binding(at, stored)
        if not is_deleting(stored) and (found := moves(snapshot, stored, view, now, holds)):
            told["moves"] = found
    if template is not None and propagation.propagatable(key):
        told["policy"] = _policy(snapshot, template, plan)
    if template is not None and after is not None and (rules := _overrides(snapshot, template, after)):
        told["overrides"] = rules
    fits = ""
    if wish is not None:
        trials = _Trials(
            schedule(wish, view),
            schedule(replace(wish, fresh=True), view),
            schedule(replace(wish, fresh=True, current={}), view),
        )
        told["decision"] = decision = _decision(plan, recorded, trials.again, now)
        fits = _fits(decision)
        told["since"] = _since(plan, recorded, stored, stands, trials, unsure)
    suspension = ((after or {}).get("spec") or {}).get("suspension")
    step = next_step(stands, template, key.namespace, suspension)
    shown = f"{kind} {key.name}"
    so_far = bindings.targets(stored) if stored is not None else {}
    return {"summary": sentence(shown, stands, fits, so_far), **({"next": step} if step else {}), **told}


def _template(key: Key, template: Object | None, kind: str) -> dict[str, Any]:
    named: dict[str, Any] = {
        "apiVersion": (template or {}).get("apiVersion") or key.group,
        "kind": kind,
        "name": key.name,
    }
    if key.namespace:
        named["namespace"] = key.namespace
    workload = interpreter.replicas(template) if template is not None else None
    return named if workload is None else {**named, "replicas": workload[0]}


def _binding(key: Key, binding: Object) -> dict[str, Any]:
    status = binding.get("status") or {}
    told: dict[str, Any] = {
        "kind": binding["kind"],
        "name": key.name,
        "targets": targets_data(bindings.targets(binding)),
    }
    if status.get("lastScheduledTime"):
        told["placedAt"] = status["lastScheduledTime"]
    found = condition(status, SCHEDULED)
    if found is not None:
        told["scheduled"] = {
            field: found[field] for field in ("status", "reason", "message") if found.get(field)
        }
    failed = {
        name: str(entry.get("appliedMessage") or "")
        for name, entry in bindings.observed(binding).items()
        if entry.get("applied") is False
    }
    if failed:
        told["notApplied"] = failed
    suspension = (binding.get("spec") or {}).get("suspension")
    if suspension:
        told["suspension"] = suspension
    return told


# --- which policy --------------------------------------------------------------------------------------------


def _policy(snapshot: Snapshot, template: Object, plan: Plan) -> dict[str, Any]:
    """`considered`: those that select the template, with what became of each; `others`: those that do not, with why."""
    verdicts = {row["policy"]: dict(row) for row in plan.reasons.get("policies") or ()}
    winner = winner_of(verdicts.values())
    told: dict[str, Any] = {"name": winner} if winner else {}
    claim = policies.claim_of(template)
    if claim is not None and snapshot.get(claim.key) is None:
        told["gone"] = f"The template still names {claim}, which is there no more."
    others: list[dict[str, str]] = []
    count = 0
    for policy in _in_scope(snapshot, template):
        name = str(policies.claim_by(policy))
        closeness = policies.specificity(policy, template)
        if closeness:
            passed = {"policy": name, "verdict": "passed over", "why": _passed_over(policy, winner)}
            row = verdicts.setdefault(name, passed)
            row.setdefault("priority", int((policy.get("spec") or {}).get("priority") or 0))
            row.setdefault("specificity", closeness)
        elif name not in verdicts:
            count += 1
            if len(others) < OTHERS_MAX:
                others.append({"policy": name, "why": why_not(policy, template)})
    told["considered"] = list(verdicts.values())
    return {**told, "othersCount": count, "others": others} if count else told


def _in_scope(snapshot: Snapshot, template: Object) -> Sequence[Object]:
    namespace = (template.get("metadata") or {}).get("namespace")
    found = snapshot.list(names.POLICY_GROUP, policies.POLICIES, namespace) if namespace else ()
    return [*found, *snapshot.list(names.POLICY_GROUP, policies.CLUSTER_POLICIES)]


def _passed_over(policy: Object, winner: str | None) -> str:
    if winner is None or is_deleting(policy):
        return "it is being deleted"
    if policy["kind"] == "ClusterPropagationPolicy" and not winner.startswith("cluster"):
        return "a policy of the namespace goes before cluster policies"
    return f"the template stays with {winner}, which claimed it first"


def why_not(policy: Object, template: Object) -> str:
    """Why `policy` does not select `template`."""
    kind = f"{template.get('apiVersion')} {template.get('kind')}"
    selectors = [
        selector
        for selector in (policy.get("spec") or {}).get("resourceSelectors") or ()
        if (selector.get("apiVersion"), selector.get("kind"))
        == (template.get("apiVersion"), template.get("kind"))
    ]
    if not selectors:
        return f"selects no {kind}"
    metadata = template.get("metadata") or {}
    here = [s for s in selectors if (s.get("namespace") or "") in ("", metadata.get("namespace") or "")]
    if not here:
        return f"selects {kind} of other namespaces"
    called = [str(selector["name"]) for selector in here if selector.get("name")]
    if len(called) == len(here):
        return f"selects {kind} of other names: {', '.join(sorted(called)[:3])}"
    return "its labelSelector does not match the template's labels"


# --- what overrides change -----------------------------------------------------------------------------------


def _overrides(snapshot: Snapshot, template: Object, binding: Object) -> list[dict[str, Any]]:
    """Which rules of override policies count in which of the clusters that shall hold a copy, in the order in which they are carried out;
    clusters with the same rules together. (Where one cannot be carried out, the binding's `notApplied` says why.)"""
    found = overrides.matching(snapshot, template)
    if not found.rules:
        return []
    rows: dict[Hashable, dict[str, Any]] = {}
    for cluster in sorted(bindings.desired(binding)):
        rules, _ = overrides.rules_for(found, cluster)
        if not rules:
            continue
        row = rows.setdefault(tuple((rule.policy, rule.path) for rule in rules), {"clusters": []})
        row["clusters"].append(cluster)
        row["rules"] = [
            {"policy": rule.policy, "rule": rule.path, "overriders": sorted(rule.overriders)}
            for rule in rules
        ]
    return list(rows.values())


# --- how it was decided --------------------------------------------------------------------------------------


class _Trials(NamedTuple):
    """The wish scheduled now: as it is; as if a reschedule was triggered; and as if there was no copy anywhere."""

    again: Outcome
    fresh: Outcome
    first: Outcome


def _decision(plan: Plan, recorded: Recorded | None, again: Outcome, now: float) -> dict[str, Any]:
    if recorded is not None:
        reasons = recorded.reasons
        told: dict[str, Any] = {
            "source": "recorded",
            "at": rfc3339(recorded.at),
            "revision": recorded.revision,
            "cause": str(reasons.get("scheduling") or ""),
        }
        outcome, message = reasons.get("outcome"), reasons.get("message")
        details: Sequence[Detail] = recorded.details
    else:
        told = {"source": "now", "at": rfc3339(now), "cause": str(plan.reasons.get("scheduling") or "")}
        outcome, message, details = again.reason, again.message, tuple(again.traces)
    told |= {"outcome": str(outcome), "message": str(message)}
    return {**told, "terms": [dict(detail.data()) for detail in details]}


def _fits(decision: Mapping[str, Any]) -> str:
    terms = decision["terms"]
    if not terms:
        return ""
    term = deciding_term(decision)
    fitting = sum("filter" not in row for row in term["clusters"].values())
    return f"{fitting} of {len(term['clusters'])} clusters can take it"


def deciding_term(decision: Mapping[str, Any]) -> Mapping[str, Any]:
    """The affinity term that counts: the one that succeeded, which is the last; when all failed, the first."""
    found: Mapping[str, Any] = decision["terms"][-1 if decision["outcome"] == "Success" else 0]
    return found


def _since(
    plan: Plan,
    recorded: Recorded | None,
    stored: Object | None,
    stands: Standing,
    trials: _Trials,
    unsure: bool,
) -> dict[str, Any]:
    """`same`, or `differences`; `stays`: targets that keep their copy but would not get one now; `now`: the targets where the
    hub is about to change them; `fresh`: those that a reschedule would give, where they are others."""
    present = bindings.targets(stored) if stored is not None else {}
    told: dict[str, Any] = {}
    if recorded is None:
        told["unknown"] = (
            "It was decided before this hub began to keep account of it; this is how it would be decided now."
        )
    else:
        before = Decided.of(recorded.reasons, recorded.details)
        after = Decided.of({**recorded.reasons, **plan.reasons}, trials.again.traces)
        found = differences(before, after, present, stands.targets)
        told["same"] = not found
        if found:
            told["differences"] = [UNASKED, *found] if unsure else found
    stays = refused_anew(present, trials.first.traces)
    if stays:
        told["stays"] = stays
    if stands.targets != present:
        told["now"] = targets_data(stands.targets)
    if trials.fresh.success and dict(trials.fresh.targets or {}) != dict(stands.targets):
        told["fresh"] = targets_data(trials.fresh.targets or {})
    return told
