"""Filters: who may be a target at all. Each is a function of request, affinity term and cluster; the table is all there is.

A filter answers None to let the cluster pass, or the message that users see counted in the condition.
"""

from __future__ import annotations

from collections.abc import Callable

from towline.hub.decide.scheduling.affinity import Term
from towline.hub.decide.scheduling.request import Request
from towline.kube.objects import Object, name_of

Filter = Callable[[Request, Term, Object], str | None]


def cluster_affinity(request: Request, term: Term, cluster: Object) -> str | None:
    """The placement's clusterAffinity, or the term of its clusterAffinities under trial."""
    return (
        None
        if term.matches(cluster)
        else "cluster(s) did not match the placement cluster affinity constraint"
    )


def cluster_eviction(request: Request, term: Term, cluster: Object) -> str | None:
    """A cluster that the binding is being evicted from is no target again before that ended."""
    return "cluster(s) is in the process of eviction" if name_of(cluster) in request.evicting else None


FILTERS: tuple[tuple[str, Filter], ...] = (
    ("ClusterAffinity", cluster_affinity),
    ("ClusterEviction", cluster_eviction),
)
