"""Clusters that come, fall silent, flap and return, in a running hub whose clock the test turns."""

from __future__ import annotations

from typing import Any

from tests.controllers.hub import Hub, running
from tests.controllers.test_waking import Counted, edit, targets
from tests.decide.test_doubt import EVICT
from tests.decide.world import cluster, configmap, deployment, namespace, policy, selector
from towline.hub.decide.conditions import condition, rfc3339
from towline.hub.decide.doubt import EVICTIONS_HELD
from towline.hub.decide.health import ClusterFacts
from towline.hub.store.memory import MemoryStore
from towline.kube.names import RELEASE_EVICTIONS, TAINT_NOT_READY, TAINT_UNREACHABLE
from towline.kube.objects import Key, Object

DEPLOYMENTS = (("apps/v1", (("deployments", "Deployment"),)), ("v1", (("configmaps", "ConfigMap"),)))
FACTS = ClusterFacts("v1.32.1", True, "", DEPLOYMENTS, True)
DOWN = ClusterFacts("v1.32.1", False, "etcd is down", DEPLOYMENTS, True)
NOT_READY, UNREACHABLE = f"{TAINT_NOT_READY}:NoSchedule", f"{TAINT_UNREACHABLE}:NoSchedule"


def at(name: str) -> Key:
    return Key("cluster.karmada.io", "clusters", "", name)


def taints(hub: Hub, name: str) -> list[str]:
    found = (hub.get(at(name)) or {})["spec"].get("taints") or ()
    return [f"{taint['key']}:{taint['effect']}" for taint in found]


def says(hub: Hub, name: str, kind: str = "Ready") -> str | None:
    found = condition((hub.get(at(name)) or {}).get("status"), kind)
    return str(found["status"]) if found else None


async def meet(hub: Hub, *names: str, facts: ClusterFacts = FACTS) -> None:
    for name in names:
        hub.agents.add(name)
        hub.fleet.connected(name, hub.now())
        hub.fleet.facts(name, facts, hub.now())
    await hub.settle()


async def events(hub: Hub, reason: str) -> set[tuple[str, str]]:
    """On whom and what."""
    await hub.recorder.flush()
    found = [entry.object for entry in hub.cache.list("", "events")]
    return {(e["involvedObject"]["name"], e["message"]) for e in found if e["reason"] == reason}


async def test_what_waits_for_a_new_cluster_is_placed_with_its_first_facts() -> None:
    """One commit brings APIs and takes the taint, so one decision is enough: a second would wait for its backoff."""
    async with running() as hub:
        await hub.put(namespace("shop"), {**cluster("m1"), "status": {}})
        await hub.put(policy("web", [selector(deployment())]), deployment())
        await hub.settle()
        assert taints(hub, "m1") == [NOT_READY] and targets(hub) == {}
        assert ("m1", f"Taint cluster succeed: cluster now has taints([{{Key:{TAINT_NOT_READY},Effect:NoSchedule}}]).") in await events(hub, "TaintClusterSucceed")  # fmt: skip
        await hub.later(1)
        counted = Counted(hub)
        await meet(hub, "m1")
        assert taints(hub, "m1") == [] and targets(hub) == {"m1": 3}
        assert counted.since()["web"] <= 2, "decided, and looked at once more after its own write"


async def test_a_lost_cluster_gets_no_new_work_and_gets_it_when_it_returns() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), *({**cluster(name), "status": {}} for name in ("m1", "m2", "m3")))
        await meet(hub, "m1", "m2", "m3")
        await hub.put(policy("all", [selector(deployment()), selector(configmap())]), deployment())
        await hub.settle()
        hub.agents.remove("m1")
        hub.fleet.disconnected("m1", hub.now())
        for _ in range(4):
            assert says(hub, "m1") == "True", "within the grace"
            await hub.later(10)
        assert says(hub, "m1") == "Unknown" and taints(hub, "m1") == [UNREACHABLE]
        assert says(hub, "m1", EVICTIONS_HELD) is None, "one of three is no reason for doubt"
        await hub.put(configmap())
        await hub.settle()
        assert targets(hub, "settings-configmap").keys() == {"m2", "m3"}
        assert targets(hub).keys() == {"m1", "m2", "m3"}, "what is there stays"
        await meet(hub, "m1")
        assert says(hub, "m1") == "True" and taints(hub, "m1") == []
        assert targets(hub, "settings-configmap").keys() == {"m1", "m2", "m3"}


async def test_an_api_server_that_is_down_counts_after_the_threshold_and_heals_after_it() -> None:
    async with running() as hub:
        await hub.put({**cluster("m1"), "status": {}})
        await meet(hub, "m1")
        await meet(hub, "m1", facts=DOWN)
        await hub.later(29)
        await meet(hub, "m1")
        await meet(hub, "m1", facts=DOWN)
        await hub.later(29)
        assert says(hub, "m1") == "True", "it was not down for so long at a stretch"
        await hub.later(1)
        assert says(hub, "m1") == "False" and taints(hub, "m1") == [NOT_READY]
        ((_, message),) = await events(hub, "ClusterNotReady")
        assert message.endswith("etcd is down")
        await meet(hub, "m1")
        await hub.later(29)
        assert says(hub, "m1") == "False"
        await hub.later(1)
        assert says(hub, "m1") == "True" and taints(hub, "m1") == []


