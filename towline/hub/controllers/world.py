"""What decisions may read, and what a row of the table of controllers says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from towline.hub.controllers import evicting
from towline.hub.controllers.turns import Turns
from towline.hub.decide import doubt
from towline.hub.decide.doubt import Doubt
from towline.hub.decide.moving import Holds
from towline.hub.decide.plan import Plan, Snapshot
from towline.hub.decide.token_secrets import Sign
from towline.hub.store.cache import Cache, WatchEvent
from towline.hub.store.fleet import Fleet
from towline.hub.store.view import FleetView
from towline.hub.store.works import WorkTable
from towline.kube.objects import Key


@dataclass(frozen=True, slots=True)
class World:
    """What decisions may read."""

    cache: Cache
    works: WorkTable
    fleet: Fleet
    placing: FleetView
    """The fleet as decisions see it."""
    sign: Sign | None = None
    """Signs ServiceAccounts' tokens; without it their Secrets stay empty."""
    ca_pem: Callable[[], bytes] = bytes
    turns: Turns[Key] = field(default_factory=lambda: Turns(evicting.EVICTIONS_A_SECOND))
    """Which binding is evicted next."""

    @property
    def snapshot(self) -> Snapshot:
        return self.cache.snapshot

    def doubt(self, now: float) -> Doubt | None:
        """Whether the hub believes its losses: to be asked before anything is done to a lost cluster."""
        return doubt.doubts(self.placing.standings, self.fleet.audible(now), now)

    def holds(self, binding: Key, now: float) -> Holds:
        """What holds moves of a binding back and is written nowhere."""
        found = self.doubt(now)
        doubted = found.clusters if found is not None else frozenset[str]()
        return Holds(doubted, self.fleet.settled_at, self.turns.left(binding, now))


def no_keys(*_: object) -> Iterable[Key]:
    return ()


@dataclass(frozen=True, slots=True)
class Controller:
    """One row. `decide(world, key, now)`; the other functions answer the keys that something concerns."""

    name: str
    decide: Callable[[World, Key, float], Plan]
    initial: Callable[[World], Iterable[Key]]
    """Every key, when the loop starts."""
    on_change: Callable[[World, WatchEvent], Iterable[Key]]
    on_report: Callable[[Key], Iterable[Key]] = no_keys
    """An agent reported on a Work of this owner (a binding, a stored Work, a Namespace), or overrides began or ceased to block it."""
    on_work: Callable[[World, str, Key], Iterable[Key]] = no_keys
    """This owner's Work in this cluster came, changed or went."""
    on_contact: Callable[[str], Iterable[Key]] = no_keys
    """This cluster's session or facts changed."""
    priority: Callable[[World, Key], int] = lambda world, key: 0
    """Of two keys that are equally urgent, the one of higher priority is decided first."""
    min_interval_seconds: float = 0.0
    """The least time from a decision that wrote something to the next on the same key."""
    whose: Callable[[World, Key], bool | None] | None = None
    """Of several hubs on one store, which decides on a key: this one (True), another (False), or, as for all keys of a row without
    it, the one that leads (None). For what needs the agents' own words, which only the hub has that holds their session."""
