"""The fleet as decisions see it, kept up with the cache and with what was decided and is not committed yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from towline.hub.decide import bindings
from towline.hub.decide.doubt import Standing, standing_of
from towline.hub.decide.plan import Delete, Put
from towline.hub.decide.scheduling.assigned import Assigned, groups_of
from towline.hub.decide.scheduling.members import Members, member_of
from towline.hub.decide.scheduling.view import View
from towline.hub.store.answers import AnswerTable
from towline.hub.store.cache import Cache, WatchEvent
from towline.kube import names
from towline.kube.objects import Key, Object

CLUSTERS = (names.CLUSTER_GROUP, "clusters")


class FleetView:
    """Create it before anything that subscribes to the cache and decides, then call `load` once the cache is synced.

    `now` is epoch seconds."""

    def __init__(self, cache: Cache, now: Callable[[], float]) -> None:
        self._cache = cache
        self._now = now
        self._view = View(Members(()))
        self.answers = AnswerTable()
        self._standings: dict[str, Standing] = {}

    def load(self) -> None:
        """Read everything, and follow it from now on."""
        found = (
            (entry.key, entry.object)
            for resource in (bindings.BINDINGS, bindings.CLUSTER_BINDINGS)
            for entry in self._cache.list(names.WORK_GROUP, resource)
        )
        members = []
        for entry in self._cache.list(*CLUSTERS):
            members.append(member_of(entry.object))
            self._standings[entry.key.name] = standing_of(entry.object)
        self._view = View(Members(members), Assigned.of(found, self._now()))
        self._cache.subscribe(self._follow)

    def at(self, now: float, key: Key | None = None) -> View:
        """The view for the decision on `key` at this moment. Read it before anything else can happen."""
        self._view.assigned.expire(now)
        return View(self._view.members, self._view.assigned, self.answers.at(now, key))

    @property
    def members(self) -> Members:
        """The clusters as they are."""
        return self._view.members

    @property
    def standings(self) -> Collection[Standing]:
        """What doubts need to know of each cluster."""
        return self._standings.values()

    def companions(self, *states: Object) -> Iterable[Key]:
        """The placed bindings that share a workload group with any of these states of a binding."""
        return self._view.assigned.peers({group: None for state in states for group in groups_of(state)})

    def decided(self, writes: Iterable[Put | Delete]) -> None:
        """These are about to be committed: the next decision has to reckon with them already."""
        for write in writes:
            if bindings.is_binding(write.key):
                placed = write.object if isinstance(write, Put) else None
                self._put(write.key, placed)

    def settled(self, writes: Iterable[Put | Delete]) -> None:
        """Their commit is through, or came to nothing: what the cache has counts again."""
        for write in writes:
            if bindings.is_binding(write.key):
                entry = self._cache.get(write.key)
                self._put(write.key, None if entry is None else entry.object)

    def _follow(self, revision: int, events: Sequence[WatchEvent]) -> None:
        changed: dict[str, Object | None] = {}
        for event in events:
            key = event.entry.key
            gone = event.type == "DELETED"
            if key[:2] == CLUSTERS:
                changed[key.name] = cluster = None if gone else event.entry.object
                if cluster is None:
                    self._standings.pop(key.name, None)
                else:
                    self._standings[key.name] = standing_of(cluster)
            elif bindings.is_binding(key):
                self._put(key, None if gone else event.entry.object)
        if changed:
            self._view = View(self._view.members.with_changed(changed), self._view.assigned)

    def _put(self, key: Key, binding: Object | None) -> None:
        for cluster in self._view.assigned.follow(key, binding, self._now()):
            self.answers.outdated(cluster, self._now())
