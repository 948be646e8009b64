"""Eviction in a running hub: what wakes it, the rate, a restart in the middle."""

from __future__ import annotations

from tests.controllers.hub import Hub, running
from tests.decide.failing import ONE_OF_ALL
from tests.decide.test_propagation import BINDING
from tests.decide.world import cluster, deployment, namespace, policy, selector
from towline.hub.controllers.evicting import EVICTIONS_A_SECOND
from towline.hub.decide.moving import Holds
from towline.hub.store.fleet import ClusterFacts
from towline.hub.store.memory import MemoryStore
from towline.kube.names import TAINT_DRAIN
from towline.kube.objects import Key, Object

SILENT_SECONDS = 41
"""After so long without a word a cluster is lost."""
STEP_SECONDS = 10


async def a_hub(hub: Hub, count: int = 1, failover: Object | None = None) -> list[Key]:
    """`count` Deployments, each with a copy in m1."""
    templates = [deployment(f"web{n}") for n in range(count)]
    rule = policy("all", [selector(templates[0])], ONE_OF_ALL, failover=failover or {"cluster": {}})
    await hub.put(namespace("shop"), cluster("m1"), cluster("m2"), rule, *templates)
    await hub.settle()
    hub.obey("m1")
    await later(hub, 1 / EVICTIONS_A_SECOND)
    return [Key(*BINDING[:3], f"web{n}-deployment") for n in range(count)]


async def later(hub: Hub, seconds: float, *heard: str) -> None:
    """The agents of these clusters (or of both) are heard all the time; the sessions of others have ended."""
    for name in {"m1", "m2"} - set(heard or ("m1", "m2")):
        hub.fleet.disconnected(name, hub.now())
    while seconds > 0:
        step = min(seconds, STEP_SECONDS)
        hub.users.now += step
        seconds -= step
        for name in heard or ("m1", "m2"):
            contact = hub.fleet.contact(name)
            if contact is None or not contact.connected:
                hub.fleet.connected(name, hub.now())
            hub.fleet.facts(name, ClusterFacts("v1.32.0", api_server_ready=True), hub.now())
        await hub.settle()


async def drain(hub: Hub, name: str) -> None:
    await hub.put(cluster(name, taints=[{"key": TAINT_DRAIN, "effect": "NoExecute"}]))
    await hub.settle()


def targets(hub: Hub, key: Key) -> list[str]:
    binding = hub.get(key)
    assert binding is not None
    return [target["name"] for target in binding["spec"].get("clusters") or ()]


def tasks(hub: Hub, key: Key) -> list[str]:
    binding = hub.get(key)
    assert binding is not None
    return [task["fromCluster"] for task in binding["spec"].get("gracefulEvictionTasks") or ()]


async def test_a_lost_cluster_is_left_and_the_old_copy_goes_when_the_new_one_is_there() -> None:
    async with running() as hub:
        (web,) = await a_hub(hub)
        await later(hub, SILENT_SECONDS + 290, "m2")
        assert targets(hub, web) == ["m1"]
        await later(hub, 20, "m2")
        assert targets(hub, web) == ["m2"] and tasks(hub, web) == ["m1"]
        hub.obey("m2")
        await later(hub, 1, "m2")
        assert tasks(hub, web) == []
        hub.obey("m1")
        await later(hub, 1)
        binding = hub.get(web)
        assert binding is not None
        assert [e["clusterName"] for e in binding["status"]["aggregatedStatus"]] == ["m2"]


async def test_timers_survive_a_restart() -> None:
    store = MemoryStore()
    async with running(store) as hub:
        (web,) = await a_hub(hub)
        await later(hub, SILENT_SECONDS + 250, "m2")
        now = hub.now()
    async with running(store) as hub:
        restart_at(hub, now)
        await later(hub, 30, "m2")
        assert targets(hub, web) == ["m1"]
        await later(hub, 30, "m2")
        assert targets(hub, web) == ["m2"] and tasks(hub, web) == ["m1"]
        now = hub.now()
    async with running(store) as hub:
        restart_at(hub, now)
        await later(hub, 10, "m2")
        assert tasks(hub, web) == ["m1"], "in the middle of an eviction"
        hub.obey("m2")
        await later(hub, 1, "m2")
        assert tasks(hub, web) == []


async def test_a_hub_that_just_started_waits_for_its_agents() -> None:
    """It was away when the cluster came back."""
    store = MemoryStore()
    async with running(store) as hub:
        (web,) = await a_hub(hub)
        await later(hub, SILENT_SECONDS + 100, "m2")
        now = hub.now() + 1000
    async with running(store) as hub:
        restart_at(hub, now)
        await later(hub, 20, "m2")
        await later(hub, 1000)
        assert targets(hub, web) == ["m1"]


def restart_at(hub: Hub, now: float) -> None:
    hub.users.now = hub.fleet.started = now
    hub.loop.enqueue_all()


async def test_so_many_leave_in_a_time() -> None:
    async with running() as hub:
        webs = await a_hub(hub, 5)
        await drain(hub, "m1")
        moved = []
        for _ in range(5):
            moved.append(sum(targets(hub, web) == ["m2"] for web in webs))
            await later(hub, 1 / EVICTIONS_A_SECOND)
        assert moved == [1, 2, 3, 4, 5]


