"""Items whose last decision fell short: what may help each of them, and how soon each may try again.

An item is here under its causes until one of them comes about. Then it is handed out, to be tried at once or when its backoff has passed, and
is not handed out for the same again before that attempt: a thousand changes in between cost nothing. Whatever is of higher priority is
tried no later, whoever's backoff is shorter, and who is tried again stands back while the more important is at it or waits for answers:
else the less important took the room meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from towline.hub.controllers.queue import Item
from towline.hub.decide import bindings, wakes
from towline.hub.decide.scheduling.request import CAPACITY
from towline.hub.store.cache import WatchEvent
from towline.hub.store.works import CLUSTERS

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
        self._handed: set[Item] = set()
        """Those to be tried again, now or after their backoff."""
        self._due: dict[int, dict[Item, float]] = {}
        """The same by priority, and when each is due."""
        self._asking: dict[Item, bool] = {}
        """Those that wait for answers, and whether something that helps them came about since they asked."""
        self._asking_at: dict[int, dict[Item, None]] = {}
        """The same by priority."""
        self._behind: dict[int, dict[Item, None]] = {}
        """By priority, those that stand back."""
        self._forward: dict[Item, float] = {}
        """Those to be tried earlier than was said, and after how many seconds."""
        self._credit = float(ATTEMPTS_A_SECOND)
        self._credit_at = now()

    def decided(self, item: Item, causes: frozenset[str]) -> float | None:
        """`item` was decided, and `causes` can help it further; none when nothing is lacking. Answers after how many seconds it is to be
        tried again at the latest, if at all."""
        helped = self._asking.pop(item, False)
        _drop(self._asking_at, item)
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
        if not helped:
            return RETRY_SECONDS
        self._hand_out(item, max(now, last.next_at))
        self._forward |= self._brought_forward(now)
        return max(0.0, last.next_at - now)

    def asks(self, item: Item, causes: frozenset[str]) -> None:
        """`item` is decided when it has answers that may be of a time before any of `causes` comes about: then it is tried once
        more."""
        self._take(item, self._causes.get(item, frozenset()))
        self._asking.setdefault(item, False)
        self._asking_at.setdefault(self._priority(item), {})[item] = None
        self._put(item, causes)

    def stands_back(self, item: Item) -> bool:
        """Whether `item` is to be tried when those of higher priority were: `released` hands it out then."""
        if item not in self._attempts:
            return False
        level = self._priority(item)
        if not self._more_important_than(level):
            return False
        self._behind.setdefault(level, {})[item] = None
        return True

    def released(self) -> dict[Item, float]:
        """Those that need not stand back any more, or not wait as long as was said, and after how many seconds each may be tried."""
        found, self._forward = self._forward, {}
        for level in [level for level in self._behind if not self._more_important_than(level)]:
            found |= dict.fromkeys(self._behind.pop(level), 0.0)
        return found

    def helped(self, causes: Collection[str]) -> dict[Item, float]:
        """The items that any of `causes` can help, and after how many seconds each may be tried; with those of higher priority that
        were handed out before and would be later."""
        now, found = self._now(), dict[Item, float]()
        for cause in sorted(causes, key=lambda cause: (cause in STEADY, cause)):
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
        return found | self._brought_forward(now, found)

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
        self._handed.add(item)
        self._due.setdefault(self._priority(item), {})[item] = due

    def _take_back(self, item: Item) -> None:
        if item in self._handed:
            self._handed.remove(item)
            _drop(self._due, item)

    def _brought_forward(self, now: float, fresh: Collection[Item] = ()) -> dict[Item, float]:
        """Those that would be tried after somebody less important, and after how many seconds they are tried instead. Whose turn it is
        already (and who is not `fresh`) brings nobody forward: what never fits may not starve the others."""
        found: dict[Item, float] = {}
        first = float("inf")
        for level in sorted(self._due) if len(self._due) > 1 else ():
            items = self._due[level]
            for item in [item for item, due in items.items() if due > first]:
                items[item], found[item] = first, max(0.0, first - now)
            first = min([first, *(due for item, due in items.items() if due > now or item in fresh)])
        return found

    def _more_important_than(self, level: int) -> bool:
        """Whether somebody of higher priority is due, or waits for answers."""
        now = self._now()
        return any(at > level for at in self._asking_at) or any(
            due <= now for at, items in self._due.items() if at > level for due in items.values()
        )

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


def _drop(levels: dict[int, Any], item: Item) -> None:
    """Out of the level that it is in, whichever that is: a priority may have changed meanwhile."""
    for level in [level for level, items in levels.items() if item in items]:
        del levels[level][item]
        if not levels[level]:
            del levels[level]


def helping(event: WatchEvent) -> frozenset[str]:
    """What of `Plan.waits` a change of a Cluster or a binding brings about."""
    after, before = None if event.type == "DELETED" else event.entry, event.previous
    if event.entry.key[:2] == CLUSTERS:
        judge = wakes.helps
    elif bindings.is_binding(event.entry.key):
        judge = wakes.frees
    else:
        return frozenset()
    return judge(before.object if before else None, after.object if after else None)
