"""Filters: who may be a target at all. Each answers for the whole fleet at once; the table is all there is.

A filter answers refusals: a message, which users see counted in the condition, and the clusters that it concerns. What an
earlier filter refused is not asked of a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from towline.hub.decide.scheduling.affinity import Term, field_values
from towline.hub.decide.scheduling.members import Members, encoded
from towline.hub.decide.scheduling.request import API, EVICTION, GROUP, LABEL, TAINT, Request
from towline.hub.decide.scheduling.view import View
from towline.hub.decide.tolerance import welcomes


class Refusal(NamedTuple):
    """Why clusters are out. `mask` may name clusters that others refused already."""

    message: str
    mask: int


class Filter(NamedTuple):
    """A row. `helped_by` is the cause whose change can make it let a cluster pass."""

    name: str
    refuse: Callable[[Request, Term, View], Iterable[Refusal]]
    helped_by: str


def cluster_affinity(request: Request, term: Term, view: View) -> Iterator[Refusal]:
    """The placement's clusterAffinity, or the term under trial of its clusterAffinities with its overflow affinities."""
    meant = 0
    for affinity in term.tiers:
        meant |= view.members.meant_by(affinity)
    yield Refusal("cluster(s) did not match the placement cluster affinity constraint", ~meant)


def cluster_eviction(request: Request, term: Term, view: View) -> Iterator[Refusal]:
    """A cluster that the binding is being evicted from is no target again before that ended; one that can take nothing over becomes none."""
    if request.evicting:
        yield Refusal("cluster(s) is in the process of eviction", view.members.mask(request.evicting))
    if not request.barred:
        return
    for why in dict.fromkeys(request.barred.values()):
        barred = view.members.mask(name for name, known in request.barred.items() if known == why)
        yield Refusal(f"cluster(s) {why}", barred & ~_staying(request, view))


def api_enablement(request: Request, term: Term, view: View) -> Iterator[Refusal]:
    """A cluster has to serve the template's kind. One that has a copy already stays: what it serves may be misread."""
    if request.kind:
        without = ~view.members.serving((request.api_version, request.kind))
        if stays := _staying(request, view):
            without &= ~stays
        yield Refusal("cluster(s) did not have the API resource", without)


def taint_toleration(request: Request, term: Term, view: View) -> Iterable[Refusal]:
    """NoSchedule and NoExecute taints keep out what does not tolerate them, or not for as long as they last where they evict. Present
    targets stay: eviction decides on them."""
    members = view.members
    if not members.tainted():
        return ()
    tolerations = request.placement.get("clusterTolerations")
    refusals = members.known(
        ("tolerations", encoded(tolerations), request.fails_over),
        lambda: _untolerated(members, tolerations or (), request.fails_over),
    )
    stays = _staying(request, view)
    return [Refusal(message, mask & ~stays) for message, mask in refusals] if stays else refusals


def _untolerated(
    members: Members, tolerations: Iterable[Mapping[str, Any]], fails_over: bool
) -> list[Refusal]:
    return [
        Refusal(f"cluster(s) had untolerated taint {{{taint}}}", mask)
        for taint, mask in members.tainted().items()
        if not welcomes(tolerations, taint, failing_over=fails_over)
    ]


def spread_constraint(request: Request, term: Term, view: View) -> Iterator[Refusal]:
    """Who is to be spread by a property needs to have it."""
    for constraint in request.placement.get("spreadConstraints") or ():
        if label := str(constraint.get("spreadByLabel") or ""):
            yield Refusal(f"cluster(s) did not have label {label}", _without_label(view.members, label))
            continue
        field = str(constraint.get("spreadByField") or "")
        if field in ("provider", "region", "zone"):
            shown = "zones" if field == "zone" else field
            yield Refusal(f"cluster(s) did not have {shown} property", _without_field(view.members, field))


def _without_label(members: Members, label: str) -> int:
    return members.known(
        ("no label", label), lambda: members.mask_where(lambda member: label not in member.place.labels)
    )


def _without_field(members: Members, field: str) -> int:
    return members.known(
        ("no field", field), lambda: members.mask_where(lambda member: not field_values(member.place, field))
    )


def workload_affinity(request: Request, term: Term, view: View) -> Iterator[Refusal]:
    """Where all placed workloads of the group are. The first of a group goes anywhere."""
    if not request.affinity_group:
        return
    together = view.members.everyone
    for targets in view.assigned.of_group(request.namespace, request.affinity_group, request.binding):
        together &= view.members.mask(targets)
    message = f"cluster(s) did not have the workloads of affinity group {request.affinity_group}"
    yield Refusal(message, ~(together | _staying(request, view)))


def workload_anti_affinity(request: Request, term: Term, view: View) -> Iterator[Refusal]:
    """Where no other workload of the group is."""
    if not request.anti_affinity_group:
        return
    taken = 0
    for targets in view.assigned.of_anti_group(
        request.namespace, request.anti_affinity_group, request.binding
    ):
        taken |= view.members.mask(targets)
    yield Refusal(
        f"cluster(s) had a workload of anti-affinity group {request.anti_affinity_group}",
        taken & ~_staying(request, view),
    )


def _staying(request: Request, view: View) -> int:
    return view.members.mask(request.current) if request.current else 0


FILTERS: tuple[Filter, ...] = (
    Filter("ClusterAffinity", cluster_affinity, LABEL),
    Filter("ClusterEviction", cluster_eviction, EVICTION),
    Filter("APIEnablement", api_enablement, API),
    Filter("TaintToleration", taint_toleration, TAINT),
    Filter("SpreadConstraint", spread_constraint, LABEL),
    Filter("WorkloadAffinity", workload_affinity, GROUP),
    Filter("WorkloadAntiAffinity", workload_anti_affinity, GROUP),
)
