"""Dividing by room for more: DynamicWeight and Aggregated, steady or fresh, affinity tier by affinity tier (Karmada 3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from towline.hub.decide.scheduling.division import step
from towline.hub.decide.scheduling.request import UNLIMITED, Candidate, Request, Unschedulable

Step = Mapping[str, Any]
"""One division as `division.step` tells it; with overflow affinities also `tier` and `replicas`, the tier's share."""


def divide_by_room(
    request: Request, replicas: int, chosen: Sequence[Candidate], *, aggregated: bool
) -> tuple[dict[str, int], list[Step]]:
    """Replicas by cluster, and how that came about.

    Overflow affinities: a tier gets as much as it can hold before the next one gets anything, so what overflowed returns
    from the last tier first. Inside a tier nothing moves without need. Raises Unschedulable, before anything is
    divided, where all tiers together lack room.
    """
    _require_room(request, replicas, chosen)
    tiers = [
        (tier, list(members))
        for tier, members in groupby(sorted(chosen, key=attrgetter("tier")), attrgetter("tier"))
    ]
    if len(tiers) == 1:
        only = _divide_tier(request, replicas, chosen, replicas, aggregated)
        return only["result"], [only]
    result: dict[str, int] = {}
    steps: list[Step] = []
    left = replicas
    for tier, members in tiers:
        share = min(left, sum(_room(c, replicas) + c.current for c in members))
        left -= share
        division = _divide_tier(request, share, members, replicas, aggregated)
        result |= division["result"]
        steps.append({"tier": tier, "replicas": share, **division})
    return dict(sorted(result.items())), steps


def _require_room(request: Request, replicas: int, chosen: Sequence[Candidate]) -> None:
    room = sum(_room(c, replicas) for c in chosen)
    assigned = sum(c.current for c in chosen)
    if room + assigned >= replicas:
        return
    doing, room = ("do fresh scale", room + assigned) if request.fresh else ("scale up", room)
    raise Unschedulable(f"failed to {doing}: Clusters available replicas {room} are not enough to schedule.")


def _room(candidate: Candidate, replicas: int) -> int:
    """Room for more. Without a limit, the whole workload: a larger weight would starve all clusters that have one."""
    return replicas if candidate.allocatable >= UNLIMITED else candidate.allocatable


def _divide_tier(
    request: Request, share: int, members: Sequence[Candidate], replicas: int, aggregated: bool
) -> dict[str, Any]:
    """`share` replicas among `members`, which have room for them.

    Fresh: as if nobody had any. Steady: nothing moves; more is dealt on top of what is there, by room; fewer are what is
    there, shrunk in proportion. Nobody gets more than its room, which the method alone does not promise for clusters
    that hold few replicas beside others that hold many (Karmada overcommits there).
    """
    held = {c.name: c.current for c in members if c.current}
    assigned = sum(held.values())
    if not request.fresh and assigned == share:
        return {"mode": "keep", "target": 0, "result": dict(sorted(held.items()))}
    target, initial, first = share, {}, frozenset[str]()
    if request.fresh:
        mode, weights = "fresh", {c.name: _room(c, replicas) + c.current for c in members}
    elif assigned > share:
        mode, weights = "scale down", held
    else:
        mode, weights = "scale up" if held else "first", {c.name: _room(c, replicas) for c in members}
        target, initial, first = share - assigned, held, frozenset(request.current)
    if aggregated:
        weights = _fewest(weights, target, first)
    return step(mode, target, weights, request.uid, initial, capped=True)


def _fewest(weights: Mapping[str, int], target: int, first: frozenset[str]) -> dict[str, int]:
    """The fewest clusters with room for `target`: those in `first` before the others, the roomiest before the rest."""
    taken: dict[str, int] = {}
    for name in sorted(weights, key=lambda name: (name not in first, -weights[name], name)):
        if target <= 0:
            break
        taken[name] = weights[name]
        target -= weights[name]
    return taken
