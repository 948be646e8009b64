"""Spread constraints, read: by what a placement wants its clusters spread, over how few and how many groups.

A level is a constraint by provider, region, zone or label; the one by cluster is kept apart, because every choice is one of
clusters. Levels go from coarse to fine: provider, region, zone, then labels as the placement lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from towline.hub.decide.scheduling.request import Candidate

NO_BOUND = 2**31 - 1


class Limits(NamedTuple):
    """How many groups at the least and at the most. `maxGroups` 0 or unset is no bound, `minGroups` 0 is 1."""

    fewest: int
    most: int


class Level(NamedTuple):
    by: str
    """A field, or `label NAME`."""
    plural: str
    """What its groups are called in a message."""
    limits: Limits
    groups_of: Callable[[Candidate], Sequence[str]]
    """The groups of a cluster: one, several for a cluster of several zones (it is in each), none without the property."""


class Spread(NamedTuple):
    levels: tuple[Level, ...]
    clusters: Limits


def spread_of(constraints: Iterable[Mapping[str, Any]]) -> Spread:
    """The constraints of a placement. Of several by the same thing the narrowest bounds hold."""
    limits: dict[str, Limits] = {}
    for constraint in constraints:
        label = constraint.get("spreadByLabel")
        by = f"label {label}" if label else str(constraint.get("spreadByField") or "cluster")
        fewest, most = limits.get(by, Limits(1, NO_BOUND))
        limits[by] = Limits(
            max(fewest, int(constraint.get("minGroups") or 0)),
            min(most, int(constraint.get("maxGroups") or NO_BOUND)),
        )
    clusters = limits.pop("cluster", Limits(1, NO_BOUND))
    order = [by for by in _FIELDS if by in limits] + [by for by in limits if by not in _FIELDS]
    return Spread(tuple(_level(by, limits[by]) for by in order), clusters)


def _level(by: str, limits: Limits) -> Level:
    if by in _FIELDS:
        return Level(by, f"{by}s", limits, _FIELDS[by])
    label = by.removeprefix("label ")

    def value(candidate: Candidate) -> Sequence[str]:
        labels = candidate.member.place.labels
        return (labels[label],) if label in labels else ()

    return Level(by, f"values of label {label}", limits, value)


_FIELDS: dict[str, Callable[[Candidate], Sequence[str]]] = {
    "provider": lambda candidate: (name,) if (name := candidate.member.place.provider) else (),
    "region": lambda candidate: (name,) if (name := candidate.member.place.region) else (),
    "zone": lambda candidate: candidate.member.place.zones,
}
