"""The shell around the workload rules: follows the cache, runs rounds, commits what they want, keeps the timers.

Nothing polls. Changes that arrive within a few milliseconds share a round, so a burst costs few commits.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Sequence

from towline.hub.decide.plan import Put
from towline.hub.sim.cluster import Cluster
from towline.hub.sim.round import Pace
from towline.hub.sim.workloads import Step, affected, settle
from towline.hub.store.cache import Cache, WatchEvent
from towline.hub.store.contract import COMMIT_WRITES_MAX, Conflict, Unavailable, Write
from towline.kube.objects import Key, encode

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.005


class WorkloadLoop:
    """Keeps one member's workloads going. `now` is epoch seconds; `sleep` gathers changes into rounds."""

    def __init__(
        self,
        cache: Cache,
        *,
        now: Callable[[], float],
        new_uid: Callable[[], str],
        pace: Pace,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cache = cache
        self._now = now
        self._new_uid = new_uid
        self._pace = pace
        self._sleep = sleep
        self._cluster = Cluster(cache.snapshot.get, cache.snapshot.list)
        self._dirty: dict[Key, None] = {}
        self._changed = asyncio.Event()
        self._wakes: dict[Key, float] = {}
        self._timers: list[tuple[float, Key]] = []

    async def run(self) -> None:
        """Until cancelled, or until the store is closed. The cache has to be synced."""
        unsubscribe = self._cache.subscribe(self._observe)
        try:
            self._observe_all()
            while True:
                await self._work()
                await self._sleep(GATHER_SECONDS)
                try:
                    await self._round(self._take())
                except Unavailable:
                    return
        finally:
            unsubscribe()

    def _observe_all(self) -> None:
        for group, resource in self._cache.counts():
            for entry in self._cache.list(group, resource):
                self._cluster.observe(entry.key, entry.meta)
                self._dirty[entry.key] = None
        if self._dirty:
            self._changed.set()

    def _observe(self, revision: int, events: Sequence[WatchEvent]) -> None:
        for event in events:
            entry = event.entry
            before = event.previous.meta if event.previous is not None else None
            after = None if event.type == "DELETED" else entry.meta
            self._cluster.observe(entry.key, after)
            self._dirty.update(affected(self._cluster, entry.key, before, after))
        self._changed.set()

    async def _work(self) -> None:
        """Returns when a key is dirty or a timer is due."""
        while not self._dirty:
            self._changed.clear()
            while self._timers and self._wakes.get(self._timers[0][1]) != self._timers[0][0]:
                heapq.heappop(self._timers)  # replaced by a later one
            if not self._timers:
                await self._changed.wait()
                continue
            left = self._timers[0][0] - self._now()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _take(self) -> dict[Key, None]:
        """What is dirty or due now."""
        dirty, self._dirty = self._dirty, {}
        now = self._now()
        while self._timers and self._timers[0][0] <= now:
            at, key = heapq.heappop(self._timers)
            if self._wakes.get(key) == at:
                del self._wakes[key]
                dirty[key] = None
        return dirty

    async def _round(self, dirty: dict[Key, None]) -> None:
        try:
            step = self._settle(dirty)
        except Exception:
            # One object that a rule cannot digest must not stop the others: each key on its own, the bad ones logged.
            for key in dirty:
                try:
                    step = self._settle({key: None})
                except Exception:
                    log.exception("the workload rules failed for %s", key)
                else:
                    await self._commit(step)
            return
        await self._commit(step)

    def _settle(self, dirty: dict[Key, None]) -> Step:
        return settle(self._cluster, dirty, self._now(), self._new_uid, self._pace)

    async def _commit(self, step: Step) -> None:
        for key, at in step.wakes.items():
            if self._wakes.get(key) != at:
                self._wakes[key] = at
                heapq.heappush(self._timers, (at, key))
        writes = [
            Write(w.key.path(), encode(w.object) if isinstance(w, Put) else None, w.expected)
            for w in step.writes
        ]
        for start in range(0, len(writes), COMMIT_WRITES_MAX):
            try:
                await self._cache.commit(writes[start : start + COMMIT_WRITES_MAX])
            except Conflict:
                # Somebody wrote in between; the next round decides on what is there then.
                self._dirty.update((w.key, None) for w in step.writes[start:])
                return
