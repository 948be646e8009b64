"""At which hub a cluster's session is, of several on one store: what agents' rows say, as long as that hub lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from towline.hub.agents import AGENTS, agent_of
from towline.hub.store.cache import Cache, Entry
from towline.kube.objects import Key


def came_from_another(cache: Cache, me: str, cluster: str) -> bool:
    """Whether the session that the row of `cluster` knows is, or was, at another hub than `me`."""
    entry = cache.get(Key(*AGENTS, "", cluster))
    return entry is not None and entry.object["spec"]["hub"] != me


class Whereabouts:
    """`me` names this hub, `lives` says of a hub's name whether it lives; `moved(cluster, there)` is called when a cluster's session is at
    another hub from now on, or (`there` False) not any more."""

    def __init__(
        self, cache: Cache, me: str, lives: Callable[[str], bool], moved: Callable[[str, bool], None]
    ) -> None:
        self._cache = cache
        self._me = me
        self._lives = lives
        self._moved = moved
        self.elsewhere: dict[str, str] = {}
        """The other hub by cluster, as the rows say it."""
        self.told: set[str] = set()
        """The clusters whose other hub lives."""
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        for entry in self._cache.list(*AGENTS):
            self._row(entry.key.name, entry)
        self._unsubscribe = self._cache.subscribe(self._rows_changed)

    def stop(self) -> None:
        self._unsubscribe()

    def look(self) -> None:
        """A hub came or died."""
        for cluster in list(self.elsewhere):
            self._tell(cluster)

    def _rows_changed(self, revision: int, events: Sequence[Any]) -> None:
        for event in events:
            if event.entry.key[:2] == AGENTS:
                self._row(event.entry.key.name, None if event.type == "DELETED" else event.entry)

    def _row(self, cluster: str, entry: Entry | None) -> None:
        agent = agent_of(entry.object["spec"]) if entry is not None else None
        if agent is not None and agent.connected and agent.hub != self._me:
            self.elsewhere[cluster] = agent.hub
        else:
            self.elsewhere.pop(cluster, None)
        self._tell(cluster)

    def _tell(self, cluster: str) -> None:
        hub = self.elsewhere.get(cluster)
        there = hub is not None and self._lives(hub)
        if there != (cluster in self.told):
            (self.told.add if there else self.told.discard)(cluster)
            self._moved(cluster, there)
