"""Failback in a running hub: what wakes it, how many at a time and in which order, a restart in the middle."""

from __future__ import annotations

from typing import Any

from tests.controllers.hub import Hub, running
from tests.controllers.test_evicting import SILENT_SECONDS, later, restart_at, targets, tasks
from tests.decide.failing import ONE_OF_ALL
from tests.decide.test_propagation import BINDING
from tests.decide.world import cluster, deployment, namespace, policy, selector
from towline.hub.controllers import returning
from towline.hub.decide.failback import RETRY_SECONDS
from towline.hub.store.memory import MemoryStore
from towline.kube.objects import Key, Object

STABLE_SECONDS = 60


def failback(most: int) -> Object:
    said = {"mode": "Return", "stabilizationSeconds": STABLE_SECONDS, "maxConcurrent": most}
    return {"cluster": {"failback": said}}


async def moved(hub: Hub, names: list[str], most: int = 5, urgent: str = "") -> list[Key]:
    """Deployments whose copies moved from m1, which is lost, to m2."""
    await hub.put(namespace("shop"), cluster("m1"), cluster("m2"))
    await hub.put(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "high"},
            "value": 9,
        }
    )
    for name in names:
        more: dict[str, Any] = {
            "schedulePriority": {"priorityClassSource": "KubePriorityClass", "priorityClassName": "high"}
        }
        rule = policy(name, [selector(deployment(name), name=name)], ONE_OF_ALL, failover=failback(most), **(more if name == urgent else {}))  # fmt: skip
        await hub.put(rule, deployment(name))
    await hub.settle()
    hub.obey("m1")
    await later(hub, SILENT_SECONDS + 350 + 2 * len(names), "m2")
    hub.obey("m2")
    await later(hub, 10, "m2")
    keys = [Key(*BINDING[:3], f"{name}-deployment") for name in names]
    assert [targets(hub, key) for key in keys] == [["m2"]] * len(keys)
    assert [tasks(hub, key) for key in keys] == [[]] * len(keys)
    return keys


async def obey(hub: Hub) -> None:
    for name in ("m1", "m2"):
        hub.obey(name)
    await later(hub, 1)


async def home(hub: Hub, keys: list[Key]) -> list[str]:
    return [key.name for key in keys if targets(hub, key) == ["m1"]]


async def test_it_returns_when_its_cluster_is_heard_for_the_time() -> None:
    async with running() as hub:
        keys = await moved(hub, ["web"])
        await obey(hub)
        await later(hub, STABLE_SECONDS - 10)
        assert await home(hub, keys) == []
        await later(hub, 40)
        assert await home(hub, keys) == ["web-deployment"] and tasks(hub, keys[0]) == ["m2"]
        await obey(hub)
        assert tasks(hub, keys[0]) == []
        await obey(hub)
        binding = hub.get(keys[0])
        assert binding is not None
        assert [e["clusterName"] for e in binding["status"]["aggregatedStatus"]] == ["m1"]
        assert "towline.io/failback" not in binding["metadata"]["labels"]


async def test_a_hub_that_stalled_sends_nothing_to_who_fell_silent() -> None:
    """Its first decision when it goes on may be this one; the Cluster is Ready still."""
    async with running() as hub:
        keys = await moved(hub, ["web"])
        await obey(hub)
        await later(hub, STABLE_SECONDS - 10)
        hub.users.now += 60
        plan = returning.decide(hub.cache.snapshot, hub.now(), hub.placing.at(hub.now()), hub.fleet)
        assert plan.writes == () and plan.requeue_after_seconds == RETRY_SECONDS
        await later(hub, 2 * RETRY_SECONDS)
        assert await home(hub, keys) == ["web-deployment"], "and m1 was heard again"


async def test_nothing_is_sent_to_a_cluster_whose_api_server_does_not_answer() -> None:
    """What its agent says of old copies is old then, and the condition Ready turns late."""
    async with running() as hub:
        await moved(hub, ["web"])
        await obey(hub)
        await later(hub, STABLE_SECONDS - 10)
        hub.users.now += 20
        for ready in (False, True):
            hub.fleet.heard("m1", hub.now(), api_server_ready=ready)
            plan = returning.decide(hub.cache.snapshot, hub.now(), hub.placing.at(hub.now()), hub.fleet)
            assert bool(plan.writes) == ready


async def test_so_many_at_a_time_the_urgent_first_then_by_name() -> None:
    async with running() as hub:
        keys = await moved(hub, ["a", "b", "c", "d"], most=1, urgent="c")
        seen: list[str] = []
        await later(hub, STABLE_SECONDS + 40)
        for _ in range(20):
            on_way = [key for key in keys if tasks(hub, key)]
            assert len(on_way) <= 1
            seen += [name for name in await home(hub, keys) if name not in seen]
            await obey(hub)
        assert seen == ["c-deployment", "a-deployment", "b-deployment", "d-deployment"]


async def test_times_survive_a_restart() -> None:
    store = MemoryStore()
    async with running(store) as hub:
        keys = await moved(hub, ["web"])
        await obey(hub)
        await later(hub, 40)
        now = hub.now()
    async with running(store) as hub:
        restart_at(hub, now)
        await later(hub, 30)
        assert await home(hub, keys) == [], "agents have their time to come back"
        await later(hub, 20)
        assert await home(hub, keys) == ["web-deployment"] and tasks(hub, keys[0]) == ["m2"]
        now = hub.now()
    async with running(store) as hub:
        restart_at(hub, now)
        await later(hub, 10)
        assert tasks(hub, keys[0]) == ["m2"], "on its way"
        await obey(hub)
        assert tasks(hub, keys[0]) == []


async def test_a_healthy_copy_is_sent_before_the_other_is_removed() -> None:
    """What the clusters are told: at no time neither."""
    async with running() as hub:
        (web,) = await moved(hub, ["web"])
        await obey(hub)
        await later(hub, STABLE_SECONDS + 40)
        sent = {name: hub.works.works_of(name) for name in ("m1", "m2")}
        assert all(
            not work.removing for works in sent.values() for work in works.values() if "web" in work.name
        )
        assert tasks(hub, web) == ["m2"]