async def test_who_takes_the_taint_away_gets_it_back() -> None:
    async with running() as hub:
        await hub.put({**cluster("m1"), "status": {}})
        await hub.settle()
        await edit(
            hub, at("m1"), lambda obj: obj["spec"].update(taints=[{"key": "a", "effect": "NoExecute"}])
        )
        await hub.settle()
        assert taints(hub, "m1") == ["a:NoExecute", NOT_READY]


# --- doubt ---------------------------------------------------------------------------------------------------

LOST = "lost:NoExecute"


async def lose(hub: Hub, *names: str) -> None:
    """They are cut off, one after the other, and their grace ends."""
    for name in names:
        hub.agents.discard(name)
        hub.fleet.disconnected(name, hub.now())
        await hub.later(1)
    for _ in range(50):
        await hub.later(1)


async def a_fleet(hub: Hub, *names: str, **objects: Object) -> None:
    await hub.put(EVICT, *({**cluster(name), "status": {}} for name in names), *objects.values())
    await meet(hub, *names)
    await hub.later(100)


async def test_a_hub_that_loses_a_few_taints_at_once() -> None:
    async with running() as hub:
        await a_fleet(hub, "m1", "m2", "m3")
        await lose(hub, "m1")
        assert taints(hub, "m1") == [UNREACHABLE, LOST]
        assert await events(hub, "TaintClusterSucceed") >= {
            ("m1", "Update Cluster(m1) with taints(cluster now has taints([{Key:cluster.karmada.io/unreachable,"
                   "Effect:NoSchedule},{Key:lost,Effect:NoExecute}])) succeed")
        }  # fmt: skip


async def test_a_hub_that_loses_most_doubts_until_an_operator_says_so() -> None:
    async with running() as hub:
        await a_fleet(hub, "m1", "m2", "m3")
        await lose(hub, "m1", "m2")
        for name in ("m1", "m2"):
            assert taints(hub, name) == [UNREACHABLE] and says(hub, name, EVICTIONS_HELD) == "True"
        ((_, why), *_) = sorted(await events(hub, "MostAgentsLost"))
        assert why.startswith("2 of 3 clusters were lost within a minute")
        await hub.later(100_000)
        assert taints(hub, "m1") == [UNREACHABLE], "a doubt does not end by itself"

        def release(obj: Any) -> None:
            obj["metadata"]["annotations"] = {RELEASE_EVICTIONS: rfc3339(hub.now())}

        await edit(hub, at("m1"), release)
        await hub.settle()
        assert taints(hub, "m1") == [UNREACHABLE, LOST] and says(hub, "m1", EVICTIONS_HELD) == "False"
        assert taints(hub, "m2") == [UNREACHABLE], "nobody said so of this one"


async def test_a_doubt_ends_when_most_are_back_and_stay() -> None:
    async with running() as hub:
        await a_fleet(hub, "m1", "m2", "m3")
        await lose(hub, "m1", "m2", "m3")
        assert {says(hub, name, EVICTIONS_HELD) for name in ("m1", "m2", "m3")} == {"True"}
        await meet(hub, "m2", "m3")
        assert says(hub, "m2", EVICTIONS_HELD) == "False" and taints(hub, "m2") == []
        await hub.later(30)
        assert says(hub, "m1", EVICTIONS_HELD) == "True" and taints(hub, "m1") == [UNREACHABLE]
        await hub.later(30)
        assert says(hub, "m1", EVICTIONS_HELD) == "False" and taints(hub, "m1") == [UNREACHABLE, LOST]


async def test_a_doubt_survives_a_restart() -> None:
    store = MemoryStore()
    async with running(store) as hub:
        await a_fleet(hub, "m1", "m2", "m3")
        await lose(hub, "m1", "m2")
        now = hub.now()
    async with running(store) as hub:
        hub.users.now = hub.fleet.started = now + 1000
        await meet(hub, "m3")
        for _ in range(20):
            await hub.later(10)
        assert taints(hub, "m1") == taints(hub, "m2") == [UNREACHABLE] and taints(hub, "m3") == []
        assert says(hub, "m1", EVICTIONS_HELD) == "True"


async def test_at_rest_a_fleet_in_doubt_is_not_written_to() -> None:
    async with running() as hub:
        await a_fleet(hub, "m1", "m2", "m3")
        await lose(hub, "m1", "m2")
        commits = hub.cache.commits
        await hub.later(1000)
        hub.loop.enqueue_all()
        await hub.settle()
        assert hub.cache.commits == commits
