"""Scores: how well a feasible cluster suits. Added up; each is a row that names only the clusters to which it gives points."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from towline.hub.decide.scheduling.request import Request
from towline.hub.decide.scheduling.view import View

Score = Callable[[Request, View], Mapping[str, int]]

LOCALITY = 100
"""Points of a present target."""


def cluster_locality(request: Request, view: View) -> Mapping[str, int]:
    """Stay where it is."""
    return dict.fromkeys(request.current, LOCALITY)


SCORES: tuple[tuple[str, Score], ...] = (("ClusterLocality", cluster_locality),)


def scores(request: Request, view: View) -> Mapping[str, int]:
    """Points by cluster; none for a cluster that is not named."""
    if len(SCORES) == 1:
        return SCORES[0][1](request, view)
    total: dict[str, int] = {}
    for _, points in SCORES:
        for name, count in points(request, view).items():
            total[name] = total.get(name, 0) + count
    return total
