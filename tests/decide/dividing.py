"""Cases of dividing replicas: a fleet in a line, what is assigned to it, and the method by its definition."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from tests.decide.world import cluster
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.scheduling.request import (
    Assignment,
    Candidate,
    Request,
    Unschedulable,
)
from towline.hub.decide.scheduling.strategies import assign
from towline.kube.names import fnv32a

EVEN, ODD = "uid-0", "uid-1"
DUPLICATED = {"replicaScheduling": {"replicaSchedulingType": "Duplicated"}}
AGGREGATED = {
    "replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Aggregated"}
}
DYNAMIC = {
    "replicaScheduling": {
        "replicaSchedulingType": "Divided",
        "replicaDivisionPreference": "Weighted",
        "weightPreference": {"dynamicWeight": "AvailableReplicas"},
    }
}
FLEET = Members.of(cluster(f"m{i}", {"parity": "odd" if i % 2 else "even"}) for i in range(1, 7))


def static(*rules: tuple[Mapping[str, Any], int]) -> dict[str, Any]:
    return {
        "replicaScheduling": {
            "replicaSchedulingType": "Divided",
            "replicaDivisionPreference": "Weighted",
            "weightPreference": {
                "staticWeightList": [{"targetCluster": target, "weight": weight} for target, weight in rules]
            },
        }
    }


def named(*names: str) -> dict[str, Any]:
    return {"clusterNames": list(names)}


class Room(NamedTuple):
    """One cluster of a case: room for more, replicas it has (None: it is no target), affinity tier."""

    room: int
    current: int | None = None
    tier: int = 0


Fleet = Mapping[str, Room]


def fleet(*rooms: Room | int) -> dict[str, Room]:
    return {f"m{i}": room if isinstance(room, Room) else Room(room) for i, room in enumerate(rooms, 1)}


def wish(
    placement: Mapping[str, Any], replicas: int, clusters: Fleet, **fields: Any
) -> tuple[Request, list[Candidate]]:
    current = {name: c.current for name, c in clusters.items() if c.current is not None}
    given: dict[str, Any] = {"workload": True, "uid": EVEN} | fields
    request = Request(placement=placement, replicas=replicas, current=current, **given)
    chosen = [
        Candidate(
            name,
            100 if name in current else 0,
            c.room,
            c.current or 0,
            c.tier,
            FLEET.all[int(name[1:]) - 1],
        )
        for name, c in clusters.items()
    ]
    return request, chosen


def assigned(placement: Mapping[str, Any], replicas: int, clusters: Fleet, **fields: Any) -> Assignment:
    return assign(*wish(placement, replicas, clusters, **fields), FLEET)


def targets(placement: Mapping[str, Any], replicas: int, clusters: Fleet, **fields: Any) -> dict[str, int]:
    return dict(assigned(placement, replicas, clusters, **fields).targets)


def attempt(placement: Any, replicas: int, clusters: Fleet, **fields: Any) -> dict[str, int] | str:
    try:
        return targets(placement, replicas, clusters, **fields)
    except Unschedulable as error:
        assert str(error)
        return str(error)


def available(room: Room) -> int:
    return room.room + (room.current or 0)


def total(clusters: Fleet, tier: int | None = None) -> int:
    return sum(available(c) for c in clusters.values() if tier in (None, c.tier))


MOST = 8
"""Replicas in exhaustive checks."""


class Webster:
    """The method by its definition: exact fractions, seat by seat."""

    def __init__(
        self,
        weights: Mapping[str, int],
        uid: str,
        held: Mapping[str, int] | None = None,
        capped: bool = False,
    ) -> None:
        self.weights = weights
        self.seats = dict(sorted({**dict.fromkeys(weights, 0), **(held or {})}.items()))
        self.rank = {name: i for i, name in enumerate(sorted(self.seats, reverse=bool(fnv32a(uid) & 1)))}
        self.most = {name: self.seats[name] + weights[name] if capped else None for name in weights}

    def deal(self) -> None:
        willing = [
            (-fraction(weight, 2 * self.seats[name] + 1), self.seats[name], self.rank[name], name)
            for name, weight in self.weights.items()
            if weight and self.seats[name] != self.most[name]
        ]
        if willing:
            self.seats[min(willing)[-1]] += 1


_FRACTIONS: dict[tuple[int, int], Fraction] = {}


def fraction(over: int, under: int) -> Fraction:
    found = _FRACTIONS.get((over, under))
    if found is None:
        found = _FRACTIONS[over, under] = Fraction(over, under)
    return found
