"""What waits for something is woken by it: no backoff, no polling. And a rebalancer's whole life in a running hub."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controllers.hub import Hub, running
from tests.decide.test_policies import ALWAYS, override, priority_class
from tests.decide.test_propagation import BINDING, DIVIDED, WEB
from tests.decide.test_rebalancing import KEY, rebalancer
from tests.decide.world import cluster, cluster_role, deployment, namespace, policy, selector
from towline.hub.decide.blocking import BLOCKED
from towline.hub.decide.conditions import condition
from towline.hub.decide.policies import claim_of
from towline.hub.store.memory import MemoryStore
from towline.kube.objects import Key, Object

BY_KIND, BY_NAME = selector(deployment()), selector(deployment(), name="web")
CLASS = {"priorityClassSource": "KubePriorityClass", "priorityClassName": "high"}
ROLES = "rbac.authorization.k8s.io"


async def a_fleet(hub: Hub, *objects: Object) -> None:
    await hub.put(namespace("shop"), cluster("m1"), cluster("m2"), *objects)
    await hub.settle()


def at_rest(hub: Hub) -> bool:
    """Nothing of ours is due, now or later."""
    return not any(item.controller in ("propagation", "policies", "rebalancing") for item in hub.loop.queue)


def owner(hub: Hub) -> str | None:
    claim = claim_of(hub.get(WEB) or {})
    return claim and claim.name


def blocked(hub: Hub) -> str | None:
    found = condition((hub.get(BINDING) or {}).get("status"), BLOCKED)
    return str(found["reason"]) if found else None


@pytest.mark.parametrize(
    ("needs", "thing", "scope"),
    [
        ({"dependentOverrides": ["op"]}, override("op"), "shop"),
        ({"dependentOverrides": ["op"]}, override("op", None), None),
        ({"schedulePriority": CLASS}, priority_class(), "shop"),
        ({"schedulePriority": CLASS}, priority_class(), None),
    ],
    ids=["an override", "a cluster override", "a PriorityClass", "a PriorityClass of a cluster policy"],
)
async def test_what_was_missing_wakes_what_waits(needs: Object, thing: Object, scope: str | None) -> None:
    async with running() as hub:
        await a_fleet(hub, deployment(), policy("web", [BY_KIND], None, scope, **needs))
        assert hub.get(BINDING) is None and at_rest(hub)
        await hub.recorder.flush()
        told = {
            (e.object["involvedObject"]["kind"], e.object["reason"]) for e in hub.cache.list("", "events")
        }
        assert {kind for kind, reason in told if reason == "ApplyPolicyFailed"} == {
            "Deployment",
            "PropagationPolicy" if scope else "ClusterPropagationPolicy",
        }
        await hub.put(thing)
        await hub.settle()
        assert hub.get(BINDING) is not None and blocked(hub) is None
        await hub.delete(hub.users.key(thing))
        await hub.settle()
        assert blocked(hub) is not None and at_rest(hub)
        await hub.put(thing)
        await hub.settle()
        assert blocked(hub) is None and at_rest(hub)


async def test_the_end_of_a_binding_wakes_the_template_that_waits_for_its_name() -> None:
    roles = policy("roles", [selector(cluster_role())], namespace=None)
    key = Key("work.karmada.io", "clusterresourcebindings", "", "a.b-clusterrole")
    async with running() as hub:
        await a_fleet(hub, cluster_role("a:b"), roles)
        await hub.put(cluster_role("a.b"))
        await hub.settle()
        assert (hub.get(key) or {})["spec"]["resource"]["name"] == "a:b" and at_rest(hub)
        await hub.delete(Key(ROLES, "clusterroles", "", "a:b"))
        await hub.settle()
        for member in ("m1", "m2"):
            hub.obey(member)
        await hub.later(1)
        assert (hub.get(key) or {})["spec"]["resource"]["name"] == "a.b"


async def test_policies_that_are_written_move_claims() -> None:
    async with running() as hub:
        await a_fleet(hub, deployment(), policy("all", [BY_KIND], None, None))
        await hub.put(policy("first", [BY_NAME], **ALWAYS), policy("second", [BY_NAME], priority=1, **ALWAYS))
        await hub.settle()
        assert owner(hub) == "second"
        await hub.put(policy("second", [BY_NAME], priority=-1, **ALWAYS))
        await hub.settle()
        assert owner(hub) == "first", "a lowered priority lets others take over"
        await hub.put(policy("first", [selector(deployment(), name="other")], **ALWAYS))
        await hub.settle()
        assert owner(hub) == "second"
        for name in ("first", "second"):
            await hub.delete(Key("policy.karmada.io", "propagationpolicies", "shop", name))
        await hub.settle()
        assert owner(hub) == "all" and at_rest(hub)
        assert not hub.cache.list("policy.karmada.io", "propagationpolicies")


async def test_a_policy_that_stops_selecting_makes_room_for_the_next() -> None:
    waiting = policy("a", [BY_KIND], priority=1, dependentOverrides=["op"])
    async with running() as hub:
        await a_fleet(hub, deployment(), waiting, policy("b", [BY_KIND]))
        assert owner(hub) is None
        await hub.put(policy("a", [selector(deployment(), name="other")], priority=1))
        await hub.settle()
        assert owner(hub) == "b"


async def test_remove_takes_the_copies_away() -> None:
    async with running() as hub:
        await a_fleet(hub, deployment(), policy("web", [BY_NAME], onPolicyDelete="Remove"))
        hub.obey("m1")
        hub.obey("m2")
        await hub.settle()
        await hub.delete(Key("policy.karmada.io", "propagationpolicies", "shop", "web"))
        await hub.settle()
        name = next(n for n in hub.works.works_of("m1") if n.startswith("web-"))
        assert hub.work("m1", name).removing
        hub.obey("m1")
        hub.obey("m2")
        await hub.later(1)
        assert hub.get(BINDING) is None and hub.get(WEB) is not None
        assert name not in hub.works.works_of("m1")


def targets(hub: Hub) -> dict[str, Any]:
    return {c["name"]: c["replicas"] for c in (hub.get(BINDING) or {})["spec"]["clusters"]}


async def test_a_rebalancer_has_work_done_and_goes_when_its_time_is_over_whichever_hub_it_is() -> None:
    store = MemoryStore()
    async with running(store) as hub:
        await a_fleet(hub, deployment(replicas=4), policy("all", [BY_KIND], DIVIDED))
        await hub.later(10)
        await hub.put(cluster("m3"))
        await hub.settle()
        assert sorted(targets(hub).values()) == [2, 2]
        await hub.put(rebalancer(ttlSecondsAfterFinished=60))
        await hub.settle()
        assert sorted(targets(hub).values()) == [1, 1, 2]
        finished = (hub.get(KEY) or {})["status"]["finishTime"]
        await hub.later(59)
        assert hub.get(KEY) is not None
    async with running(store) as again:
        again.users.now = hub.now()
        await again.settle()
        assert (again.get(KEY) or {})["status"]["finishTime"] == finished
        await again.later(2)
        assert again.get(KEY) is None and at_rest(again)
