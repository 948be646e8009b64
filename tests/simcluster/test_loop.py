"""The shell around the rules, on a real cache and store."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.simcluster.harness import workload
from towline.hub.sim.loop import WorkloadLoop
from towline.hub.sim.round import Pace
from towline.hub.sim.supplies import node
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Write
from towline.hub.store.memory import MemoryStore
from towline.kube import builtin
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object, encode, with_metadata

NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}


class Cluster:
    def __init__(self, cache: Cache, kinds: KindTable) -> None:
        self.cache = cache
        self.kinds = kinds
        self.commits = 0
        cache.subscribe(self._count)

    async def apply(self, *objects: Object) -> None:
        writes = []
        for obj in objects:
            kind = self.kinds.of_object(obj)
            assert kind is not None
            if kind.namespaced:
                obj = with_metadata(obj, namespace="default")
            stored = self.cache.get(kind.key_of(obj))
            uid = stored.meta.uid if stored else str(uuid.uuid4())
            obj = with_metadata(obj, uid=uid, generation=1)
            writes.append(Write(kind.key_of(obj).path(), encode(obj), stored.revision if stored else 0))
        await self.cache.commit(writes)

    async def until(self, check: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not check():
                await self.cache.wait(self.cache.revision + 1, seconds)

    def ready(self) -> int:
        deployments = [e.object for e in self.cache.list("apps", "deployments")]
        return sum(bool((d.get("status") or {}).get("availableReplicas")) for d in deployments)

    def _count(self, revision: int, events: object) -> None:
        self.commits += 1


@asynccontextmanager
async def running(**pace: float) -> AsyncIterator[Cluster]:
    kinds = KindTable.of(builtin.kinds())
    store = MemoryStore()
    await store.open()
    cache = Cache(store, kinds)
    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(cache.run(started))
        await started.wait()
        cluster = Cluster(cache, kinds)
        await cluster.apply(NAMESPACE)
        amounts: dict[str, Any] = {"cpu": "64", "memory": "256Gi", "pods": 1000, "version": "v1.32.0"}
        stamp = "2023-11-14T22:13:20Z"
        await cluster.apply(*(node(i, stamp, region="", zones=(), **amounts) for i in range(3)))
        loop = WorkloadLoop(cache, now=time.time, new_uid=lambda: str(uuid.uuid4()), pace=Pace(**pace))
        working = tasks.create_task(loop.run())
        yield cluster
        working.cancel()
        await store.close()
        following.cancel()


async def test_what_was_there_before_the_loop_is_taken_up() -> None:
    async with running() as cluster:
        await cluster.until(
            lambda: cluster.cache.get(Key("", "serviceaccounts", "default", "default")) is not None
        )


async def test_two_hundred_deployments_at_once_cost_little() -> None:
    async with running(ready_seconds=0.2) as cluster:
        begin = time.process_time()
        for start in range(0, 200, 100):
            names = [f"d{i}" for i in range(start, start + 100)]
            await cluster.apply(*(workload("Deployment", name, replicas=2) for name in names))
        await cluster.until(lambda: cluster.ready() == 200, 20)
        assert time.process_time() - begin < 3.0  # about 0.4 s; the bound is for a loaded machine
        assert len(cluster.cache.list("", "pods")) == 400


async def test_nothing_happens_at_rest() -> None:
    async with running(ready_seconds=0.05) as cluster:
        await cluster.apply(workload("Deployment", replicas=2))
        await cluster.until(lambda: cluster.ready() == 1)
        await asyncio.sleep(0.1)
        commits, begin = cluster.commits, time.process_time()
        await asyncio.sleep(0.3)
        assert cluster.commits == commits
        assert time.process_time() - begin < 0.1


async def test_writes_of_others_in_between_are_not_lost() -> None:
    async with running(ready_seconds=0.05) as cluster:
        deployment = workload("Deployment", replicas=1)
        await cluster.apply(deployment)
        for count in range(40):  # each may meet a round that has decided on the one before
            entry = cluster.cache.get(Key("apps", "deployments", "default", "web"))
            assert entry is not None
            changed = with_metadata(entry.object, annotations={"count": str(count)})
            try:
                await cluster.cache.commit([Write(entry.key.path(), encode(changed), entry.revision)])
            except Exception as error:
                assert type(error).__name__ == "Conflict"
            await asyncio.sleep(0.002)
        await cluster.until(lambda: cluster.ready() == 1)


async def test_an_object_that_no_rule_can_digest_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(ready_seconds=0) as cluster:
        with caplog.at_level(logging.ERROR):
            bad = workload("Deployment", "bad", strategy={"rollingUpdate": {"maxSurge": "many%"}})
            await cluster.apply(bad, workload("Deployment", "good", replicas=1))
            await cluster.until(lambda: cluster.ready() == 1)
        assert "deployments.apps default/bad" in caplog.text