async def test_hubs_that_start_or_take_the_lead_again_and_again_evict_no_faster() -> None:
    async with running() as hub:
        webs = await a_hub(hub, 4)
        await drain(hub, "m1")
        moved = []
        for _ in range(6):
            moved.append(sum(targets(hub, web) == ["m2"] for web in webs))
            hub.loop.enqueue_all()
            await later(hub, 0.5 / EVICTIONS_A_SECOND)
        assert moved == [1] * 6, "each went before it had been there for a turn"
        await later(hub, 10 / EVICTIONS_A_SECOND)
        assert all(targets(hub, web) == ["m2"] for web in webs)


async def test_a_new_cluster_wakes_what_had_nowhere_to_go() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"), deployment("web0"))
        await hub.put(policy("all", [selector(deployment())], ONE_OF_ALL))
        await hub.settle()
        web = Key(*BINDING[:3], "web0-deployment")
        await drain(hub, "m1")
        assert "EvictionBlocked" in str(hub.get(web))
        await later(hub, 30, "m1")
        await hub.put(cluster("m2"))
        await later(hub, 10)
        assert targets(hub, web) == ["m2"]
        assert hub.get(web) and "EvictionBlocked" not in str(hub.get(web))


async def test_what_tolerates_a_drain_no_more_leaves() -> None:
    async with running() as hub:
        every = {**ONE_OF_ALL, "clusterTolerations": [{"operator": "Exists"}]}
        await hub.put(namespace("shop"), cluster("m1"), cluster("m2"), deployment("web0"))
        await hub.put(policy("all", [selector(deployment())], every))
        await hub.settle()
        web = Key(*BINDING[:3], "web0-deployment")
        await drain(hub, "m1")
        await later(hub, 5)
        assert targets(hub, web) == ["m1"]
        await hub.put(policy("all", [selector(deployment())], ONE_OF_ALL))
        await later(hub, 5)
        assert targets(hub, web) == ["m2"]


async def test_a_hub_that_lost_most_of_its_agents_evicts_nothing() -> None:
    async with running() as hub:
        (web,) = await a_hub(hub)
        await hub.put(cluster("m3"))
        await later(hub, 10, "m1", "m2", "m3")
        await later(hub, SILENT_SECONDS + 400, "m3")
        assert targets(hub, web) == ["m1"]
        await later(hub, 100, "m2", "m3")
        assert targets(hub, web) == ["m2"], "the other is back: this one is lost"


async def test_what_holds_an_eviction_back_can_be_asked() -> None:
    async with running() as hub:
        webs = await a_hub(hub, 3)
        await drain(hub, "m1")
        seconds = [hub.world.holds(web, hub.now()).turn_seconds for web in webs]
        assert seconds == [None, 1 / EVICTIONS_A_SECOND, 2 / EVICTIONS_A_SECOND]
        settled_at = hub.fleet.started + hub.fleet.limits.monitor_grace_seconds
        assert hub.world.holds(webs[0], hub.now()) == Holds(frozenset(), settled_at, None)
        await hub.put(cluster("m3"))
        await later(hub, 10, "m1", "m2", "m3")
        await later(hub, SILENT_SECONDS + 10, "m3")
        assert hub.world.holds(webs[0], hub.now()).doubted == {"m1", "m2"}


async def test_with_no_rate_nothing_leaves_and_what_stays_does_not_queue() -> None:
    async with running(evictions_a_second=0.0) as hub:
        (web,) = await a_hub(hub)
        await drain(hub, "m1")
        await later(hub, 3600)
        assert targets(hub, web) == ["m1"]
        assert hub.world.holds(web, hub.now()).turn_seconds == float("inf")


async def test_who_is_to_leave_no_more_gives_up_its_place() -> None:
    async with running() as hub:
        first, second, third = await a_hub(hub, 3)
        await drain(hub, "m1")
        assert [targets(hub, web) for web in (first, second, third)] == [["m2"], ["m1"], ["m1"]]
        await hub.put(cluster("m1"))
        await later(hub, 1)
        assert hub.world.holds(second, hub.now()).turn_seconds is None
        await later(hub, 100)
        assert targets(hub, second) == ["m1"]


async def test_half_of_the_sessions_at_another_hub_are_no_loss_until_that_hub_is() -> None:
    async with running() as hub:
        (web,) = await a_hub(hub)
        await hub.put(cluster("m3"), cluster("m4"))
        await later(hub, 10, "m1", "m2", "m3", "m4")
        for name in ("m3", "m4"):
            hub.fleet.disconnected(name, hub.now())
            hub.fleet.at_another_hub(name, True, hub.now())
        await later(hub, SILENT_SECONDS + 10, "m2")
        found = hub.world.doubt(hub.now())
        assert found is None, "one of four is lost, whoever holds the others' sessions"
        for name in ("m3", "m4"):
            hub.fleet.at_another_hub(name, False, hub.now())
        await later(hub, 10, "m2")
        found = hub.world.doubt(hub.now())
        assert found is not None and (found.lost, found.of, found.clusters) == (3, 4, frozenset({"m1"})), (
            "they may be about to be lost"
        )
        await later(hub, 40, "m2")
        found = hub.world.doubt(hub.now())
        assert found is not None and found.clusters == {"m1", "m3", "m4"}
        await later(hub, 400, "m2")
        assert targets(hub, web) == ["m1"]
        for name in ("m3", "m4"):
            hub.fleet.connected(name, hub.now())
        await later(hub, 400, "m2", "m3", "m4")
        assert targets(hub, web) == ["m2"]
