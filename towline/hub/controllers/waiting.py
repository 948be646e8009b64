"""Items whose last decision fell short: what may help each of them, and how soon each may try again.

An item is here under its causes until one of them comes about. Then it is handed out, to be tried at once or when its backoff has passed, and
is not handed out for the same again before that attempt: a thousand changes in between cost nothing. Whatever is of higher priority is
tried no later, whoever's backoff is shorter: else the less important took the room while the other sits out its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from towline.hub.controllers.queue import Item
from towline.hub.decide.scheduling.request import CAPACITY

STEADY = frozenset((CAPACITY,))
"""Causes that come about all the time somewhere in a fleet: for these alone items wait out their backoff. What else happens is rare and somebody's
wish, and is tried at once, the important first."""
ATTEMPTS_A_SECOND = 50
"""With so many items that their backoffs would make it more, backoffs are longer. And more attempts at once than these have to wait for their
backoff as well. (One takes some two milliseconds in a fleet of a thousand clusters.)"""
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LAST_SECONDS = 10.0
"""Between two attempts in vain (Karmada 3.1)."""
RETRY_SECONDS = 300.0
"""An item is tried again after this time although nothing that is known to help came about (Karmada 3.1)."""


class Attempt(NamedTuple):
    number: int
    """Of attempts in a row that fell short."""
    next_at: float
    """When the backoff ends."""


class Waiting:
    """`now` is any clock in seconds; items of higher `priority` are never later than others."""

    def __init__(self, now: Callable[[], float], priority: Callable[[Item], int] = lambda item: 0) -> None:
        self._now = now
        self._priority = priority
        self._attempts: dict[Item, Attempt] = {}
        """Of all whose last decision fell short."""
        self._causes: dict[Item, frozenset[str]] = {}
        """What each item can still be handed out for."""
        self._items: dict[str, dict[Item, None]] = {}
        """The same by cause."""
        self._handed: dict[Item, int] = {}
        """Those to be tried again, now or after their backoff, and their priority."""
        self._due: dict[int, dict[Item, float]] = {}
        """The same by priority, and when each is due."""
        self._asking: dict[Item, bool] = {}
        """Those that wait for answers, and whether something that helps them came about since they asked."""
        self._credit = float(ATTEMPTS_A_SECOND)
        self._credit_at = now()

    def decided(self, item: Item, causes: frozenset[str]) -> float | None:
        """`item` was decided, and `causes` can help it further; none when nothing is lacking. Answers after how many seconds it is to be
        tried again at the latest, if at all."""
        helped = self._asking.pop(item, False)
        self._take_back(item)
        self._take(item, self._causes.get(item, frozenset()))
        if not causes:
            self._attempts.pop(item, None)
            return None
        now, last = self._now(), self._attempts.get(item)
        if last is None or now >= last.next_at:
            # One that a user caused meanwhile, or the echo of the decision's own write, is no further attempt.
            number = 1 if last is None else last.number + 1
            last = self._attempts[item] = Attempt(number, now + self._backoff(number))
        self._put(item, causes)
        return max(0.0, last.next_at - now) if helped else RETRY_SECONDS

    def asks(self, item: Item, causes: frozenset[str]) -> None:
        """`item` is decided when it has answers that may be of a time before any of `causes` comes about: then it is tried once
        more."""
        self._take(item, self._causes.get(item, frozenset()))
        self._asking.setdefault(item, False)
        self._put(item, causes)

    def helped(self, causes: Collection[str]) -> dict[Item, float]:
        """The items that any of `causes` can help, and after how many seconds each may be tried; with those of higher priority that
        were handed out before and would be later."""
        now, found = self._now(), dict[Item, float]()
        for cause in sorted(causes, key=STEADY.__contains__):
            for item in list(self._items.get(cause, ())):
                # What is handed out after a backoff can be handed out once more, for something that does not wait for it.
                self._take(item, STEADY if cause in STEADY else self._causes[item])
                if item in self._asking:
                    self._asking[item] = True
                    continue
                seconds = max(0.0, self._attempts[item].next_at - now)
                found[item] = 0.0 if cause not in STEADY and seconds and self._spend(now) else seconds
        for item, seconds in found.items():
            self._hand_out(item, now + seconds)
        return self._with_the_more_important(found, now)

    def __bool__(self) -> bool:
        """Whether anything can help anybody."""
        return bool(self._items)

    @property
    def backing_off(self) -> int:
        """How many are to be tried again, now or after their backoff."""
        return len(self._handed)

    @property
    def unschedulable(self) -> int:
        """How many wait for something to happen."""
        return len(self._attempts) - len(self._handed)

    def _hand_out(self, item: Item, due: float) -> None:
        self._take_back(item)
        level = self._handed[item] = self._priority(item)
        self._due.setdefault(level, {})[item] = due

    def _take_back(self, item: Item) -> None:
        level = self._handed.pop(item, None)
        if level is not None:
            items = self._due[level]
            del items[item]
            if not items:
                del self._due[level]

    def _with_the_more_important(self, found: dict[Item, float], now: float) -> dict[Item, float]:
        if len(self._due) < 2:
            return found
        soonest: dict[int, float] = {}
        for item, seconds in found.items():
            level = self._handed[item]
            soonest[level] = min(seconds, soonest.get(level, seconds))
        first = float("inf")
        for level in sorted(self._due):
            items = self._due[level]
            for item in [item for item, due in items.items() if due > now + first]:
                items[item], found[item] = now + first, first
            first = min(first, soonest.get(level, first))
        return found

    def _backoff(self, number: int) -> float:
        seconds = min(BACKOFF_FIRST_SECONDS * (1 << min(number - 1, 30)), BACKOFF_LAST_SECONDS)
        return max(seconds, len(self._attempts) / ATTEMPTS_A_SECOND)

    def _spend(self, now: float) -> bool:
        """Whether there may be another attempt at once."""
        earned = (now - self._credit_at) * ATTEMPTS_A_SECOND
        self._credit, self._credit_at = min(self._credit + earned, float(ATTEMPTS_A_SECOND)), now
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def _put(self, item: Item, causes: frozenset[str]) -> None:
        self._causes[item] = causes
        for cause in causes:
            self._items.setdefault(cause, {})[item] = None

    def _take(self, item: Item, causes: frozenset[str]) -> None:
        """Let `item` be handed out no more for any of `causes`."""
        present = self._causes.get(item, frozenset[str]())
        for cause in present & causes:
            items = self._items[cause]
            del items[item]
            if not items:
                del self._items[cause]
        if present <= causes:
            self._causes.pop(item, None)
        else:
            self._causes[item] = present - causes
