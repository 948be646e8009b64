"""Which clusters an affinity means: labels, fields, names, exclusions (Karmada's ClusterAffinity)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from towline.kube.objects import Object, labels_of, name_of
from towline.kube.selectors import EVERYTHING, NOTHING, SelectorError, from_object


class Term(NamedTuple):
    """One affinity to try. `name` is empty unless it is one of `clusterAffinities`."""

    name: str
    matches: Callable[[Object], bool]


def terms_of(placement: Mapping[str, Any]) -> Sequence[Term]:
    """The affinities to try, in order. A placement without `clusterAffinities` has one nameless term."""
    terms = placement.get("clusterAffinities")
    if terms:
        return [Term(str(term.get("affinityName") or ""), matcher(term)) for term in terms]
    return [Term("", matcher(placement.get("clusterAffinity")))]


def matcher(affinity: Mapping[str, Any] | None) -> Callable[[Object], bool]:
    """Whether a cluster is meant: not excluded, labels and fields match, and it is named if any are. None means all.

    A label selector that cannot be read means no cluster (admission refuses it)."""
    if not affinity:
        return lambda cluster: True
    excluded = frozenset(affinity.get("exclude") or ())
    named = frozenset(affinity.get("clusterNames") or ())
    try:
        selector = from_object(affinity["labelSelector"]) if affinity.get("labelSelector") else EVERYTHING
    except SelectorError:
        selector = NOTHING
    fields = (affinity.get("fieldSelector") or {}).get("matchExpressions") or ()

    def matches(cluster: Object) -> bool:
        name = name_of(cluster)
        return (
            name not in excluded
            and (not named or name in named)
            and selector.matches(labels_of(cluster))
            and all(_field_matches(expression, cluster) for expression in fields)
        )

    return matches


def _field_matches(expression: Mapping[str, Any], cluster: Object) -> bool:
    """Zones match In by any overlap and NotIn by none; a cluster without the field fails In and passes NotIn."""
    wanted = set(expression.get("values") or ())
    held = _field_values(cluster, str(expression.get("key") or ""))
    match expression.get("operator"):
        case "In":
            return bool(wanted & held)
        case "NotIn":
            return not wanted & held
        case _:
            return False


def _field_values(cluster: Object, field: str) -> set[str]:
    spec = cluster.get("spec") or {}
    if field == "zone":
        return set(spec.get("zones") or ([spec["zone"]] if spec.get("zone") else []))
    value = spec.get(field) if field in ("provider", "region") else None
    return {value} if value else set()
