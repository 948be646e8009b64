"""Items whose last decision fell short: what may help each of them, and how soon each may try again.

An item is here under its causes until one of them comes about. Then it is handed out once, to be tried when its backoff has passed, and is
not here again before that attempt: a thousand changes in between cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from towline.hub.controllers.queue import Item

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LAST_SECONDS = 10.0
"""Between two attempts that changes of the fleet cause (Karmada 3.1)."""
ATTEMPTS_A_SECOND = 100
"""With so many waiting that each at its backoff would be more than this, the longest backoff is longer."""
RETRY_SECONDS = 300.0
"""An item is tried again after this time although nothing that is known to help came about (Karmada 3.1)."""


class Attempt(NamedTuple):
    number: int
    """Of attempts in a row that fell short."""
    next_at: float
    """The earliest time of the next one that a change causes."""


class Waiting:
    """`now` is any clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._attempts: dict[Item, Attempt] = {}
        """Of all whose last decision fell short."""
        self._causes: dict[Item, frozenset[str]] = {}
        """Of those that wait for something to happen."""
        self._items: dict[str, dict[Item, None]] = {}
        """The same by cause."""
        self._asking: dict[Item, bool] = {}
        """Those that wait for answers, and whether something that helps them came about since they asked."""

    def decided(self, item: Item, causes: frozenset[str]) -> float | None:
        """`item` was decided, and `causes` can help it further; none when nothing is lacking. Answers after how many seconds it is to be
        tried again at the latest, if at all."""
        helped = self._asking.pop(item, False)
        self._take(item)
        if not causes:
            self._attempts.pop(item, None)
            return None
        now, last = self._now(), self._attempts.get(item)
        if last is None or now >= last.next_at:
            # One that a user caused meanwhile, or the echo of the decision's own write, is no further attempt.
            number = 1 if last is None else last.number + 1
            last = self._attempts[item] = Attempt(number, now + self._backoff(number))
        if helped:
            return max(0.0, last.next_at - now)
        self._put(item, causes)
        return RETRY_SECONDS

    def asks(self, item: Item, causes: frozenset[str]) -> None:
        """`item` is decided when it has answers that may be of a time before any of `causes` comes about: then it is tried once
        more."""
        self._take(item)
        self._asking.setdefault(item, False)
        self._put(item, causes)

    def helped(self, causes: Collection[str]) -> dict[Item, float]:
        """The items that any of `causes` can help, and after how many seconds each may be tried."""
        now, found = self._now(), {}
        for cause in causes:
            for item in list(self._items.get(cause, ())):
                self._take(item)
                if item in self._asking:
                    self._asking[item] = True
                else:
                    found[item] = max(0.0, self._attempts[item].next_at - now)
        return found

    def __len__(self) -> int:
        """How many wait for something to happen."""
        return len(self._causes)

    @property
    def short(self) -> int:
        """How many fell short at their last decision: they wait for something to happen, or to be tried again."""
        return len(self._attempts)

    def _backoff(self, count: int) -> float:
        last = max(BACKOFF_LAST_SECONDS, len(self._attempts) / ATTEMPTS_A_SECOND)
        return min(BACKOFF_FIRST_SECONDS * (1 << min(count - 1, 30)), last)

    def _put(self, item: Item, causes: frozenset[str]) -> None:
        self._causes[item] = causes
        for cause in causes:
            self._items.setdefault(cause, {})[item] = None

    def _take(self, item: Item) -> None:
        for cause in self._causes.pop(item, ()):
            items = self._items[cause]
            del items[item]
            if not items:
                del self._items[cause]
