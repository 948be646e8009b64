"""Candidates and requests for the tests of selection, in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from towline.hub.decide.scheduling.affinity import Place
from towline.hub.decide.scheduling.members import Member
from towline.hub.decide.scheduling.request import Candidate, Request, Selection


def candidate(
    name: str,
    room: int = 0,
    score: int = 0,
    *,
    tier: int = 0,
    current: int = 0,
    region: str = "",
    zones: str = "",
    provider: str = "",
    labels: Mapping[str, str] | None = None,
) -> Candidate:
    """`zones` are separated by spaces."""
    place = Place(name, labels or {}, provider, region, tuple(zones.split()))
    member = Member(name, place, taints=(), terminating=False, apis=frozenset(), room=None)
    return Candidate(name, score, room, current, tier, member)


def by(field: str, fewest: int = 0, most: int = 0) -> dict[str, Any]:
    """A constraint; `field` is a label where it holds a slash."""
    key = "spreadByLabel" if "/" in field else "spreadByField"
    return {
        key: field,
        **({"minGroups": fewest} if fewest else {}),
        **({"maxGroups": most} if most else {}),
    }


DIVIDED = {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Aggregated"}
DUPLICATED = {"replicaSchedulingType": "Duplicated"}
STATIC = {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted"}


def request(
    *constraints: Mapping[str, Any],
    replicas: int = 0,
    scheduling: Mapping[str, Any] | None = DUPLICATED,
    **fields: Any,
) -> Request:
    placement = {"spreadConstraints": list(constraints), "replicaScheduling": scheduling}
    given: dict[str, Any] = {"workload": True, "current": {}, "uid": "uid-0"}
    return Request(placement, replicas, **given | fields)


def names(selection: Selection) -> str:
    return " ".join(sorted(c.name for c in selection.chosen))


def shuffled(candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    """Another order, without chance."""
    return [*candidates[turn:], *candidates[:turn]][:: -1 if turn % 2 else 1]
