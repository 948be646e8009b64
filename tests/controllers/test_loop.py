"""The loop on a real cache and a memory store: what users do, what members answer, how many commits it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from tests.controllers.hub import Hub, running
from tests.decide.world import cluster, configmap, deployment, namespace, policy, selector
from towline.hub.controllers.loop import Loop
from towline.hub.controllers.table import CAPACITY_SECONDS, CONTROLLERS
from towline.hub.controllers.world import Controller, World
from towline.hub.decide import policies
from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.plan import Plan, Put
from towline.hub.decide.wire import Phase
from towline.hub.store.contract import Conflict, Lease, Unavailable, Write
from towline.hub.store.memory import MemoryStore
from towline.kube import names
from towline.kube.objects import Key, finalizers_of, revision_of

WEB = Key("apps", "deployments", "shop", "web")
BINDING = Key("work.karmada.io", "resourcebindings", "shop", "web-deployment")
WORK = names.work_name("shop", "web", "Deployment")
SPACE = names.work_name("", "shop", "Namespace")
M1 = Key("cluster.karmada.io", "clusters", "", "m1")
WEB_POLICY = policy("web", [selector(deployment())])


async def fleet(hub: Hub, *clusters: str) -> None:
    await hub.put(namespace("shop"), *(cluster(name) for name in clusters or ("m1", "m2")))
    await hub.settle()


async def test_two_commits_from_apply_to_the_works() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY)
        await hub.settle()
        before = hub.cache.revision
        await hub.put(deployment())
        assert hub.works.get("m1", WORK) is None
        await hub.settle()
        assert hub.cache.revision == before + 2
        assert hub.work("m1", WORK).manifests and hub.work("m2", WORK).manifests
        binding = hub.get(BINDING)
        assert binding is not None and binding["metadata"]["uid"] and binding["metadata"]["creationTimestamp"]


async def test_policy_first_or_template_first() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(deployment(), configmap())
        await hub.settle()
        assert hub.get(BINDING) is None
        await hub.put(WEB_POLICY)
        await hub.settle()
        assert hub.work("m2", WORK)
        assert hub.get(Key("work.karmada.io", "resourcebindings", "shop", "settings-configmap")) is None


async def test_room_is_written_at_once_and_then_only_now_and_then() -> None:
    async with running() as hub:
        await fleet(hub)

        async def counted(*pods: int) -> None:
            for count in pods:
                hub.fleet.capacity("m1", ClusterCapacity(1, 1, {}, {}, {"pods": count}), hub.now())
                await hub.settle()

        def written() -> str:
            status = (hub.get(M1) or {}).get("status") or {}
            pods: str = status["resourceSummary"]["allocated"]["pods"]
            return pods

        before = hub.cache.revision
        await counted(1, 2, 3)
        assert (written(), hub.cache.revision) == ("1", before + 1), "the first at once"
        await hub.later(CAPACITY_SECONDS - 0.1)
        await counted(4)
        assert written() == "1"
        await hub.later(0.2)
        assert (written(), hub.cache.revision) == ("4", before + 2), "then the latest, when its time has come"
        await hub.later(CAPACITY_SECONDS)
        await counted(4)
        assert hub.cache.revision == before + 2


async def test_status_comes_back_and_is_coalesced() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment())
        await hub.settle()
        await hub.later(1)
        before = hub.cache.revision
        for ready in range(1, 4):
            hub.say("m1", WORK, status={"replicas": 3, "readyReplicas": ready})
            hub.say("m2", WORK, status={"replicas": 3, "readyReplicas": ready})
            await hub.settle()
        assert hub.cache.revision == before + 1, "the first at once, the others wait for their time"
        await hub.later(0.3)
        assert hub.cache.revision == before + 2
        template, binding = hub.get(WEB), hub.get(BINDING)
        assert template is not None and binding is not None
        assert template["status"]["replicas"] == 6 and template["status"]["readyReplicas"] == 6
        entries = binding["status"]["aggregatedStatus"]
        assert [entry["status"]["readyReplicas"] for entry in entries] == [3, 3]
        assert hub.works.reports_of(BINDING) == {}, "what is stored is forgotten"


async def test_everything_goes_in_the_right_order() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment())
        await hub.settle()
        for name in ("m1", "m2"):
            hub.obey(name)
        await hub.later(1)
        await hub.delete(WEB)
        await hub.settle()
        assert hub.work("m1", WORK).removing
        hub.say("m1", WORK, Phase.REMOVED)
        await hub.later(1)
        assert hub.get(WEB) is not None
        hub.say("m2", WORK, Phase.REMOVED)
        await hub.later(1)
        assert hub.get(WEB) is None and hub.get(BINDING) is None
        assert WORK not in hub.works.works_of("m1")


async def test_a_deleted_policy_goes_and_leaves_the_copies() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment())
        await hub.settle()
        key = hub.users.key(WEB_POLICY)
        await hub.delete(key)
        await hub.settle()
        assert hub.get(key) is None
        template, binding = hub.get(WEB), hub.get(BINDING)
        assert template is not None and policies.claim_of(template) is None
        assert binding is not None and not hub.work("m1", WORK).removing


async def test_a_new_cluster_gets_what_follows_the_clusters() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment())
        await hub.settle()
        await hub.put(cluster("m3"))
        await hub.settle()
        assert hub.work("m3", WORK) and hub.work("m3", SPACE)


async def test_a_cluster_leaves_when_its_agent_let_everything_go() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment())
        await hub.settle()
        assert hub.get(Key("", "namespaces", "", "karmada-es-m1")) is not None
        await hub.delete(M1)
        await hub.later(1)
        assert hub.work("m1", WORK).removing and not hub.work("m1", WORK).preserve
        assert hub.work("m1", SPACE).removing and hub.work("m1", SPACE).preserve, (
            "an exit only lets go of namespaces"
        )
        assert hub.get(M1) is not None
        hub.obey("m1")
        await hub.later(1)
        assert hub.get(M1) is None and hub.get(Key("", "namespaces", "", "karmada-es-m1")) is None
        assert not hub.work("m2", WORK).removing


async def test_a_namespace_takes_its_contents_along_and_goes_last() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment(), configmap())
        await hub.settle()
        await hub.users_delete_namespace("shop")
        await hub.later(1)
        assert hub.get(Key("", "configmaps", "shop", "settings")) is None
        assert hub.work("m1", WORK).removing and not hub.work("m1", SPACE).removing
        for name in ("m1", "m2"):
            hub.say(name, WORK, Phase.REMOVED)
        await hub.later(1)
        assert hub.get(WEB) is None and hub.work("m1", SPACE).removing
        hub.say("m1", SPACE, Phase.REMOVED)
        await hub.later(1)
        assert hub.get(Key("", "namespaces", "", "shop")) is not None
        hub.say("m2", SPACE, Phase.REMOVED)
        await hub.later(1)
        assert hub.get(Key("", "namespaces", "", "shop")) is None
        assert hub.works.works_of("m1") == {}


async def test_a_restart_computes_the_same_works_and_writes_nothing() -> None:
    store = MemoryStore()
    async with running(store) as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment())
        await hub.settle()
        for name in ("m1", "m2"):
            hub.obey(name)
        await hub.later(1)
        before = {
            name: (work.uid, work.hash, work.report_hash) for name, work in hub.works.works_of("m1").items()
        }
        revision = hub.cache.revision
    async with running(store) as again:
        after = {
            name: (work.uid, work.hash, work.report_hash) for name, work in again.works.works_of("m1").items()
        }
        assert {name: seen[:2] for name, seen in after.items()} == {
            name: seen[:2] for name, seen in before.items()
        }
        assert after[WORK] == before[WORK], "what was reported is durably known"
        await again.later(1)
        assert again.cache.revision == revision, "at rest nothing is written"


async def test_two_hundred_at_once_share_commits_in_flight() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY)
        await hub.settle()
        for at in range(200):
            await hub.put(deployment(f"web-{at}"))
        before, most = hub.cache.revision, 0
        commit = hub.cache.commit
        under_way = 0

        async def counted(writes: Sequence[Write], *, fence: Lease | None = None) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                await asyncio.sleep(0)
                return await commit(writes, fence=fence)
            finally:
                under_way -= 1

        hub.cache.commit = counted  # type: ignore[method-assign]
        await hub.settle()
        assert hub.cache.revision == before + 200
        assert 8 < most <= 32
        assert len(hub.works.works_of("m1")) == 201


async def test_a_conflict_decides_again() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment())
        commit, refused = hub.cache.commit, 0

        async def refusing(writes: Sequence[Write], *, fence: Lease | None = None) -> int:
            nonlocal refused
            if refused < 3:
                refused += 1
                raise Conflict([writes[0].key])
            return await commit(writes, fence=fence)

        hub.cache.commit = refusing  # type: ignore[method-assign]
        await hub.settle()
        assert refused == 2, "the first conflict is decided again at once, the next one after a pause"
        await hub.later(1)
        await hub.later(1)
        assert refused == 3 and hub.work("m1", WORK)


async def test_an_unreachable_store_is_retried_with_backoff_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(WEB_POLICY)
        await hub.settle()
        await hub.put(deployment())
        commit = hub.cache.commit

        async def away(writes: Sequence[Write], *, fence: Lease | None = None) -> int:
            raise Unavailable("no route")

        hub.cache.commit = away  # type: ignore[method-assign]
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                await hub.later(1)
        assert (
            [r.message for r in caplog.records].count(caplog.records[0].message) == 1 == len(caplog.records)
        )
        assert "propagation cannot settle deployments.apps shop/web" in caplog.text
        hub.cache.commit = commit  # type: ignore[method-assign]
        await hub.later(61)
        assert hub.work("m1", WORK)


async def test_a_change_whose_keys_cannot_be_told_loses_none(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as hub:
        await fleet(hub)
        decided: list[str] = []

        def decide(world: object, key: Key, now: float) -> Plan:
            decided.append(key.name)
            return Plan()

        def lost(world: object, event: object) -> Sequence[Key]:
            raise LookupError("no such index")

        row = Controller("odd", decide=decide, initial=lambda world: [WEB, M1], on_change=lost)
        loop = Loop(hub.loop._world, hub.recorder, now=hub.now, new_uid=hub.users.new_uid, controllers=[row])
        stop = loop.follow()
        await hub.put(configmap())
        await loop.settle()
        stop()
        assert decided == ["web", "m1"] or decided == ["m1", "web"]
        assert "all is decided anew" in caplog.text


async def test_a_decision_that_raises_hurts_only_its_key(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as hub:
        real = CONTROLLERS[0]

        def broken(world: World, key: Key, now: float) -> Plan:
            if key.name == "bad":
                raise ZeroDivisionError("oh")
            return real.decide(world, key, now)

        row = Controller("propagation", broken, real.initial, real.on_change)
        loop = Loop(hub.loop._world, hub.recorder, now=hub.now, new_uid=hub.users.new_uid, controllers=[row])
        await fleet(hub)
        await hub.put(WEB_POLICY, deployment("bad"), deployment())
        with caplog.at_level(logging.WARNING):
            loop.enqueue_all()
            await loop.settle()
            hub.users.now += 1
            await loop.settle()
        assert hub.work("m1", WORK)
        assert len(caplog.records) == 1 and "ZeroDivisionError: oh" in caplog.text


async def test_plans_for_the_same_row_never_overlap() -> None:
    async with running() as hub:
        await hub.put(configmap())
        target = Key("", "configmaps", "shop", "settings")
        inside = 0

        def append(world: object, key: Key, now: float) -> Plan:
            obj = hub.get(target)
            assert obj is not None
            if key.name in (obj.get("data") or {}):
                return Plan()
            changed = {**obj, "data": {**(obj.get("data") or {}), key.name: "x"}}
            return Plan((Put(target, changed, revision_of(obj)),))

        commit = hub.cache.commit

        async def watched(writes: Sequence[Write], *, fence: Lease | None = None) -> int:
            nonlocal inside
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            revision = await commit(writes, fence=fence)
            inside -= 1
            return revision

        hub.cache.commit = watched  # type: ignore[method-assign]
        keys = [Key("", "things", "", name) for name in "abcdef"]
        row = Controller("append", append, lambda world: keys, lambda world, event: ())
        loop = Loop(hub.loop._world, hub.recorder, now=hub.now, new_uid=hub.users.new_uid, controllers=[row])
        loop.enqueue_all()
        await loop.settle()
        assert set((hub.get(target) or {})["data"]) == set("abcdef")
        assert loop.commits["append"] == 6, "no conflict was paid for"


async def test_a_story_is_kept_and_says_why() -> None:
    async with running() as hub:
        await fleet(hub)
        await hub.put(
            policy("web", [selector(deployment())], {"clusterAffinity": {"clusterNames": ["m2"]}}),
            deployment(),
        )
        await hub.settle()
        assert hub.loop.details(WEB)[0].data()["clusters"]["m1"]["filter"] == "ClusterAffinity"
        written = [chapter for chapter in hub.loop.story(WEB) if chapter.writes]
        assert len(written) == 1 and len(written[0].writes) == 2 and written[0].controller == "propagation"


async def test_the_decision_that_placed_it_stays_on_record() -> None:
    async with running() as hub:
        await fleet(hub)
        wherever = policy("web", [selector(deployment())], {"clusterAffinity": {"clusterNames": ["m2"]}})
        await hub.put(wherever, deployment())
        await hub.settle()
        placed = hub.loop.recorded(WEB)
        assert placed is not None and placed.reasons["scheduling"] == "never scheduled"
        await hub.put(cluster("m9"))
        await hub.settle()
        assert hub.loop.recorded(WEB) is placed, "deciding the same again is no news"
        await hub.put({**wherever, "spec": {**wherever["spec"], "placement": {}}})
        await hub.settle()
        moved = hub.loop.recorded(WEB)
        assert moved is not None and moved.reasons["scheduling"] == "the placement changed"


async def test_run_follows_changes_until_cancelled() -> None:
    async with running() as hub:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(hub.loop.run())
            await fleet(hub)
            await hub.put(WEB_POLICY, deployment())
            async with asyncio.timeout(5):
                while hub.works.get("m1", WORK) is None:
                    await asyncio.sleep(0)
            task.cancel()
        assert finalizers_of(hub.get(WEB) or {}) == [names.PROPAGATION_FINALIZER]


async def test_a_plan_that_cannot_be_written_hurts_only_its_key(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as hub:
        await hub.put(configmap())
        target = Key("", "configmaps", "shop", "settings")

        def twice(world: object, key: Key, now: float) -> Plan:
            obj = hub.get(target) or {}
            put = Put(target, obj, revision_of(obj))
            return Plan((put, put))

        row = Controller("twice", twice, lambda world: [target], lambda world, event: ())
        loop = Loop(hub.loop._world, hub.recorder, now=hub.now, new_uid=hub.users.new_uid, controllers=[row])
        with caplog.at_level(logging.WARNING):
            loop.enqueue_all()
            await loop.settle()
        assert "twice cannot settle configmaps shop/settings" in caplog.text and loop.queue.running == 0
