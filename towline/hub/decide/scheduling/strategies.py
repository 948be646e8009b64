"""How many replicas each selected cluster gets: one function a strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from towline.hub.decide.scheduling.affinity import place_matcher
from towline.hub.decide.scheduling.division import divide
from towline.hub.decide.scheduling.request import (
    Assignment,
    Candidate,
    Request,
    Unschedulable,
    strategy_of,
)

Strategy = Callable[[Request, Sequence[Candidate]], Assignment]


def assign(request: Request, selected: Sequence[Candidate]) -> Assignment:
    """Replicas for the selected clusters. Nothing to divide (no workload, or scaled to zero) goes to all with none."""
    if not request.workload or request.replicas == 0:
        return Assignment(dict.fromkeys(sorted(c.name for c in selected), 0), {"strategy": "All"})
    strategy = STRATEGIES.get(strategy_of(request.placement))
    if strategy is None:
        raise Unschedulable("dynamic division is not supported yet; use static weights or Duplicated")
    return strategy(request, selected)


def duplicated(request: Request, selected: Sequence[Candidate]) -> Assignment:
    """Every cluster gets all replicas."""
    targets = dict.fromkeys(sorted(c.name for c in selected), request.replicas)
    return Assignment(targets, {"strategy": "Duplicated"})


def static_weight(request: Request, selected: Sequence[Candidate]) -> Assignment:
    """By the largest weight of the rules that match a cluster; unmatched clusters are out unless none matches, then all
    weigh the same. Not sticky: every scheduling divides anew. Clusters that end with nothing are dropped."""
    scheduling = request.placement.get("replicaScheduling") or {}
    rules = (scheduling.get("weightPreference") or {}).get("staticWeightList") or ()
    weighed = [(place_matcher(rule.get("targetCluster")), int(rule.get("weight") or 0)) for rule in rules]
    weights = {
        c.name: max((weight for matches, weight in weighed if matches(c.member.place)), default=0)
        for c in selected
    }
    weights = {name: weight for name, weight in weights.items() if weight > 0} or dict.fromkeys(
        (c.name for c in selected), 1
    )
    result = {name: seats for name, seats in divide(request.replicas, weights, request.uid).items() if seats}
    return Assignment(result, {"strategy": "StaticWeight", "weights": weights, "replicas": request.replicas})


STRATEGIES: dict[str, Strategy] = {"Duplicated": duplicated, "StaticWeight": static_weight}
