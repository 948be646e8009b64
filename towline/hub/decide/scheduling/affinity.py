"""Which clusters an affinity means: labels, fields, names, exclusions (Karmada's ClusterAffinity)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from towline.kube.objects import Object, labels_of, name_of
from towline.kube.selectors import EVERYTHING, NOTHING, SelectorError, from_object

Affinity = Mapping[str, Any]


class Place(NamedTuple):
    """What an affinity can look at."""

    name: str
    labels: Mapping[str, str]
    provider: str
    region: str
    zones: tuple[str, ...]


class Term(NamedTuple):
    """One wish of a placement: `name` is empty unless it is one of `clusterAffinities`.

    `tiers` are the affinity itself and, for a workload, its overflow affinities: a later one is used when those before it
    are full."""

    name: str
    tiers: tuple[Affinity | None, ...]


def terms_of(placement: Mapping[str, Any], *, workload: bool = True) -> Sequence[Term]:
    """The affinities to try, in order. A placement without `clusterAffinities` has one nameless term."""
    terms = placement.get("clusterAffinities")
    if not terms:
        return [Term("", (placement.get("clusterAffinity"),))]
    found = []
    for term in terms:
        overflow = term.get("overflowAffinities") if workload else None
        found.append(Term(str(term.get("affinityName") or ""), (term, *(overflow or ()))))
    return found


def matcher(affinity: Affinity | None) -> Callable[[Object], bool]:
    """`place_matcher` for Cluster objects."""
    matches = place_matcher(affinity)
    return lambda cluster: matches(place_of(cluster))


def place_matcher(affinity: Affinity | None) -> Callable[[Place], bool]:
    """Whether a cluster is meant: not excluded, labels and fields match, and it is named if any are. None means all.

    A label selector that cannot be read means no cluster (admission refuses it)."""
    if not affinity:
        return lambda place: True
    excluded = frozenset(affinity.get("exclude") or ())
    named = frozenset(affinity.get("clusterNames") or ())
    try:
        selector = from_object(affinity["labelSelector"]) if affinity.get("labelSelector") else EVERYTHING
    except SelectorError:
        selector = NOTHING
    fields = (affinity.get("fieldSelector") or {}).get("matchExpressions") or ()

    def matches(place: Place) -> bool:
        return (
            place.name not in excluded
            and (not named or place.name in named)
            and selector.matches(place.labels)
            and all(_field_matches(expression, place) for expression in fields)
        )

    return matches


def place_of(cluster: Object) -> Place:
    """Where a Cluster is. `zone` is the deprecated way to say one of `zones`."""
    spec = cluster.get("spec") or {}
    zones = spec.get("zones") or ([spec["zone"]] if spec.get("zone") else ())
    return Place(
        name_of(cluster),
        labels_of(cluster),
        str(spec.get("provider") or ""),
        str(spec.get("region") or ""),
        tuple(zones),
    )


def _field_matches(expression: Mapping[str, Any], place: Place) -> bool:
    """Zones match In by any overlap and NotIn by none; a cluster without the field fails In and passes NotIn."""
    wanted = set(expression.get("values") or ())
    held = field_values(place, str(expression.get("key") or ""))
    match expression.get("operator"):
        case "In":
            return not wanted.isdisjoint(held)
        case "NotIn":
            return wanted.isdisjoint(held)
        case _:
            return False


def field_values(place: Place, field: str) -> tuple[str, ...]:
    """A cluster's values of `provider`, `region` or `zone`; none when it has no such property."""
    if field == "zone":
        return place.zones
    value = place.provider if field == "provider" else place.region if field == "region" else ""
    return (value,) if value else ()
