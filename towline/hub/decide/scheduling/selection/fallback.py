"""Search: a choice of clusters that meets every spread constraint, for wishes that the rule of `selection` does not meet.

Clusters with the same groups are interchangeable but for their room, so the search is over such classes: with the first or
without it, the roomiest classes first, and no further where a limit, a minimum or the room can no longer be met. It is
complete up to SEARCH_STEPS (any fleet of a few classes); in general the problem is hard (it contains set cover), so above
that a choice may exist that is not found. What is found is the same for the same clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from towline.hub.decide.scheduling.selection.groups import Need
from towline.hub.decide.scheduling.selection.ranked import Ranked, by_room
from towline.hub.decide.scheduling.selection.spread import Level, Spread

SEARCH_STEPS = 20_000
"""How many clusters are looked at, those of every step of the search added up."""


class Found(NamedTuple):
    chosen: list[Ranked] | None
    complete: bool
    """Whether None means that there is no choice."""
    short: list[Ranked] | None = None
    """Without a choice: the roomiest of those looked at that meet the constraints and have too little room."""


class _Class(NamedTuple):
    groups: tuple[frozenset[str], ...]
    """By level."""
    clusters: list[Ranked]
    """For a divided workload the roomiest first, else by rank."""
    rooms: list[int]
    """Of the first clusters, as many as may be chosen, if divided."""
    room: int
    """All of `rooms`."""


_Held = tuple[frozenset[str], ...]


def search(spread: Spread, ranked: Sequence[Ranked], need: Need) -> Found:
    """A choice with room for a divided workload, the best by rank of the classes that are found first for another."""
    classes = _classes(spread, ranked, need)
    nothing: _Held = tuple(frozenset() for _ in spread.levels)
    branches: list[tuple[list[_Class], _Held, list[_Class]]] = [([], nothing, classes)]
    steps = 0
    short: list[Ranked] | None = None
    roomiest = -1
    while branches:
        used, held, pool = branches.pop()
        steps += sum(1 + len(one.rooms) for one in (*used, *pool))
        if steps > SEARCH_STEPS:
            return Found(None, False, short)
        if not pool or not _may_do(spread, used, held, pool, need):
            continue
        head, rest = pool[0], pool[1:]
        branches.append((used, held, rest))
        used, held = [*used, head], _join(held, head)
        if _is_enough(spread, used, held):
            room = _roomiest(spread, used, ())
            if not need.divided or room >= need.replicas:
                return Found(_clusters(spread, used, need), True)
            if room > roomiest:
                roomiest, short = room, _clusters(spread, used, need)
        if len(used) < spread.clusters.most:
            rest = [other for other in rest if _fits(spread.levels, held, other)]
            branches.append((used, held, rest))
    return Found(None, True, short)


def _classes(spread: Spread, ranked: Sequence[Ranked], need: Need) -> list[_Class]:
    """Those that fit at all. By room, or by the rank of their first cluster."""
    members: dict[_Held, list[Ranked]] = {}
    for cluster in sorted(ranked, key=by_room) if need.divided else ranked:
        members.setdefault(tuple(map(frozenset, cluster.groups)), []).append(cluster)
    classes = []
    for groups, held in members.items():
        rooms = [-c.minus_room for c in held[: spread.clusters.most]] if need.divided else []
        classes.append(_Class(groups, held, rooms, sum(rooms)))
    nothing: _Held = tuple(frozenset() for _ in spread.levels)
    fitting = [one for one in classes if _fits(spread.levels, nothing, one)]
    return sorted(fitting, key=lambda one: -one.room)


def _join(held: _Held, one: _Class) -> _Held:
    return tuple(names | more for names, more in zip(held, one.groups, strict=True))


def _fits(levels: Sequence[Level], held: _Held, one: _Class) -> bool:
    return all(
        len(names | more) <= level.limits.most
        for level, names, more in zip(levels, held, one.groups, strict=True)
    )


def _may_do(spread: Spread, used: list[_Class], held: _Held, pool: list[_Class], need: Need) -> bool:
    """Whether a choice of all of `used` and any of `pool` may do: bounds that are quick and never too strict."""
    free = spread.clusters.most - len(used)
    if sum(len(one.clusters) for one in (*used, *pool)) < spread.clusters.fewest:
        return False
    for index, (level, names) in enumerate(zip(spread.levels, held, strict=True)):
        lacking = level.limits.fewest - len(names)
        if lacking > 0:
            gain = max((len(one.groups[index]) for one in pool), default=0)
            if (
                lacking > free * gain
                or len(names.union(*(one.groups[index] for one in pool))) < level.limits.fewest
            ):
                return False
    if not need.divided:
        return True
    return _room_at_most(spread, used, held, pool, need)


def _room_at_most(spread: Spread, used: list[_Class], held: _Held, pool: list[_Class], need: Need) -> bool:
    """Whether the room may suffice, seen by the number of clusters, and for each level by its number of groups."""
    if sum(one.room for one in (*used, *pool)) < need.replicas:
        return False
    for index, (level, names) in enumerate(zip(spread.levels, held, strict=True)):
        rooms: dict[str, int] = {}
        for one in (*used, *pool):
            for name in one.groups[index]:
                rooms[name] = rooms.get(name, 0) + one.room
        more = sorted((room for name, room in rooms.items() if name not in names), reverse=True)
        if sum(rooms[name] for name in names) + sum(more[: level.limits.most - len(names)]) < need.replicas:
            return False
    return _roomiest(spread, used, pool) >= need.replicas


def _roomiest(spread: Spread, used: Sequence[_Class], pool: Sequence[_Class]) -> int:
    """The room of one cluster of each class used and, of all others, the roomiest."""
    if sum(len(one.rooms) for one in (*used, *pool)) <= spread.clusters.most:
        return sum(one.room for one in (*used, *pool))
    rooms = [room for one in used for room in one.rooms[1:]] + [room for one in pool for room in one.rooms]
    rooms.sort(reverse=True)
    return sum(one.rooms[0] for one in used) + sum(rooms[: spread.clusters.most - len(used)])


def _is_enough(spread: Spread, used: list[_Class], held: _Held) -> bool:
    """Whether clusters of exactly these classes meet every minimum."""
    return (
        all(len(names) >= level.limits.fewest for level, names in zip(spread.levels, held, strict=True))
        and sum(len(one.clusters) for one in used) >= spread.clusters.fewest
    )


def _clusters(spread: Spread, used: list[_Class], need: Need) -> list[Ranked]:
    """One of each class, then the roomiest of the rest, or the first by rank."""
    chosen = [one.clusters[0] for one in used]
    rest = sorted((c for one in used for c in one.clusters[1:]), key=by_room if need.divided else None)
    return chosen + rest[: spread.clusters.most - len(chosen)]
