"""How many replicas each selected cluster gets: one function a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from towline.hub.decide.scheduling.affinity import matcher
from towline.hub.decide.scheduling.division import divide
from towline.hub.decide.scheduling.request import Request
from towline.kube.objects import Object, name_of

Assignment = tuple[dict[str, int], dict[str, Any]]
"""Replicas by cluster, and the arithmetic that led there, as data."""

Strategy = Callable[[Request, Sequence[Object]], Assignment]


def strategy_of(placement: Mapping[str, Any]) -> str:
    """Duplicated, StaticWeight, DynamicWeight or Aggregated (Karmada 1.2: no replicaScheduling means Duplicated)."""
    scheduling = placement.get("replicaScheduling")
    if not scheduling or (scheduling.get("replicaSchedulingType") or "Divided") == "Duplicated":
        return "Duplicated"
    if scheduling.get("replicaDivisionPreference") == "Aggregated":
        return "Aggregated"
    preference = scheduling.get("weightPreference") or {}
    return "DynamicWeight" if preference.get("dynamicWeight") else "StaticWeight"


def unsupported(request: Request) -> str | None:
    """What of the placement this version cannot honour, as a sentence; None when nothing.

    Static weights ignore spread constraints, as Karmada defines."""
    strategy = strategy_of(request.placement)
    if request.workload and strategy not in STRATEGIES:
        name = "replicaDivisionPreference Aggregated" if strategy == "Aggregated" else "dynamicWeight"
        return f"{name} is not supported yet; use static weights or Duplicated"
    if request.placement.get("spreadConstraints") and not (request.workload and strategy == "StaticWeight"):
        return "spreadConstraints are not supported yet; remove them or use static weights"
    return None


def assign(request: Request, selected: Sequence[Object]) -> Assignment:
    """Replicas for the selected clusters. Nothing to divide (no workload, or scaled to zero) goes to all with none."""
    if not request.workload or request.replicas == 0:
        return dict.fromkeys(sorted(map(name_of, selected)), 0), {"strategy": "All"}
    return STRATEGIES[strategy_of(request.placement)](request, selected)


def duplicated(request: Request, selected: Sequence[Object]) -> Assignment:
    """Every cluster gets all replicas."""
    return dict.fromkeys(sorted(map(name_of, selected)), request.replicas), {"strategy": "Duplicated"}


def static_weight(request: Request, selected: Sequence[Object]) -> Assignment:
    """By the largest weight of the rules that match a cluster; unmatched clusters are out unless none matches, then all
    weigh the same. Not sticky: every scheduling divides anew. Clusters that end with nothing are dropped."""
    scheduling = request.placement.get("replicaScheduling") or {}
    rules = (scheduling.get("weightPreference") or {}).get("staticWeightList") or ()
    weighed = [(matcher(rule.get("targetCluster")), int(rule.get("weight") or 0)) for rule in rules]
    weights = {
        name_of(cluster): max((weight for matches, weight in weighed if matches(cluster)), default=0)
        for cluster in selected
    }
    weights = {name: weight for name, weight in weights.items() if weight > 0} or dict.fromkeys(
        map(name_of, selected), 1
    )
    result = {name: seats for name, seats in divide(request.replicas, weights, request.uid).items() if seats}
    return result, {"strategy": "StaticWeight", "weights": weights, "replicas": request.replicas}


STRATEGIES: dict[str, Strategy] = {"Duplicated": duplicated, "StaticWeight": static_weight}
