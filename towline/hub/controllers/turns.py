"""Who may do something next, where only so much may happen in a time: evictions (Karmada's resource-eviction-rate).

A place in the queue is a time, given when somebody first asks and kept until they ask no more. Nothing sleeps here, and nothing is stored: a
hub that starts, or takes the lead, forms the queue anew and lets nobody through before one turn is over, so that hubs that come and go let
no more through than one that stays.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")

NEVER_SECONDS = 1800.0
"""After so long those ask again who may do nothing now (Karmada, with a rate of 0)."""


class Turns(Generic[K]):
    """`rate` turns a second; 0: none."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._next = 0.0
        self._places: dict[K, float] = {}

    def begin(self, now: float) -> None:
        """Another may have had a turn just now."""
        self._places.clear()
        if self._rate:
            self._next = now + 1.0 / self._rate

    def wait(self, who: K, now: float) -> float:
        """Seconds until it is the turn of `who`; 0.0 when it is now. It stays so until `forget`."""
        if not self._rate:
            return NEVER_SECONDS
        place = self._places.get(who)
        if place is None:
            place = self._places[who] = max(now, self._next)
            self._next = place + 1.0 / self._rate
        return max(0.0, place - now)

    def left(self, who: K, now: float) -> float | None:
        """The same for who stands in the queue, without taking a place in it; infinite where nobody's turn comes."""
        if not self._rate:
            return float("inf")
        place = self._places.get(who)
        return None if place is None else max(0.0, place - now)

    def forget(self, who: K) -> None:
        """`who` has had its turn, or does not want it any more: the next time it stands at the end."""
        self._places.pop(who, None)

    def __len__(self) -> int:
        return len(self._places)
