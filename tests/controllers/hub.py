"""A hub without faces: store, cache, Work table, loop. The test turns the clock and plays the agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from tests.decide.world import World as Objects
from towline.hub.controllers.evicting import EVICTIONS_A_SECOND
from towline.hub.controllers.loop import Loop
from towline.hub.controllers.recorder import Recorder
from towline.hub.controllers.turns import Turns
from towline.hub.controllers.world import World
from towline.hub.decide.wire import ManifestStatus, Phase, WireWork, WorkReport, hash_of_report
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Lease, Write
from towline.hub.store.fleet import Fleet
from towline.hub.store.memory import MemoryStore
from towline.hub.store.view import FleetView
from towline.hub.store.works import CLUSTERS, NamespaceSync, WorkTable
from towline.hub.store.workview import WorkView
from towline.kube.objects import Key, Object, encode, revision_of


class Hub:
    """`users` is the dict-backed world: it applies the API's rules to what users write, the result goes to the store."""

    def __init__(
        self,
        store: MemoryStore,
        namespace_sync: NamespaceSync = "all",
        evictions_a_second: float = EVICTIONS_A_SECOND,
    ) -> None:
        self.users = Objects()
        self.store = store
        self.cache = Cache(store, self.users.kinds)
        self.works = WorkTable(self.cache, first_revision=1_000_000, namespace_sync=namespace_sync)
        self.view = WorkView(self.works)
        self.fleet = Fleet(self.now())
        self.recorder = Recorder(self.cache, now=self.now, new_uid=self.users.new_uid)
        self.placing = FleetView(self.cache, self.now)
        turns = Turns[Key](evictions_a_second)
        self.world = world = World(self.cache, self.works, self.fleet, self.placing, turns=turns)
        self.agents: set[str] = set()
        self.leads = True
        self.lease: Lease | None = None
        self.lives = True
        self.life: Lease | None = None
        self.fenced: list[Lease] = []
        self.loop = Loop(
            world, self.recorder, now=self.now, new_uid=self.users.new_uid, leads=lambda: self.leads,
            fence=lambda: self.lease, lives=lambda: self.lives, life=lambda: self.life, fenced=self._lost,
        )  # fmt: skip

    def now(self) -> float:
        return self.users.now

    def get(self, key: Key) -> Object | None:
        return self.cache.snapshot.get(key)

    async def put(self, *objects: Object) -> None:
        """What users apply, one commit each."""
        for obj in objects:
            self._see()
            key = self.users.put(obj)
            stored = self.get(key)
            await self._write(key, self.users.objects[key], 0 if stored is None else revision_of(stored))
            if key[:2] == CLUSTERS and stored is None:
                self.agents.add(key.name)
                self.fleet.connected(key.name, self.now())

    async def delete(self, key: Key) -> None:
        self._see()
        before = self.users.objects[key]
        self.users.delete(key)
        await self._write(key, self.users.objects.get(key), revision_of(before))

    async def users_delete_namespace(self, name: str) -> None:
        """As the API does: spec.finalizers keep it, so it is only marked."""
        key = Key("", "namespaces", "", name)
        self._see()
        obj = self.users.objects[key]
        marked = {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
        await self._write(key, marked, revision_of(obj))

    async def settle(self) -> None:
        await self.loop.settle()

    async def later(self, seconds: float) -> None:
        """`agents` are heard every ten seconds meanwhile."""
        then = self.users.now + seconds
        while self.users.now < then:
            self.users.now = min(then, self.users.now + 10)
            for name in self.agents:
                self.fleet.heard(name, self.now())
        await self.settle()

    def _lost(self, lease: Lease) -> None:
        self.fenced.append(lease)
        if lease == self.life:
            self.lives, self.life = False, None
        else:
            self.leads, self.lease = False, None

    # --- agents ----------------------------------------------------------------------------------------------

    def work(self, cluster: str, name: str) -> WireWork:
        found = self.works.get(cluster, name)
        assert found is not None, f"{cluster} has {sorted(self.works.works_of(cluster))}"
        return found

    def say(
        self, cluster: str, name: str, phase: Phase = Phase.APPLIED, message: str = "", status: Any = None
    ) -> None:
        """The agent reports on one Work."""
        work = self.work(cluster, name)
        statuses: tuple[ManifestStatus, ...] = ()
        if phase == Phase.APPLIED:
            statuses = tuple(
                ManifestStatus(
                    at, ref.api_version, ref.kind, ref.kind.lower() + "s", ref.namespace, ref.name,
                    b"" if status is None else orjson.dumps(status), "Healthy",
                )
                for at, ref in enumerate(work.refs)
            )  # fmt: skip
        digest = hash_of_report(phase, message, [(s.health, status) for s in statuses])
        self.works.report(cluster, [WorkReport(name, work.uid, work.hash, phase, message, statuses, digest)])

    def obey(self, cluster: str) -> None:
        """The agent does all it is told and says so."""
        for name, work in list(self.works.works_of(cluster).items()):
            self.say(cluster, name, Phase.REMOVED if work.removing else Phase.APPLIED)

    async def _write(self, key: Key, obj: Object | None, expected: int) -> None:
        await self.cache.commit([Write(key.path(), None if obj is None else encode(obj), expected)])

    def _see(self) -> None:
        """The users' world is what the hub shows."""
        self.users.objects = {
            entry.key: entry.object
            for group, resource in self.cache.counts()
            for entry in self.cache.list(group, resource)
        }


@asynccontextmanager
async def running(
    store: MemoryStore | None = None,
    namespace_sync: NamespaceSync = "all",
    evictions_a_second: float = EVICTIONS_A_SECOND,
) -> AsyncIterator[Hub]:
    """A hub whose cache follows; its loop runs only in `settle`."""
    store = store or MemoryStore()
    await store.open()
    hub = Hub(store, namespace_sync, evictions_a_second)
    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(hub.cache.run(started))
        await started.wait()
        hub.placing.load()
        hub.works.load()
        stop = hub.loop.follow()
        hub.loop.enqueue_all()
        try:
            await hub.settle()
            yield hub
        finally:
            stop()
            following.cancel()
