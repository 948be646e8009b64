"""How many replicas each chosen cluster gets (Karmada 3.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from towline.hub.decide.scheduling.division import descends, step
from towline.hub.decide.scheduling.dynamic import divide_by_room
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.scheduling.request import (
    Assignment,
    Candidate,
    Request,
    Unschedulable,
    strategy_of,
)


def assign(request: Request, chosen: Sequence[Candidate], members: Members) -> Assignment:
    """Replicas for the chosen clusters; whatever their order, the same. Raises Unschedulable.

    What has no replicas, or several components, goes whole to every chosen cluster. What is divided goes only to
    clusters that get a replica.
    """
    if not chosen:
        raise Unschedulable("no clusters available to schedule")
    if request.components:
        components = replicas_by_component(request.components)
        return Assignment(_each(chosen, 0), {"strategy": "Components", "components": components}, components)
    if not request.workload:
        return Assignment(_each(chosen, 0), {"strategy": "Whole"})
    strategy, replicas = strategy_of(request.placement), request.replicas
    reasons: dict[str, Any] = {"strategy": strategy, "replicas": replicas}
    if strategy == "Duplicated":
        return Assignment(_each(chosen, replicas), reasons)
    if replicas == 0:
        return Assignment(_scaled_to_zero(request, chosen), {**reasons, "mode": "scaled to zero"})
    reasons["ties"] = "descending" if descends(request.uid) else "ascending"
    if strategy == "StaticWeight":
        only = _by_static_weights(request, replicas, chosen, members)
        return Assignment(only["result"], {**reasons, "steps": [only]})
    result, steps = divide_by_room(request, replicas, chosen, aggregated=strategy == "Aggregated")
    return Assignment(result, {**reasons, "steps": steps})


def replicas_by_component(components: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a target's `components` say."""
    return [{"name": c.get("name") or "", "replicas": int(c.get("replicas") or 0)} for c in components]


def _each(chosen: Iterable[Candidate], replicas: int) -> dict[str, int]:
    return dict.fromkeys(sorted([c.name for c in chosen]), replicas)


def _scaled_to_zero(request: Request, chosen: Sequence[Candidate]) -> dict[str, int]:
    """Clusters that have a copy keep it, with no replicas: scaling to zero deletes nothing and spreads nothing.
    With none yet, every chosen cluster gets one."""
    return _each([c for c in chosen if c.name in request.current] or chosen, 0)


def _by_static_weights(
    request: Request, replicas: int, chosen: Sequence[Candidate], members: Members
) -> dict[str, Any]:
    """Not sticky, but for clusters that are barred: they have what they have, and the others the rest. Raises Unschedulable."""
    weights = _static_weights(request.placement, chosen, members)
    if not request.barred:
        return step("weights", replicas, weights, request.uid)
    held = {c.name: c.current for c in chosen if c.current and c.name in request.barred}
    weights = {name: weight for name, weight in weights.items() if name not in request.barred}
    rest = max(0, replicas - sum(held.values()))
    if rest and not weights:
        raise Unschedulable(f"no cluster with a weight is left for {rest} replicas")
    return step("weights", rest, weights, request.uid, held)


def _static_weights(
    placement: Mapping[str, Any], chosen: Sequence[Candidate], members: Members
) -> dict[str, int]:
    """The largest weight of the rules that match a cluster; one that none matches is out, unless none matches any:
    then all weigh the same. Room does not count."""
    preference = (placement.get("replicaScheduling") or {}).get("weightPreference") or {}
    rules = [
        (int(rule.get("weight") or 0), rule.get("targetCluster"))
        for rule in preference.get("staticWeightList") or ()
    ]
    left = members.mask(c.name for c in chosen) if rules else 0
    weights: dict[str, int] = {}
    for weight, affinity in sorted(rules, key=lambda rule: -rule[0]):
        if weight <= 0 or not left:
            break
        matched = members.meant_by(affinity) & left
        left ^= matched
        for member in members.within(matched):
            weights[member.name] = weight
    return weights or _each(chosen, 1)
