"""Who is decided again when the fleet changes: all whose result could be another, and few else. On a real cache and a memory store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.controllers.hub import Hub, running
from tests.decide.world import APIS, cluster, configmap, deployment, namespace, policy, selector
from towline.hub.controllers.loop import Loop
from towline.hub.controllers.queue import Urgency
from towline.hub.controllers.waiting import RETRY_SECONDS
from towline.hub.controllers.world import Controller, World
from towline.hub.decide import propagation
from towline.hub.decide.conditions import condition
from towline.hub.decide.plan import Plan, Put
from towline.hub.decide.scheduling import View
from towline.hub.store.contract import Conflict, Lease, Write
from towline.kube import names
from towline.kube.objects import Key, Object, copy

ON_A: Object = {"clusterAffinity": {"labelSelector": {"matchLabels": {"on": "a"}}}}
ON_B: Object = {"clusterAffinity": {"labelSelector": {"matchLabels": {"on": "b"}}}}
ONS = (("a", ON_A), ("b", ON_B))
IN_EU: Object = {"key": "region", "operator": "In", "values": ["eu"]}
TWO_REGIONS: list[Object] = [
    {"spreadByField": "region", "minGroups": 2, "maxGroups": 2},
    {"spreadByField": "cluster", "minGroups": 2, "maxGroups": 3},
]
APART: Object = {"workloadAffinity": {"antiAffinity": {"groupByLabelKey": "team"}}}


def divided(preference: str, **more: Any) -> Object:
    division = {"replicaSchedulingType": "Divided", "replicaDivisionPreference": preference, **more}
    return {"replicaScheduling": division}


DIVIDED = divided("Weighted")
BY_ROOM = divided("Weighted", weightPreference={"dynamicWeight": "AvailableReplicas"})
TIGHT = divided("Aggregated")


def at(name: str) -> Key:
    return Key("cluster.karmada.io", "clusters", "", name)


def web(name: str = "web") -> Key:
    return Key("apps", "deployments", "shop", name)


def targets(hub: Hub, name: str = "web-deployment") -> dict[str, int]:
    binding = hub.get(Key("work.karmada.io", "resourcebindings", "shop", name)) or {}
    clusters = (binding.get("spec") or {}).get("clusters") or ()
    return {target["name"]: target.get("replicas", 0) for target in clusters}


async def edit(hub: Hub, key: Key, change: Callable[[Object], None]) -> None:
    obj = copy(hub.get(key))
    change(obj)
    await hub.put(obj)


async def label(hub: Hub, name: str, **labels: str) -> None:
    await edit(hub, at(name), lambda obj: obj["metadata"].update(labels=labels))


def serving(kind: str) -> list[Object]:
    """status.apiEnablements of a cluster that serves only `kind`."""
    found = []
    for group in APIS:
        resources = [resource for resource in group["resources"] if resource["kind"] == kind]
        if resources:
            found.append({**group, "resources": resources})
    return found


class Counted:
    """How often propagation decides which template."""

    def __init__(self, hub: Hub) -> None:
        row = hub.loop._controllers["propagation"]
        self.of: Counter[str] = Counter()

        def decide(world: World, key: Key, now: float) -> Plan:
            self.of[key.name] += 1
            return row.decide(world, key, now)

        hub.loop._controllers["propagation"] = replace(row, decide=decide)

    def since(self) -> dict[str, int]:
        seen, self.of = dict(self.of), Counter()
        return seen


@pytest.mark.parametrize("division", [{}, DIVIDED], ids=["duplicated", "divided"])
async def test_what_no_cluster_fits_is_placed_when_one_does(division: Object) -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"))
        await hub.put(policy("web", [selector(deployment())], ON_A | division), deployment())
        await hub.settle()
        assert targets(hub) == {}
        await label(hub, "m1", on="a")
        await hub.settle()
        assert targets(hub) == {"m1": 3}, "without any timer"


async def test_what_is_divided_by_room_goes_in_when_there_is_enough() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"), cluster("m2"))
        web = deployment(requests={"cpu": "1"})
        await give_room(hub, "m1", 2)
        await hub.put(policy("web", [selector(web)], TIGHT), web)
        await hub.settle()
        assert targets(hub) == {} and hub.loop.pending()["unschedulable"] == 1
        await give_room(hub, "m1", 1)
        await hub.later(20)
        assert hub.loop.pending() == {"active": 0, "backoff": 0, "unschedulable": 1}, "less room wakes nobody"
        await give_room(hub, "m2", 2)
        await hub.settle()
        assert targets(hub) == {"m1": 1, "m2": 2} and sum(hub.loop.pending().values()) == 0


async def test_a_clusters_change_concerns_only_those_that_follow_it() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1", {"on": "a"}), cluster("m2", {"on": "b"}))
        for name, placement in {
            "on-a": ON_A,
            "on-b": ON_B,
            "everywhere": {},
            "divided": DIVIDED,
            "lazy": ON_B,
        }.items():
            more = {"activationPreference": "Lazy"} if name == "lazy" else {}
            obj = deployment(name)
            await hub.put(policy(name, [selector(obj, name=name)], placement, **more), obj)
        settings = policy("settings", [selector(configmap())], DIVIDED | ON_A)
        await hub.put(settings, configmap("no-workload"))
        await hub.settle()
        counted = Counted(hub)
        await label(hub, "m1", on="a", more="x")
        await hub.settle()
        assert counted.since() == {"on-a": 1, "everywhere": 1, "no-workload": 1}
        await edit(hub, at("m2"), lambda obj: obj["status"].update(nodeSummary={"readyNum": 9}))
        await hub.settle()
        assert counted.since() == {}, "room counts only for what waits"
        await label(hub, "m2", on="a")
        await hub.settle()
        found = counted.since()
        assert found.keys() == {"on-a", "on-b", "everywhere", "no-workload", "lazy"}
        await hub.delete(at("m2"))
        await hub.settle()
        assert "divided" in counted.since(), "a target leaves"
        assert targets(hub, "divided-deployment") == {"m1": 3}


async def test_a_new_api_concerns_the_kinds_it_brings() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"))
        await hub.put(policy("all", [selector(deployment()), selector(configmap())]))
        await hub.put(deployment(), configmap())
        await hub.settle()
        counted = Counted(hub)
        await edit(hub, at("m1"), lambda obj: obj["status"].update(apiEnablements=serving("ConfigMap")))
        await hub.settle()
        assert counted.since() == {}, "who has a copy stays"
        await edit(hub, at("m1"), lambda obj: obj["status"].update(apiEnablements=APIS))
        await hub.settle()
        assert counted.since() == {"web": 1}


async def test_who_avoids_a_group_moves_in_when_its_members_leave() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"), cluster("m2"))
        team = {"team": "x"}
        first, follows, waits = (deployment(name, labels=team) for name in ("first", "follows", "waits"))
        only_m1 = {"clusterAffinity": {"clusterNames": ["m1"]}}
        await hub.put(policy("first", [selector(first, name="first")], APART | only_m1), first)
        await hub.settle()
        await hub.put(policy("follows", [selector(follows, name="follows")], APART), follows)
        await hub.settle()
        await hub.put(policy("waits", [selector(waits, name="waits")], APART | DIVIDED | only_m1), waits)
        await hub.settle()
        assert targets(hub, "first-deployment") == {"m1": 3}
        assert targets(hub, "follows-deployment") == {"m2": 3} and targets(hub, "waits-deployment") == {}
        await hub.later(5)
        await hub.delete(web("first"))
        await hub.settle()
        assert targets(hub, "follows-deployment") == {"m1": 3, "m2": 3}, "who has a place gets the rest"
        await hub.delete(web("follows"))
        await hub.settle()
        await hub.later(10)
        assert targets(hub, "waits-deployment") == {"m1": 3}


# --- rows of their own: a loop whose decisions say what they wait for -------------------------------------------


def thing(name: str) -> Key:
    return Key("", "things", name[:1], name)


def waiting_loop(hub: Hub, keys: Sequence[Key], decide: Callable[[Key], Plan]) -> tuple[Loop, Counter[str]]:
    """A loop over `keys` alone."""
    counts: Counter[str] = Counter()

    def counting(world: World, key: Key, now: float) -> Plan:
        counts[key.name] += 1
        return decide(key)

    row = Controller("things", counting, lambda world: keys, lambda world, event: ())
    loop = Loop(hub.loop._world, hub.recorder, now=hub.now, new_uid=hub.users.new_uid, controllers=[row])
    loop.enqueue_all()
    return loop, counts


async def give_room(hub: Hub, name: str, cpu: int) -> None:
    summary = {"allocatable": {"cpu": str(cpu), "pods": "9"}}
    await edit(hub, at(name), lambda obj: obj["status"].update(resourceSummary=summary))


async def test_a_thousand_changes_cost_those_that_wait_one_attempt_each_backoff() -> None:
    async with running() as hub:
        await hub.put(cluster("m1"))
        keys = [thing(f"t{number}") for number in range(50)]
        loop, counts = waiting_loop(hub, keys, lambda key: Plan(waits=frozenset({"capacity"})))
        stop = loop.follow()
        cpu = 0
        for _ in range(60):
            for _ in range(10):
                cpu += 1
                await give_room(hub, "m1", cpu)
                await loop.settle()
            hub.users.now += 1.0
        stop()
        # At 0, 1, 3, 7, 15 seconds, and then every ten.
        assert set(counts.values()) == {9}


async def test_what_nothing_helps_is_tried_again_after_five_minutes() -> None:
    async with running() as hub:
        loop, counts = waiting_loop(hub, [thing("x")], lambda key: Plan(waits=frozenset({"capacity"})))
        await loop.settle()
        hub.users.now += RETRY_SECONDS - 1
        await loop.settle()
        assert counts["x"] == 1
        hub.users.now += 1
        await loop.settle()
        assert counts["x"] == 2


async def test_what_helps_while_the_decision_is_being_written_counts() -> None:
    async with running() as hub:
        await hub.put(cluster("m1"), configmap())
        settings = Key("", "configmaps", "shop", "settings")

        def decide(key: Key) -> Plan:
            room = ((hub.get(at("m1")) or {}).get("status") or {}).get("resourceSummary")
            obj = copy(hub.get(settings))
            wanted = {"placed": "yes" if room else "no"}
            waits = frozenset[str]() if room else frozenset({"capacity"})
            if obj.get("data") == wanted:
                return Plan(waits=waits)
            expected = int(obj["metadata"]["resourceVersion"])
            return Plan((Put(settings, {**obj, "data": wanted}, expected),), waits=waits)

        commit = hub.cache.commit
        first = True

        async def slow(writes: Sequence[Write], *, fence: Lease | None = None) -> int:
            nonlocal first
            if first:
                first = False
                await give_room(hub, "m1", 1)
            return await commit(writes, fence=fence)

        loop, _ = waiting_loop(hub, [thing("x")], decide)
        stop = loop.follow()
        hub.cache.commit = slow  # type: ignore[method-assign]
        await loop.settle()
        hub.users.now += 1
        await loop.settle()
        stop()
        assert (hub.get(settings) or {})["data"] == {
            "placed": "yes"
        } and loop.waiting.unschedulable + loop.waiting.backing_off == 0


def promised(hub: Hub) -> Callable[[Key], Plan]:
    """A decision that waits for as long as anything is promised to m1."""

    def decide(key: Key) -> Plan:
        taken = hub.loop._world.placing.at(hub.now()).assigned.promises.get("m1", {})
        return Plan(waits=frozenset({"capacity"}) if taken else frozenset())

    return decide


@pytest.mark.parametrize("how", ["it is deleted", "it moves", "its member shows it"])
async def test_room_that_another_binding_gives_up_helps_at_once(how: str) -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"), cluster("m2"))
        only_m1 = {"clusterAffinity": {"clusterNames": ["m1"]}}
        await hub.put(policy("web", [selector(deployment())], only_m1), deployment())
        await hub.settle()
        loop, _ = waiting_loop(hub, [thing("x")], promised(hub))
        stop = loop.follow()
        await loop.settle()
        assert loop.waiting.unschedulable == 1
        hub.users.now += 1
        if how == "it moves":
            await hub.put(
                policy("web", [selector(deployment())], {"clusterAffinity": {"clusterNames": ["m2"]}})
            )
        elif how == "it is deleted":
            await hub.delete(web())
        else:
            work = names.work_name("shop", "web", "Deployment")
            hub.say("m1", work, status={"readyReplicas": 3})
        await hub.settle()
        await loop.settle()
        stop()
        assert loop.waiting.unschedulable + loop.waiting.backing_off == 0


async def test_a_placing_that_comes_to_nothing_keeps_nobody_out() -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1"))
        await hub.put(policy("web", [selector(deployment())]))
        await hub.settle()
        keeper = thing("keeper")
        seen: list[bool] = []
        row = hub.loop._controllers["propagation"]
        judge = promised(hub)
        waiting = Controller(
            "things",
            lambda world, key, now: judge(key),
            lambda world: [],
            lambda world, event: (),
        )
        hub.loop._controllers["things"] = waiting

        async def failing(writes: Sequence[Write], *, fence: Lease | None = None) -> int:
            hub.loop._enqueue("things", [keeper], Urgency.USER)
            for _ in range(20):
                await asyncio.sleep(0)
            seen.append(hub.loop.waiting.unschedulable == 1)
            hub.loop._controllers["propagation"] = replace(row, decide=lambda world, key, now: Plan())
            raise Conflict([writes[0].key])

        await hub.put(deployment())
        hub.cache.commit = failing  # type: ignore[method-assign]
        await hub.settle()
        assert seen == [True], "it was kept out by what was about to be written"
        await hub.later(1)
        assert hub.loop.waiting.unschedulable + hub.loop.waiting.backing_off == 0


async def test_higher_priority_gets_the_room_first() -> None:
    async with running() as hub:
        value = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        await hub.put(namespace("shop"), {**value, "metadata": {"name": "high"}, "value": 1000})
        wish = {"priorityClassSource": "KubePriorityClass", "priorityClassName": "high"}
        wishes: dict[str, dict[str, Any]] = {"a": {}, "b": {"schedulePriority": wish}, "c": {}}
        for name, more in wishes.items():
            obj = deployment(name)
            await hub.put(policy(name, [selector(obj, name=name)], ON_A | DIVIDED, **more), obj)
        order: list[str] = []
        row = hub.loop._controllers["propagation"]

        def decide(world: World, key: Key, now: float) -> Plan:
            if key.resource == "deployments":
                order.append(key.name)
            return row.decide(world, key, now)

        hub.loop._controllers["propagation"] = replace(row, decide=decide)
        await hub.settle()
        assert order[0] == "b", "its policy says so before there is a binding"
        await hub.later(10)
        order.clear()
        await hub.put(cluster("m1", {"on": "a"}))
        await hub.settle()
        assert order[0] == "b" and {*order} == {"a", "b", "c"}, "and then the binding does"


# --- the property: waking less leaves nothing that deciding everything anew would change ------------------------

_members = st.sampled_from(["m1", "m2", "m3"])
_placements = st.sampled_from(
    [
        {},
        ON_A,
        DIVIDED,
        ON_B | DIVIDED,
        BY_ROOM,
        BY_ROOM | ON_A,
        TIGHT,
        APART,
        APART | DIVIDED,
        {"workloadAffinity": {"affinity": {"groupByLabelKey": "team"}}},
        DIVIDED | {"clusterTolerations": [{"key": "t", "operator": "Exists"}]},
        DIVIDED | {"clusterAffinity": {"fieldSelector": {"matchExpressions": [IN_EU]}}},
        {"clusterAffinities": [{"affinityName": on, **spec["clusterAffinity"]} for on, spec in ONS]},
        {"spreadConstraints": [{"spreadByField": "cluster", "minGroups": 2, "maxGroups": 2}]},
        DIVIDED | {"spreadConstraints": TWO_REGIONS},
        BY_ROOM | {"spreadConstraints": TWO_REGIONS},
    ]
)
_workloads = st.sampled_from(["web", "api", "settings"])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), _members, st.sampled_from(["a", "b", ""])),
        st.tuples(st.just("leave"), _members, st.none()),
        st.tuples(st.just("obey"), _members, st.none()),
        st.tuples(st.just("label"), _members, st.sampled_from(["a", "b", ""])),
        st.tuples(st.just("region"), _members, st.sampled_from(["eu", "us", ""])),
        st.tuples(st.just("taint"), _members, st.sampled_from(["t", "u", ""])),
        st.tuples(st.just("serve"), _members, st.sampled_from(["Deployment", "ConfigMap", ""])),
        st.tuples(st.just("room"), _members, st.integers(0, 6)),
        st.tuples(st.just("ready"), _members, st.none()),
        st.tuples(st.just("scale"), st.sampled_from(["web", "api"]), st.integers(0, 5)),
        st.tuples(st.just("place"), _workloads, _placements),
        st.tuples(st.just("place lazily"), _workloads, _placements),
        st.tuples(st.just("place blocked"), _workloads, _placements),
        st.tuples(st.just("unplace"), _workloads, st.none()),
        st.tuples(st.just("pass"), st.just(""), st.integers(1, 12)),
    ),
    min_size=3,
    max_size=20,
)
_OBJECTS: Mapping[str, Object] = {
    "web": deployment("web", requests={"cpu": "1"}, labels={"team": "x"}),
    "api": deployment("api", requests={"cpu": "1"}, labels={"team": "x"}),
    "settings": configmap(),
}


@cases(60)
@given(st.lists(_placements, min_size=3, max_size=3), _steps)
def test_at_rest_deciding_everything_anew_changes_nothing(
    placements: list[Object], steps: list[tuple[str, str, Any]]
) -> None:
    asyncio.run(_play(placements, steps))


async def _play(placements: list[Object], steps: list[tuple[str, str, Any]]) -> None:
    async with running() as hub:
        await hub.put(namespace("shop"), cluster("m1", {"on": "a"}), cluster("m2", {"on": "b"}))
        for name, placement in zip(_OBJECTS, placements, strict=True):
            await hub.put(_policy_of(name, placement), _OBJECTS[name])
        await hub.settle()
        for step, name, value in steps:
            await _do(hub, step, name, value)
            await hub.settle()
        for _ in range(3):
            await hub.later(10)  # the longest backoff
        _all_decided(hub)


def _policy_of(name: str, placement: Object, **more: Any) -> Object:
    obj = _OBJECTS[name]
    return policy(name, [selector(obj, name=obj["metadata"]["name"])], placement, **more)


async def _do(hub: Hub, step: str, name: str, value: Any) -> None:
    here = hub.get(at(name)) if name in ("m1", "m2", "m3") else None
    match step:
        case "join" if here is None:
            await hub.put(cluster(name, {"on": value} if value else {}))
        case "leave" if here is not None:
            await hub.delete(at(name))
        case "obey":
            hub.obey(name)
        case "ready":
            for work in hub.works.works_of(name).values():
                if not work.removing:
                    hub.say(name, work.name, status={"readyReplicas": 9})
        case "label" if here is not None:
            await label(hub, name, **({"on": value} if value else {}))
        case "region" if here is not None:
            await edit(hub, at(name), lambda obj: obj["spec"].update(region=value))
        case "taint" if here is not None:
            taints = [{"key": value, "effect": "NoSchedule"}] if value else []
            await edit(hub, at(name), lambda obj: obj["spec"].update(taints=taints))
        case "serve" if here is not None:
            served = serving(value) if value else APIS
            await edit(hub, at(name), lambda obj: obj["status"].update(apiEnablements=served))
        case "room" if here is not None:
            summary = {"allocatable": {"cpu": str(value), "pods": "9"}}
            await edit(hub, at(name), lambda obj: obj["status"].update(resourceSummary=summary))
        case "scale":
            await edit(hub, web(name), lambda obj: obj["spec"].update(replicas=value))
        case "place":
            await hub.put(_policy_of(name, value))
        case "place lazily":
            await hub.put(_policy_of(name, value, activationPreference="Lazy"))
        case "place blocked":
            await hub.put(_policy_of(name, value, dependentOverrides=["absent"]))
        case "unplace" if hub.get(hub.users.key(_policy_of(name, {}))) is not None:
            await hub.delete(hub.users.key(_policy_of(name, {})))
        case "pass":
            await hub.later(value)


def _all_decided(hub: Hub) -> None:
    """Deciding each template anew, on a view made from scratch, would leave its targets and whether it is scheduled. (Why one is not
    may have become worse: that is said again within five minutes.)"""
    view = View.of(hub.cache.snapshot, hub.now())
    for group, resource in (("apps", "deployments"), ("", "configmaps")):
        for entry in hub.cache.list(group, resource):
            plan = propagation.decide(hub.cache.snapshot, entry.key, hub.now(), view)
            for write in plan.writes:
                anew = write.object if isinstance(write, Put) else None
                assert _result(anew) == _result(hub.get(write.key)), f"{entry.key}: {plan.reasons}"


def _result(binding: Object | None) -> tuple[Any, Any]:
    spec, status = (binding or {}).get("spec") or {}, (binding or {}).get("status")
    return spec.get("clusters"), (condition(status, "Scheduled") or {}).get("status")
