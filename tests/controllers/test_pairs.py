"""Two hubs on one store: what each of them decides, and what happens when the leader goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.controllers.hub import Hub, running
from tests.decide.world import cluster, deployment, namespace, policy, selector
from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.conditions import condition
from towline.hub.decide.health import ClusterFacts
from towline.hub.decide.wire import Phase
from towline.hub.store.memory import MemoryStore
from towline.kube import names
from towline.kube.objects import Key, Object

WEB = Key("apps", "deployments", "shop", "web")
BINDING = Key("work.karmada.io", "resourcebindings", "shop", "web-deployment")
WORK = names.work_name("shop", "web", "Deployment")
SPACE = names.work_name("", "shop", "Namespace")
SHOP = Key("", "namespaces", "", "shop")
M1, M2 = (Key("cluster.karmada.io", "clusters", "", name) for name in ("m1", "m2"))
FACTS = ClusterFacts("v1.32.0", True, "", (("apps/v1", (("deployments", "Deployment"),)),), True)


class Pair:
    """`a` leads and has the session of m1, `b` that of m2."""

    def __init__(self, a: Hub, b: Hub) -> None:
        self.a = a
        self.b = b

    async def settle(self) -> None:
        """Until neither has anything to do: what one writes may concern the other."""
        before = -1
        while self.a.cache.revision != before or self.b.cache.revision != before:
            before = max(self.a.cache.revision, self.b.cache.revision)
            await self.a.cache.wait(before, 5)
            await self.b.cache.wait(before, 5)
            await self.a.settle()
            await self.b.settle()

    async def later(self, seconds: float) -> None:
        self.a.users.now += seconds
        self.b.users.now = self.a.users.now
        await self.settle()

    async def b_leads(self) -> None:
        """The lease went from `a` to `b`."""
        self.a.leads, self.b.leads = False, True
        self.b.loop.enqueue_all()
        await self.settle()


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    store = MemoryStore()
    async with running(store) as a, running(store) as b:
        b.users.now = a.users.now
        b.leads = False
        both = Pair(a, b)
        await a.put(namespace("shop"), cluster("m1"), cluster("m2"))
        for here, there, name in ((a, b, "m1"), (b, a, "m2")):
            here.fleet.connected(name, here.now())
            here.fleet.facts(name, FACTS, here.now())
            there.fleet.forget(name)
            there.fleet.at_another_hub(name, True, there.now())
        await both.settle()
        yield both


async def deployed(both: Pair) -> None:
    await both.a.put(policy("web", [selector(deployment())]), deployment())
    await both.settle()


def applied(hub: Hub) -> dict[str, Any]:
    status = (hub.get(BINDING) or {}).get("status") or {}
    return {row["clusterName"]: row.get("applied") for row in status.get("aggregatedStatus") or ()}


def ready(hub: Hub, key: Key) -> Object:
    return dict(condition((hub.get(key) or {}).get("status"), "Ready") or {})


async def test_only_the_leader_places_and_both_compute_the_same_works() -> None:
    async with pair() as both:
        await deployed(both)
        assert both.b.loop.commits["propagation"] == 0 and both.a.loop.commits["propagation"] > 0
        for name in ("m1", "m2"):
            assert both.a.work(name, WORK).hash == both.b.work(name, WORK).hash
            assert both.a.work(name, WORK).uid == both.b.work(name, WORK).uid


async def test_reports_are_stored_by_the_hub_that_hears_them() -> None:
    async with pair() as both:
        await deployed(both)
        both.a.say("m1", WORK)
        both.b.say("m2", WORK)
        await both.settle()
        await both.later(1)
        assert applied(both.a) == applied(both.b) == {"m1": True, "m2": True}
        assert not both.a.works.reports_of(BINDING) and not both.b.works.reports_of(BINDING)


async def test_the_hub_with_the_session_decides_on_health_and_room_whether_it_leads_or_not() -> None:
    async with pair() as both:
        for hub in (both.a, both.b):
            assert ready(hub, M1)["status"] == ready(hub, M2)["status"] == "True"
        both.b.fleet.capacity("m2", ClusterCapacity(3, 3, {"cpu": 1000}, {}, {}), both.b.now())
        await both.settle()
        status = (both.a.get(M2) or {})["status"]
        assert status["nodeSummary"] == {"totalNum": 3, "readyNum": 3}
        assert both.b.loop.commits["health"] == 1 and both.b.loop.commits["capacity"] == 1


async def test_the_leader_is_not_worried_by_the_silence_of_clusters_that_another_hub_hears() -> None:
    async with pair() as both:
        for _ in range(6):
            both.a.fleet.heard("m1", both.a.now())
            both.b.fleet.heard("m2", both.b.now())
            await both.later(30)
        assert ready(both.a, M1)["status"] == ready(both.a, M2)["status"] == "True"
        assert both.a.fleet.audible(both.a.now()) >= {"m2"}


@pytest.mark.parametrize("other_is_deaf", [True, False])
async def test_the_leader_doubts_its_losses_when_another_hub_hears_nobody_either(other_is_deaf: bool) -> None:
    """The other hub notices later, and holds its session still."""
    async with pair() as both:
        both.a.fleet.silent_elsewhere = lambda: both.b.fleet.silent(both.b.now())
        for step in range(9):
            if step < 4 or not other_is_deaf:
                both.b.fleet.heard("m2", both.b.now())
            if step == 6:
                both.a.fleet.disconnected("m1", both.a.now())
            await both.later(5)
        assert ready(both.a, M1)["status"] == "Unknown"
        assert ready(both.a, M2)["status"] == "True"
        doubt = both.a.loop._world.doubt(both.a.now())
        assert (doubt is not None and doubt.clusters == {"m1"}) == other_is_deaf


async def test_the_clusters_of_a_hub_that_died_have_their_grace_from_then_on() -> None:
    async with pair() as both:
        both.b.fleet.disconnected("m2", both.b.now())
        for _ in range(10):
            both.a.fleet.heard("m1", both.a.now())
            await both.later(30)
        assert ready(both.a, M2)["status"] == "True", "the leader still thinks that its hub lives"
        both.a.fleet.at_another_hub("m2", False, both.a.now())
        await both.later(both.a.fleet.limits.monitor_grace_seconds - 1)
        assert ready(both.a, M2)["status"] == "True"
        both.a.fleet.heard("m1", both.a.now())
        await both.later(2)
        assert ready(both.a, M2) | {"lastTransitionTime": ""} == {
            "type": "Ready", "status": "Unknown", "reason": "ClusterStatusUnknown", "lastTransitionTime": "",
            "message": "the agent of cluster m2 stopped reporting",
        }  # fmt: skip
        assert ready(both.a, M1)["status"] == "True"


async def test_a_hub_that_was_cut_off_counts_its_own_absence_against_nobody() -> None:
    async with pair() as both:
        both.a.fleet.disconnected("m1", both.a.now())
        both.a.users.now += 600
        both.b.users.now += 600
        both.a.fleet.away(both.a.now())
        await both.settle()
        assert ready(both.a, M1)["status"] == "True"
        await both.later(both.a.fleet.limits.monitor_grace_seconds + 1)
        assert ready(both.a, M1)["status"] == "Unknown"


async def test_an_agent_that_moves_in_time_is_never_taken_for_lost() -> None:
    async with pair() as both:
        both.a.fleet.at_another_hub("m2", False, both.a.now())
        both.b.fleet.disconnected("m2", both.b.now())
        await both.later(20)
        both.a.fleet.connected("m2", both.a.now())
        both.a.fleet.facts("m2", FACTS, both.a.now())
        both.b.fleet.at_another_hub("m2", True, both.b.now())
        before = ready(both.a, M2)
        for _ in range(4):
            both.a.fleet.heard("m1", both.a.now())
            both.a.fleet.heard("m2", both.a.now())
            await both.later(20)
        assert ready(both.a, M2) == before


async def test_a_report_that_its_hub_did_not_store_in_time_is_not_stored_after_the_agent_went_to_another() -> (
    None
):
    async with pair() as both:
        await deployed(both)
        both.b.say("m2", WORK, Phase.FAILED, "old")
        both.b.works.forget_reports("m2")
        both.a.say("m2", WORK)
        await both.settle()
        await both.later(1)
        assert applied(both.a) == {"m1": None, "m2": True}


async def test_a_namespace_ends_when_the_agents_of_both_hubs_have_let_go_of_it() -> None:
    async with pair() as both:
        await both.a.users_delete_namespace("shop")
        await both.settle()
        both.b.say("m2", SPACE, Phase.REMOVED)
        await both.settle()
        assert both.a.get(SHOP) and both.a.works.get("m2", SPACE) is None
        both.a.say("m1", SPACE, Phase.REMOVED)
        await both.later(1)
        assert both.a.get(SHOP) is None and both.b.get(SHOP) is None


async def test_the_last_to_let_go_may_be_at_the_hub_that_does_not_lead() -> None:
    async with pair() as both:
        await both.a.users_delete_namespace("shop")
        await both.settle()
        both.a.say("m1", SPACE, Phase.REMOVED)
        await both.settle()
        both.b.say("m2", SPACE, Phase.REMOVED)
        await both.later(1)
        assert both.a.get(SHOP) is None and both.b.get(SHOP) is None


async def test_a_cluster_at_the_hub_that_does_not_lead_can_leave() -> None:
    async with pair() as both:
        await deployed(both)
        both.a.say("m1", WORK)
        both.b.say("m2", WORK)
        await both.settle()
        await both.a.delete(M2)
        await both.settle()
        await both.later(1)
        for _ in range(3):
            both.b.obey("m2")
            await both.later(1)
        assert both.a.get(M2) is None and both.b.get(M2) is None


async def test_a_new_leader_decides_what_the_old_one_left_and_nothing_twice() -> None:
    async with pair() as both:
        await deployed(both)
        before = both.a.get(BINDING)
        both.a.leads = False
        await both.a.put(deployment("late"))
        await both.settle()
        late = Key("work.karmada.io", "resourcebindings", "shop", "late-deployment")
        assert both.b.get(late) is None, "nobody leads"
        await both.a.put(policy("late", [selector(deployment("late"))]))
        await both.b_leads()
        assert both.b.get(late) is not None
        assert both.b.get(BINDING) == before
        revision = both.b.cache.revision
        await both.later(1)
        assert both.b.cache.revision == revision


async def test_a_plan_does_not_outlive_the_leadership_that_it_was_made_in() -> None:
    async with pair() as both:
        a = both.a
        lease = await a.store.acquire("controllers", "a", 10)
        a.lease = lease
        await a.store.acquire("controllers", "a", 10)  # as if another had it now: the older tenure is over
        await a.put(policy("web", [selector(deployment())]), deployment())
        await a.settle()
        assert a.get(BINDING) is None and set(a.fenced) == {lease} and not a.leads


async def slept(hub: Hub) -> None:
    """Others took it for dead meanwhile, and it does not know."""
    hub.life = await hub.store.acquire("hub-b", "b", 10)
    await hub.store.acquire("hub-b", "b", 10)  # as if it had ended: the older tenure is over


async def back(hub: Hub) -> None:
    hub.lives, hub.life = True, await hub.store.acquire("hub-b", "b", 10)
    hub.fleet.away(hub.now())
    hub.loop.enqueue_sessions()


async def test_what_a_hub_heard_before_it_slept_is_not_stored_until_it_has_caught_up() -> None:
    async with pair() as both:
        await deployed(both)
        await slept(both.b)
        both.b.say("m2", WORK)
        await both.settle()
        assert applied(both.a) == {"m1": None, "m2": None} and len(both.b.fenced) == 1
        assert both.a.leads and not both.b.lives
        await back(both.b)
        await both.later(1)
        assert applied(both.a) == {"m1": None, "m2": True}


async def test_a_hub_that_slept_declares_no_cluster_lost_that_it_could_not_hear() -> None:
    async with pair() as both:
        await slept(both.b)
        for _ in range(3):
            both.a.fleet.heard("m1", both.a.now())
            both.a.users.now += 30
        both.b.users.now = both.a.users.now
        await both.a.put(
            cluster("m2", labels={"a": "b"})
        )  # it looks before it reads what agents sent meanwhile
        await both.settle()
        assert ready(both.a, M2)["status"] == "True" and both.b.fenced
        await back(both.b)
        await both.settle()
        assert ready(both.a, M2)["status"] == "True"
        await both.later(both.b.fleet.limits.monitor_grace_seconds + 1)
        await both.a.put(cluster("m2", labels={"a": "c"}))
        await both.settle()
        assert ready(both.a, M2)["status"] == "Unknown"
