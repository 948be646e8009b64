"""Which change can help a binding that could not be placed as wished, and whose placing a change of a Cluster concerns.

A decision that falls short names its causes (`Plan.waits`); what happens is put into the same words here. To wake once too often costs a
decision, to wake once too seldom leaves a workload without its place: where in doubt, the answer is yes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from towline.hub.decide import bindings
from towline.hub.decide.scheduling.affinity import place_matcher, place_of, terms_of
from towline.hub.decide.scheduling.assigned import Group, groups_of
from towline.hub.decide.scheduling.members import Api, member_of
from towline.hub.decide.scheduling.request import API, CAPACITY, CLUSTER, EVICTION, GROUP, LABEL, TAINT
from towline.kube.amounts import needed, offered
from towline.kube.objects import Object, is_deleting, uid_of

WITHDRAWN = frozenset((CAPACITY, GROUP))
"""What helps others when a placing that was reckoned with comes to nothing."""
ANYTHING = frozenset((CAPACITY, LABEL, TAINT, API, CLUSTER, EVICTION, GROUP))


def helps(before: Object | None, after: Object | None) -> frozenset[str]:
    """What got better for those who look for a place, from one state of a Cluster to the next. None: it is not there."""
    if after is None:
        return frozenset({CLUSTER, GROUP})  # and whoever waits on says of how many clusters none fits
    if is_deleting(after):
        leaves = before is not None and not is_deleting(before)
        return frozenset({CLUSTER, GROUP}) if leaves else frozenset()
    if before is None or is_deleting(before) or uid_of(before) != uid_of(after):
        return ANYTHING  # a new cluster may have all that the others lack
    old, new = member_of(before), member_of(after)
    found = {
        LABEL: old.place != new.place,
        TAINT: not set(old.taints) <= set(new.taints),
        API: not new.apis <= old.apis,
        CAPACITY: _gains_room(before, after),
    }
    return frozenset(cause for cause, better in found.items() if better)


def frees(before: Object | None, after: Object | None) -> frozenset[str]:
    """What got better for others, from one state of a binding to the next: replicas were given up, or shown by their member and
    so are promised no more; members of a workload group moved, came or went. An eviction that ends helps only the binding itself, which
    is decided anew with its every change."""
    past, present = _holding(before), _holding(after)
    found = set()
    if _grouped(before, past) != _grouped(after, present):
        found.add(GROUP)
    shown = bindings.observed(before) != bindings.observed(after) if before and after else False
    if shown or any(present.get(name, 0) < count for name, count in past.items()):
        found.add(CAPACITY)
    return frozenset(found)


def gained_apis(before: Object, after: Object) -> frozenset[Api]:
    """What a cluster serves now and did not before."""
    return member_of(after).apis - member_of(before).apis


def meant(placement: Mapping[str, Any]) -> Callable[[Object], bool]:
    """Whether any affinity of `placement`, in whichever order and with its overflow, means a cluster."""
    matchers = [place_matcher(affinity) for term in terms_of(placement) for affinity in term.tiers]

    def means(cluster: Object) -> bool:
        place = place_of(cluster)
        return any(matches(place) for matches in matchers)

    return means


def _holding(binding: Object | None) -> dict[str, int]:
    return {} if binding is None or is_deleting(binding) else bindings.targets(binding)


def _grouped(binding: Object | None, held: Iterable[str]) -> set[tuple[Group, str]]:
    """Which groups have a workload where."""
    return {(group, cluster) for group in groups_of(binding or {}) for cluster in held}


def _gains_room(before: Object, after: Object) -> bool:
    past, present = before.get("status") or {}, after.get("status") or {}
    if (before.get("spec") or {}).get("resourceModels") != (after.get("spec") or {}).get("resourceModels"):
        return True
    if _ready_nodes(present) > _ready_nodes(past):
        return True
    old, new = past.get("resourceSummary") or {}, present.get("resourceSummary") or {}
    if old == new:
        return False
    if not old or not new:
        return True  # how much room there is became known, or unknown
    models = _nodes_by_grade(old)
    if any(count > models.get(grade, 0) for grade, count in _nodes_by_grade(new).items()):
        return True
    was, now = _free(old), _free(new)
    return any(amount > was.get(name, 0) for name, amount in now.items())


def _ready_nodes(status: Mapping[str, Any]) -> int:
    return int((status.get("nodeSummary") or {}).get("readyNum") or 0)


def _nodes_by_grade(summary: Mapping[str, Any]) -> dict[int, int]:
    """How many nodes are of each grade. Those of the lowest offer nothing."""
    return {
        int(model.get("grade") or 0): int(model.get("count") or 0)
        for model in summary.get("allocatableModelings") or ()
        if model.get("grade")
    }


def _free(summary: Mapping[str, Any]) -> dict[str, int]:
    free = dict(offered(summary.get("allocatable") or {}))
    for field in ("allocated", "allocating"):
        for name, amount in needed(summary.get(field) or {}).items():
            free[name] = free.get(name, 0) - amount
    return free
