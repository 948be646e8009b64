"""Dividing a number of replicas among clusters by weight: Webster's (Sainte-Laguë) method, as Karmada does."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from towline.kube.names import fnv32a


def divide(
    count: int, weights: Mapping[str, int], uid: str, initial: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Deal `count` seats, one at a time, to the party with the largest weight / (2 * seats + 1).

    A tie goes to the party with fewer seats, then by name: ascending, or descending when the hash of `uid` (the template's) is odd,
    so that not every template favours the same cluster. `initial` are seats already held; parties only there weigh
    nothing. With no weight at all nobody gets more. The result is sorted by name.
    """
    seats = dict.fromkeys(weights, 0) | dict(initial or {})
    parties = sorted(seats, reverse=bool(uid) and fnv32a(uid) & 1 == 1)
    heap = [
        _bid(weights.get(name, 0), seats[name], rank)
        for rank, name in enumerate(parties)
        if weights.get(name, 0) > 0
    ]
    heapq.heapify(heap)
    for _ in range(count if heap else 0):
        _, _, rank = heap[0]
        name = parties[rank]
        seats[name] += 1
        heapq.heapreplace(heap, _bid(weights[name], seats[name], rank))
    return {name: seats[name] for name in sorted(seats)}


def _bid(weight: int, held: int, rank: int) -> tuple[float, int, int]:
    return (-(weight / (2 * held + 1)), held, rank)
