"""The queue of keys to decide: deduplicated, fair, delayed, backing off. Synchronous; the clock is an argument."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from towline.kube.objects import Key

BACKOFF_FIRST_SECONDS = 0.005
BACKOFF_LAST_SECONDS = 60.0


class Urgency(IntEnum):
    """Lower is served first."""

    USER = 0
    REPORT = 1
    RESYNC = 2


class Item(NamedTuple):
    """One key of one controller."""

    controller: str
    key: Key


class Queue:
    """Items wait once, however often they are added. One that is being worked on and added again runs again afterwards, so no
    two decide the same key at once.

    Within an urgency, items of higher `priority` go first (any integer, larger is sooner); within a priority, lanes (controller and namespace)
    take turns: one namespace's burst cannot starve another's. `spacing` answers the least seconds after a run that
    asked for it; the first runs at once.
    """

    def __init__(
        self,
        now: Callable[[], float],
        spacing: Callable[[Item], float] = lambda item: 0.0,
        priority: Callable[[Item], int] = lambda item: 0,
    ) -> None:
        self._now = now
        self._spacing = spacing
        self._priority = priority
        self._ready = [_Ready() for _ in Urgency]
        self._place: dict[Item, tuple[Urgency, int]] = {}
        """Urgency and priority of each item that is ready."""
        self._due: dict[Item, tuple[float, Urgency]] = {}
        """Of each item that waits for its time."""
        self._timers: list[tuple[float, int, Item]] = []
        self._timer_count = 0
        self._running: dict[Item, tuple[float, Urgency] | None] = {}
        """Items being worked on, and when to run them again."""
        self._earliest: dict[Item, float] = {}
        self._failures: dict[Item, int] = {}

    def add(self, item: Item, urgency: Urgency = Urgency.USER, after_seconds: float = 0.0) -> None:
        """Run `item` soon, or after some time. An earlier or more urgent wish for the same item counts."""
        now = self._now()
        self._ripen(now)
        due = max(now + after_seconds, self._earliest.get(item, 0.0))
        if item in self._running:
            again = self._running[item]
            if again is None or not again[0] <= now < due:  # what is due is due, whatever is wished for later
                self._running[item] = _sooner(again, (due, urgency))
        elif item in self._place:
            if due <= now:
                self._make_ready(item, urgency)
        elif due <= now:
            waiting = self._due.pop(item, None)
            self._make_ready(item, min(urgency, waiting[1]) if waiting and waiting[0] <= now else urgency)
        else:
            self._delay(item, _sooner(self._due.get(item), (due, urgency)))

    def retry(self, item: Item, urgency: Urgency = Urgency.USER, *, first_at_once: bool = False) -> float:
        """Run `item` again after its backoff: 5 ms (or nothing, `first_at_once`), doubling up to a minute. Answers the
        seconds."""
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        seconds = min(BACKOFF_FIRST_SECONDS * (1 << min(failures, 30)), BACKOFF_LAST_SECONDS)
        if first_at_once and not failures:
            seconds = 0.0
        self.add(item, urgency, seconds)
        return seconds

    def forget(self, item: Item) -> None:
        """It went well: the next failure starts with the shortest backoff."""
        self._failures.pop(item, None)

    def pop(self) -> Item | None:
        """The next item to work on, or None when nothing is ready. `done` has to follow."""
        self._ripen(self._now())
        for ready in self._ready:
            item = ready.pop()
            if item is not None:
                del self._place[item]
                self._running[item] = None
                return item
        return None

    def done(self, item: Item, *, spaced: bool = False) -> None:
        """Work on `item` ended. `spaced`: keep the item's least distance to its next run."""
        again = self._running.pop(item)
        spacing = self._spacing(item) if spaced else 0.0
        if spacing:
            self._earliest[item] = self._now() + spacing
            if len(self._earliest) > 10_000:
                self._drop_past()
        if again is not None:
            due, urgency = again
            self.add(item, urgency, max(0.0, due - self._now()))

    def next_due(self) -> float | None:
        """When something becomes ready: 0.0 if it is; None if nothing waits."""
        if self._place:
            return 0.0
        while self._timers:
            due, _, item = self._timers[0]
            if item in self._due and self._due[item][0] == due:
                return due
            heapq.heappop(self._timers)
        return None

    def __len__(self) -> int:
        """How many items wait, ready or not."""
        return len(self._place) + len(self._due)

    def __iter__(self) -> Iterator[Item]:
        """The items that wait, in no order."""
        yield from self._place
        yield from self._due

    def ready(self, controller: str) -> int:
        """How many items of a controller are ready."""
        return sum(item.controller == controller for item in self._place)

    @property
    def running(self) -> int:
        return len(self._running)

    def _ripen(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            due, _, item = heapq.heappop(self._timers)
            waiting = self._due.get(item)
            if waiting is not None and waiting[0] == due:
                del self._due[item]
                self._make_ready(item, waiting[1])

    def _make_ready(self, item: Item, urgency: Urgency) -> None:
        """At its place, or moved to a better one. The priority may be another than when the item was added before."""
        present = self._place.get(item)
        place = (urgency if present is None else min(urgency, present[0]), self._priority(item))
        if place == present:
            return
        if present is not None:
            self._ready[present[0]].remove(item, present[1])
        self._ready[place[0]].add(item, place[1])
        self._place[item] = place

    def _delay(self, item: Item, due: tuple[float, Urgency]) -> None:
        if self._due.get(item) == due:
            return
        self._due[item] = due
        self._timer_count += 1
        heapq.heappush(self._timers, (due[0], self._timer_count, item))
        if len(self._timers) > 1_000 + 2 * len(self._due):
            self._drop_superseded()

    def _drop_superseded(self) -> None:
        """Timers whose item was given another time: most go when they ring, but distant ones would pile up."""
        self._timers = [timer for timer in self._timers if self._due.get(timer[2], (None,))[0] == timer[0]]
        heapq.heapify(self._timers)

    def _drop_past(self) -> None:
        now = self._now()
        self._earliest = {item: due for item, due in self._earliest.items() if due > now}


class _Ready:
    """The ready items of one urgency: lanes in turn, by priority."""

    def __init__(self) -> None:
        self._lanes: dict[int, OrderedDict[tuple[str, str], OrderedDict[Item, None]]] = {}
        """By priority. No lane is empty; a priority may be without lanes until `pop` comes by."""
        self._priorities: list[int] = []
        """A heap of the keys of `_lanes`, negated."""

    def add(self, item: Item, priority: int) -> None:
        lanes = self._lanes.get(priority)
        if lanes is None:
            lanes = self._lanes[priority] = OrderedDict()
            heapq.heappush(self._priorities, -priority)
        lanes.setdefault(_lane(item), OrderedDict())[item] = None

    def remove(self, item: Item, priority: int) -> None:
        lanes, lane = self._lanes[priority], _lane(item)
        del lanes[lane][item]
        if not lanes[lane]:
            del lanes[lane]

    def pop(self) -> Item | None:
        while self._priorities:
            lanes = self._lanes[-self._priorities[0]]
            if not lanes:
                del self._lanes[-heapq.heappop(self._priorities)]
                continue
            lane, items = next(iter(lanes.items()))
            item, _ = items.popitem(last=False)
            if items:
                lanes.move_to_end(lane)
            else:
                del lanes[lane]
            return item
        return None


def _lane(item: Item) -> tuple[str, str]:
    return item.controller, item.key.namespace


def _sooner(known: tuple[float, Urgency] | None, wish: tuple[float, Urgency]) -> tuple[float, Urgency]:
    return wish if known is None or wish[0] < known[0] else (known[0], min(known[1], wish[1]))
