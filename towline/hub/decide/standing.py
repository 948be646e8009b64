"""Where a template stands after a decision: one word, one sentence, its targets, and what to do next. For people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from towline.hub.decide import bindings, propagation
from towline.hub.decide.bindings import foreign_scheduler
from towline.hub.decide.conditions import condition
from towline.hub.decide.placing import SCHEDULED
from towline.hub.decide.plan import Plan, Put
from towline.hub.decide.scheduling.request import SUCCESS_MESSAGE
from towline.kube.objects import Key, Object, is_deleting

NAMES_MAX = 8
"""How many clusters a sentence names."""

PLACED, WAITING, SUSPENDED, NO_POLICY, UNCLAIMED, ENDING, UNPROPAGATED = (
    "Placed",
    "Waiting",
    "Suspended",
    "NoPolicy",
    "Unclaimed",
    "Ending",
    "NotPropagated",
)
"""States besides the reasons of a Scheduled condition that is False."""


class Standing(NamedTuple):
    """`message` is empty where the state says it all. `targets` are replicas by cluster."""

    state: str
    message: str
    targets: Mapping[str, int]

    def data(self, *, targets: bool = True) -> dict[str, Any]:
        told: dict[str, Any] = {"state": self.state}
        if self.message:
            told["message"] = self.message
        return {**told, "targets": targets_data(self.targets)} if targets else told


def binding_after(plan: Plan, key: Key, stored: Object | None) -> Object | None:
    """The binding at `key` once `plan` is carried out."""
    for write in plan.writes:
        if write.key == key:
            return write.object if isinstance(write, Put) else None
    return stored


def standing(plan: Plan, key: Key, template: Object | None, binding: Object | None) -> Standing:
    """Where the template at `key` stands with `plan`, and `binding` as the plan leaves it."""
    if binding is not None and is_deleting(binding):
        binding = None  # its copies go
    targets = bindings.targets(binding) if binding is not None else {}
    reasons = plan.reasons
    if not propagation.propagatable(key):
        return Standing(UNPROPAGATED, f"{_reserved(key)} is the hub's own", {})
    if "skipped" in reasons:
        return Standing(UNPROPAGATED, str(reasons["skipped"]), targets)
    if template is None or "ending" in reasons or is_deleting(template):
        return Standing(ENDING, str(reasons.get("waiting") or reasons.get("ending") or ""), targets)
    waiting = plan.error or reasons.get("waiting")
    if waiting:
        return Standing(WAITING, str(waiting), targets)
    if "scheduling" not in reasons:
        return Standing(NO_POLICY if binding is None else UNCLAIMED, "", targets)
    return _scheduled(binding or {}, targets, str(reasons["scheduling"]))


def _reserved(key: Key) -> str:
    if key.group in propagation.SKIPPED_GROUPS:
        return "its kind"
    return f"namespace {key.namespace}" if key.namespace else "it"


def _scheduled(binding: Object, targets: Mapping[str, int], cause: str) -> Standing:
    spec = binding.get("spec") or {}
    if (spec.get("suspension") or {}).get("scheduling"):
        return Standing(SUSPENDED, cause, targets)
    if foreign_scheduler(spec):
        return Standing(WAITING if not targets else PLACED, cause, targets)
    found = condition(binding.get("status"), SCHEDULED) or {}
    if found.get("status") == "False":
        return Standing(str(found.get("reason")), str(found.get("message")), targets)
    message = str(found.get("message") or "")
    return Standing(PLACED, "" if message == SUCCESS_MESSAGE else message, targets)


def targets_data(targets: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "replicas": targets[name]} for name in sorted(targets)]


# --- sentences -----------------------------------------------------------------------------------------------


def sentence(name: str, at: Standing, fits: str = "", so_far: Mapping[str, int] | None = None) -> str:
    """`name` is the template as people call it; `fits` how many clusters can take it; `so_far` its targets as stored."""
    where = listed(at.targets)
    match at.state:
        case "Placed":
            told = f"{name} goes to {where}" if at.targets else f"{name} is placed in no cluster"
            if so_far is not None and so_far != at.targets:
                told = f"{name} is about to go to {where or 'no cluster'}, and is in {listed(so_far) or 'none'} so far"
            return f"{told}; {fits}." if fits else f"{told}."
        case "NoPolicy":
            return f"No policy selects {name}: it stays on the hub."
        case "Unclaimed":
            return f"No policy governs {name} any more; its copies stay in {where or 'no cluster'}."
        case "NotPropagated":
            return f"{name} is not propagated: {at.message}."
        case "Ending":
            return f"{name} is being deleted{f': {at.message}' if at.message else ''}."
    stays = f" It stays in {where}." if at.targets else ""
    if at.state in (WAITING, SUSPENDED):
        why = f" {at.message[8:]}" if at.message.startswith("waiting for ") else f": {at.message}"
        return f"{name} waits{why}.{stays}"
    return f"{name} cannot be placed: {at.message.rstrip('.')}.{stays}"


def next_step(
    at: Standing, template: Object | None, namespace: str, suspension: Mapping[str, Any] | None = None
) -> str:
    """What a user can do about it; empty where nothing is wrong. `suspension` is the binding's."""
    kind = f"{(template or {}).get('apiVersion')} {(template or {}).get('kind')}"
    match at.state:
        case "Placed":
            return _undispatched(suspension)
        case "NoPolicy":
            policy = f"PropagationPolicy in {namespace}" if namespace else "ClusterPropagationPolicy"
            return f"Create a {policy} whose resourceSelectors select this {kind}."
        case "Unclaimed":
            return "Create a policy that selects it, or delete it: its copies go with it."
        case "Suspended":
            return "Take suspension.scheduling off its binding to have it scheduled."
        case "Waiting" if at.message.startswith("waiting for dependent overrides"):
            return "Create these override policies, or take them out of the policy's dependentOverrides."
        case "Waiting" if at.message.startswith("waiting for PriorityClass"):
            return "Create it, or take schedulePriority off the policy."
        case "Waiting" if " is lazy: " in at.message:
            return "Change it (an annotation is enough), or take activationPreference off the policy."
        case "NoClusterFit":
            return "Change the placement, or the clusters: the list of clusters says what refused each."
        case "Unschedulable":
            return (
                "Ask for less, or make room; it is tried again as soon as something changes that could help."
            )
    return ""


def _undispatched(suspension: Mapping[str, Any] | None) -> str:
    """Whom nothing is sent to although it is a target."""
    if not suspension:
        return ""
    clusters = (suspension.get("dispatchingOnClusters") or {}).get("clusterNames") or []
    where = "any cluster" if suspension.get("dispatching") else " and ".join(map(str, clusters[:NAMES_MAX]))
    return f"Nothing new is sent to {where} for as long as the policy's suspension says so." if where else ""


def listed(targets: Mapping[str, int]) -> str:
    """`m1 (2), m2 (1)`; clusters without replicas by name alone; not more than a reader takes in."""
    shown = [f"{name} ({count})" if count else name for name, count in sorted(targets.items())]
    more = len(shown) - NAMES_MAX
    return ", ".join(shown if more <= 0 else [*shown[:NAMES_MAX], f"{more} more"])
