"""Scores: how well a feasible cluster suits. Added up; each is a row."""

from __future__ import annotations

from collections.abc import Callable

from towline.hub.decide.scheduling.request import Request
from towline.kube.objects import Object, name_of

Score = Callable[[Request, Object], int]


def cluster_locality(request: Request, cluster: Object) -> int:
    """Stay where it is: 100 for a present target."""
    return 100 if name_of(cluster) in request.current else 0


SCORES: tuple[tuple[str, Score], ...] = (("ClusterLocality", cluster_locality),)


def score(request: Request, cluster: Object) -> int:
    return sum(points(request, cluster) for _, points in SCORES)
