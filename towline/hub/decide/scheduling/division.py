"""Dividing a number of replicas among clusters by weight: Webster's (Sainte-Laguë) method, as Karmada does."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from towline.kube.names import fnv32a

Party = tuple[int, int, int]
"""Weight, seats held, and the most seats it may come to hold (0: any number)."""


def divide(
    count: int,
    weights: Mapping[str, int],
    uid: str,
    initial: Mapping[str, int] | None = None,
    *,
    capped: bool = False,
) -> dict[str, int]:
    """Deal `count` seats, one at a time, to the party with the largest weight / (2 * seats + 1).

    A tie goes to the party with fewer seats, then by name: ascending, or descending when the hash of `uid` (the template's) is odd,
    so that not every template favours the same cluster. `initial` are seats already held; parties only there weigh
    nothing. With no weight at all nobody gets more. The result is sorted by name.

    `capped`: a weight is also room, and nobody gets more than that on top of `initial`. Only where seats are held can
    this matter: from none, and with no more seats than weight, the method stays within the weights by itself.
    The work grows with the number of parties, never with `count`.
    """
    seats = _dealt(count, weights, uid, initial, capped)
    return {name: seats[name] for name in sorted(seats)}


def step(
    mode: str,
    count: int,
    weights: Mapping[str, int],
    uid: str,
    initial: Mapping[str, int] | None = None,
    *,
    capped: bool = False,
) -> dict[str, Any]:
    """`divide`, with how it came about as data: `mode` (why), `target` (replicas dealt), `weights`, `initial` if any,
    `result` without zeros. As large as the result: of the clusters that got nothing only `others`, their number and
    weight together."""
    seats = _dealt(count, weights, uid, initial, capped)
    result = {name: seats[name] for name in sorted(filter(seats.get, seats))}
    told = {name: weights[name] for name in result if weights.get(name)}
    described = {"mode": mode, "target": count, "weights": told, "result": result}
    if initial:
        described["initial"] = initial
    if weight_left := sum(weights.values()) - sum(told.values()):
        others = sum(1 for name, weight in weights.items() if weight and name not in told)
        described["others"] = {"clusters": others, "weight": weight_left}
    return described


def _dealt(
    count: int, weights: Mapping[str, int], uid: str, initial: Mapping[str, int] | None, capped: bool
) -> dict[str, int]:
    """The seats after dealing, in no order."""
    seats = dict.fromkeys(weights, 0)
    if initial:
        seats |= initial
    order = sorted([name for name, weight in weights.items() if weight > 0], reverse=descends(uid))
    parties = [(weights[name], seats[name], seats[name] + weights[name] if capped else 0) for name in order]
    if count > _WORTH_SKIPPING * len(parties) > 0:
        parties, count = _skip(parties, count)
        seats.update({name: held for name, (_, held, _) in zip(order, parties, strict=True)})
    heap = [
        (-(weight / (2 * held + 1)), held, rank, weight, most)
        for rank, (weight, held, most) in enumerate(parties)
        if held != most or not most
    ]
    heapq.heapify(heap)
    while count > 0 and heap:
        _, held, rank, weight, most = heap[0]
        count -= 1
        held += 1
        seats[order[rank]] = held
        if held == most:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (-(weight / (2 * held + 1)), held, rank, weight, most))
    return seats


def descends(uid: str) -> bool:
    """Whether ties between clusters go to the last name instead of the first."""
    return bool(uid) and fnv32a(uid) & 1 == 1


# --- many seats ----------------------------------------------------------------------------------------------

_WORTH_SKIPPING = 2
"""Seats for each party from which on skipping is faster than dealing one by one."""
_ROUNDS = 128
"""Bids to try; halving a floating point number gets nowhere new after that."""


def _skip(parties: Sequence[Party], count: int) -> tuple[list[Party], int]:
    """The parties after most of `count` seats were dealt, and how many are left to deal.

    Seats go by falling bids, so all that are won above one bid come before all others: look for a bid that leaves
    no more than two seats for each party."""
    held = sum(held for _, held, _ in parties)
    bid = sum(weight for weight, _, _ in parties) / (2 * (count + held) - len(parties))
    low = high = 0.0
    best, left = list(parties), count
    for _ in range(_ROUNDS):
        tried = [(weight, _seats_above(bid, weight, has, most), most) for weight, has, most in parties]
        rest = count - sum(has for _, has, _ in tried) + held
        if rest < 0:
            low = bid
        else:
            high, best, left = bid, tried, rest
            if rest <= 2 * len(parties):
                break
        bid = (low + high) / 2 if low and high else bid / 2 if high else bid * 2
    return best, left


def _seats_above(bid: float, weight: int, held: int, most: int) -> int:
    """What a party holds once every bid above `bid` was served. Compared as `divide` compares, not as algebra would."""
    if weight / (2 * held + 1) <= bid:
        return held
    if most and weight / (2 * most - 1) > bid:
        return most
    seats = max(held, ceil((weight / bid - 1) / 2))
    while weight / (2 * seats + 1) > bid:
        seats += 1
    while seats > held and weight / (2 * seats - 1) <= bid:
        seats -= 1
    return seats
