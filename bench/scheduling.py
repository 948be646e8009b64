"""Scheduling on one core: decisions a second by strategy and size of the fleet, no hub around them.

`python -m bench.scheduling`. *divide* is `strategies.assign` alone; *decide* is all of `schedule`: filters, scores, room, selection
and division. Aims: 2,000 decisions a second on 100 clusters, 200 on 1,000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import process_time
from typing import Any

from bench.tables import Row, show
from towline.hub.decide.scheduling import Request, View, schedule
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.scheduling.request import Candidate
from towline.hub.decide.scheduling.strategies import assign

FLEETS = (10, 100, 1_000)
SECONDS_EACH = 0.3
REQUIREMENTS = {"resourceRequest": {"cpu": "250m", "memory": "256Mi"}}
API = ("apps/v1", "Deployment")


def main() -> None:
    rows: list[Row] = [("strategy", "wish", "clusters", "divide/s", "decide/s")]
    for clusters in FLEETS:
        view = View(Members.of(cluster(number) for number in range(clusters)))
        for strategy, placement in PLACEMENTS.items():
            for wish, request in wishes(placement, view.members):
                chosen = candidates(request, view.members)
                divided = per_second(partial(assign, request, chosen, view.members))
                decided = per_second(partial(schedule, request, view))
                rows.append((strategy, wish, f"{clusters:,}", f"{divided:,.0f}", f"{decided:,.0f}"))
    show(rows)


def per_second(decide: Callable[[], Any]) -> float:
    """How often `decide` runs in a second, measured for SECONDS_EACH of the processor, after a first run."""
    decide()
    runs, began = 0, process_time()
    while (passed := process_time() - began) < SECONDS_EACH:
        decide()
        runs += 1
    return runs / passed


# --- what is decided -----------------------------------------------------------------------------------------


def _divided(preference: str, **weights: Any) -> dict[str, Any]:
    scheduling = {"replicaSchedulingType": "Divided", "replicaDivisionPreference": preference}
    return {"replicaScheduling": scheduling | ({"weightPreference": weights} if weights else {})}


SPREAD: dict[str, Any] = {
    "spreadConstraints": [
        {"spreadByField": "region", "minGroups": 2, "maxGroups": 2},
        {"spreadByField": "cluster", "minGroups": 2},
    ]
}
"""Two regions of seven. "5 each" and more fill the whole fleet: two regions lack the room, and that is found out by a search."""

PLACEMENTS: dict[str, dict[str, Any]] = {
    "Duplicated": {"replicaScheduling": {"replicaSchedulingType": "Duplicated"}},
    "StaticWeight": _divided(
        "Weighted",
        staticWeightList=[
            {"targetCluster": {"labelSelector": {"matchLabels": {"size": "large"}}}, "weight": 3},
            {"targetCluster": {}, "weight": 1},
        ],
    ),
    "DynamicWeight": _divided("Weighted", dynamicWeight="AvailableReplicas"),
    "Aggregated": _divided("Aggregated"),
    "Duplicated, 2 regions": SPREAD,
    "Aggregated, 2 regions": _divided("Aggregated") | SPREAD,
}


def wishes(placement: dict[str, Any], members: Members) -> Iterator[tuple[str, Request]]:
    """A first placement of 20 replicas, one of five for each cluster, and that scaled up."""
    fleet = len(members)
    yield "20", _request(placement, 20, {})
    yield "5 each", _request(placement, 5 * fleet, {})
    yield "5 to 8 each", _request(placement, 8 * fleet, dict.fromkeys(members.names, 5))


def _request(placement: dict[str, Any], replicas: int, current: dict[str, int]) -> Request:
    return Request(
        placement=placement,
        replicas=replicas,
        workload=True,
        current=current,
        uid="5f0c7c52-6e5d-4d3e-9d39-0a4a4f1c8e11",
        api_version=API[0],
        kind=API[1],
        namespace="shop",
        requirements=REQUIREMENTS,
    )


def candidates(request: Request, members: Members) -> list[Candidate]:
    """All clusters, with room for 10 to 59 replicas each."""
    return [
        Candidate(member.name, 0, 10 + at * 37 % 50, request.current.get(member.name, 0), 0, member)
        for at, member in enumerate(members.all)
    ]


def cluster(number: int) -> dict[str, Any]:
    """A cluster with 8 to 57 cores free."""
    cores = 8 + number * 37 % 50
    return {
        "apiVersion": "cluster.karmada.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {
            "name": f"member-{number:04}",
            "labels": {"size": "large" if number % 3 == 0 else "small"},
        },
        "spec": {"syncMode": "Pull", "region": f"region-{number % 7}"},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "apiEnablements": [
                {"groupVersion": API[0], "resources": [{"name": "deployments", "kind": API[1]}]}
            ],
            "resourceSummary": {
                "allocatable": {"cpu": str(cores), "memory": f"{4 * cores}Gi", "pods": "1100"}
            },
        },
    }


if __name__ == "__main__":
    main()
