"""Dividing by room for more: DynamicWeight and Aggregated, steady or fresh, affinity tier by affinity tier (Karmada 3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nsmallest
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
    # Without a limit the room is the whole workload: a larger weight would starve all clusters that have one.
    rooms = {c.name: c.allocatable if c.allocatable < UNLIMITED else replicas for c in chosen}
    held = {c.name: c.current for c in chosen if c.current}
    _require_room(request, replicas, rooms, held)
    if not any(c.tier for c in chosen):
        only = _divide_tier(request, replicas, rooms, held, aggregated)
        return only["result"], [only]
    result: dict[str, int] = {}
    steps: list[Step] = []
    left = replicas
    for tier, members in groupby(sorted(chosen, key=_tier), _tier):
        names = [c.name for c in members]
        rooms_here = {name: rooms[name] for name in names}
        held_here = {name: held[name] for name in names if name in held}
        share = min(left, sum(rooms_here.values()) + sum(held_here.values()))
        left -= share
        division = _divide_tier(request, share, rooms_here, held_here, aggregated)
        result |= division["result"]
        steps.append({"tier": tier, "replicas": share, **division})
    return dict(sorted(result.items())), steps


_tier = attrgetter("tier")
_ROOMIEST_SHOWN = 5


def _require_room(request: Request, replicas: int, rooms: Mapping[str, int], held: Mapping[str, int]) -> None:
    assigned = sum(held.values())
    if sum(rooms.values()) + assigned >= replicas:
        return
    doing, wanted, more = "scale up", replicas - assigned, " more"
    if request.fresh:
        doing, wanted, more = "do fresh scale", replicas, ""
        rooms = {name: room + held.get(name, 0) for name, room in rooms.items()}
    roomy = [(-room, name) for name, room in rooms.items() if room]
    shown = [f"{-room} in {name}" for room, name in nsmallest(_ROOMIEST_SHOWN, roomy)]
    shown += [f"some in {len(roomy) - len(shown)} more"] if len(roomy) > len(shown) else []
    where = f"; there is room for {', '.join(shown)}" if shown else ""
    # Karmada's words, and then what they leave open.
    raise Unschedulable(
        f"failed to {doing}: Clusters available replicas {sum(rooms.values())} are not enough to schedule. "
        f"{wanted}{more} are wanted{where}."
    )


def _divide_tier(
    request: Request, share: int, rooms: Mapping[str, int], held: Mapping[str, int], aggregated: bool
) -> dict[str, Any]:
    """`share` replicas among clusters that hold some and have room for the others.

    Fresh: as if nobody had any. Steady: nothing moves; more is dealt on top of what is there, by room; fewer are what is
    there, shrunk in proportion. Nobody gets more than its room, which the method alone does not promise for clusters
    that hold few replicas beside others that hold many (Karmada overcommits there).
    """
    target, weights, assigned = share, rooms, sum(held.values())
    initial: Mapping[str, int] = {}
    first: frozenset[str] = frozenset()
    if request.fresh:
        mode, weights = "fresh", {name: room + held.get(name, 0) for name, room in rooms.items()}
    elif assigned == share:
        return {"mode": "keep", "target": 0, "result": dict(sorted(held.items()))}
    elif assigned > share:
        mode, weights = "scale down", held
    else:
        mode = "scale up" if held else "first"
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
