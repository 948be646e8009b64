"""Descheduling: what is taken from a cluster whose nodes do not take it, and that it does not come back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from tests.decide.test_propagation import BINDING, WEB, a_world, clusters_of, condition, observed, propagate
from tests.decide.world import World, cluster, deployment, policy, selector
from towline.hub.decide import descheduling, lately
from towline.hub.decide.bindings import targets
from towline.hub.decide.capacity import Stuck
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.plan import Put
from towline.kube import names
from towline.kube.objects import Key, Object, generation_of, with_metadata

M1 = Key("cluster.karmada.io", "clusters", "", "m1")
DYNAMIC = {
    "replicaScheduling": {
        "replicaSchedulingType": "Divided",
        "replicaDivisionPreference": "Weighted",
        "weightPreference": {"dynamicWeight": "AvailableReplicas"},
    }
}
AGGREGATED = {
    "replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Aggregated"}
}
STATIC = {"replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted"}}


def with_room(name: str, cpus: int) -> Any:
    obj = cluster(name)
    free = {"cpu": str(cpus), "memory": "100Gi", "pods": "100"}
    obj["status"]["resourceSummary"] = {"allocatable": free}
    return obj


WEB_REF = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"}


def running(
    placement: Mapping[str, Any] = AGGREGATED, m1: int = 10, m2: int = 8, replicas: int = 5, ready: int = 0, **spec: Any
) -> World:  # fmt: skip
    """Five replicas that all went to m1, `ready` of which run."""
    world = a_world(clusters=())
    world.put(with_room("m1", m1))
    world.put(with_room("m2", m2))
    template = deployment(replicas=replicas, requests={"cpu": "1"})
    world.put(template)
    world.put(policy("web", [selector(template, name="web")], dict(placement), **spec))
    propagate(world)
    set_ready(world, ready)
    return world


def set_ready(world: World, ready: int) -> None:
    def change(obj: Any) -> None:
        for item in obj["status"]["aggregatedStatus"]:
            item["status"] = {"readyReplicas": ready} if item["clusterName"] == "m1" else {}

    world.edit(BINDING, change)


def deschedule(world: World, pods: int, unschedulable: int, name: str = "web") -> list[str]:
    """Tell the hub what m1's agent counted; the messages of what it does about it, which the binding's user and the template's see."""
    plans = world.settle(descheduling.decide, M1, (Stuck("shop", name, pods, unschedulable),))
    propagate(world)
    told = [(event.regarding["kind"], event.message) for plan in plans for event in plan.events]
    messages = [message for kind, message in told if kind == "ResourceBinding"]
    assert [message for kind, message in told if kind == "Deployment"] == messages
    return messages


@pytest.mark.parametrize(
    ("assigned", "ready", "stuck", "left"),
    [(5, 0, 2, 3), (5, 2, 3, 2), (5, 2, 5, 2), (5, 0, 5, 0), (5, 5, 2, 5), (5, 4, 3, 4)],
    ids=[
        "what finds no node", "what is ready stays", "more than can be", "nothing is left", "all are ready by now",
        "ready counts before what is stuck",
    ],
)  # fmt: skip
def test_how_many_are_taken(assigned: int, ready: int, stuck: int, left: int) -> None:
    world = running(ready=ready)
    assert clusters_of(world) == {"m1": assigned}
    told = deschedule(world, assigned, stuck)
    assert clusters_of(world).get("m1", 0) == left
    assert clusters_of(world).get("m2", 0) == assigned - left, "the others are placed elsewhere"
    taken = f"{assigned - left} replicas that find no node in cluster m1 are taken from it; it keeps {left}."
    assert told == ([taken] if left < assigned else [])
    assert observed(world) == (["m1", "m2"] if left < assigned else ["m1"]), (
        "whoever may hold a copy is known"
    )
    assert condition(world)["status"] == "True"


@pytest.mark.parametrize(
    ("change", "pods", "name"),
    [
        ({"placement": STATIC}, 2, "web"),
        ({"placement": {}}, 5, "web"),
        ({"suspension": {"scheduling": True}}, 5, "web"),
        ({"suspension": {"dispatching": True}}, 5, "web"),
        ({"schedulerName": "other"}, 5, "web"),
        ({}, 4, "web"),
        ({}, 6, "web"),
        ({}, 5, "foreign"),
        ({"resource": {**WEB_REF, "apiVersion": "example.com/v1"}}, 5, "web"),
        ({"resource": {**WEB_REF, "kind": "StatefulSet"}}, 5, "web"),
    ],
    ids=["static weights", "duplicated", "scheduling is suspended", "nothing is sent", "another scheduler's", "it is being scaled up", "it is being rolled out",
         "nobody's", "another group's", "another kind"],
)  # fmt: skip
def test_what_is_left_alone(change: dict[str, Any], pods: int, name: str) -> None:
    world = running(change.pop("placement", AGGREGATED))
    if change:
        world.edit(BINDING, lambda obj: obj["spec"].update(change))
    before = clusters_of(world)
    assert deschedule(world, pods, 2, name) == [] and clusters_of(world) == before


def test_what_no_policy_governs_is_left_alone() -> None:
    """Nobody would place elsewhere what is taken from it."""
    world = running()
    del world.objects[Key("policy.karmada.io", "propagationpolicies", "shop", "web")]
    propagate(world)
    assert deschedule(world, 5, 2) == [] and clusters_of(world) == {"m1": 5}


def test_a_cluster_that_leaves_is_left_alone() -> None:
    world = running()
    world.edit(M1, lambda obj: obj["metadata"].update(finalizers=[names.CLUSTER_FINALIZER]))
    world.delete(M1)
    assert descheduling.decide(world, M1, world.now, (Stuck("shop", "web", 5, 2),)).writes == ()


def test_while_some_have_no_place_no_more_are_taken() -> None:
    world = running(m1=5, m2=0)
    world.put(with_room("m1", 0))
    assert deschedule(world, 5, 2) != [] and clusters_of(world) == {"m1": 3}
    assert condition(world)["reason"] == "Unschedulable"
    world.now += 2 * lately.SECONDS
    assert deschedule(world, 3, 3) == []
    world.put(with_room("m2", 8))
    propagate(world)
    assert clusters_of(world) == {"m1": 3, "m2": 2}, "it heals"


@pytest.mark.parametrize("placement", [DYNAMIC, AGGREGATED], ids=["dynamic weights", "aggregated"])
def test_it_does_not_come_back_to_a_cluster_that_only_seems_to_have_room(
    placement: Mapping[str, Any],
) -> None:
    """m1's nodes never take more than two, whatever is counted there: a history of three hours, word by word of its agent."""
    world, moves = running(placement, m1=90, m2=90, replicas=6), 0
    for _ in range(180):
        world.now += 60
        assigned = clusters_of(world).get("m1", 0)
        set_ready(world, min(assigned, 2))
        before = clusters_of(world)
        if assigned > 2:
            deschedule(world, assigned, assigned - 2)
        moves += clusters_of(world) != before
        assert sum(clusters_of(world).values()) == 6
    assert moves == 1 and clusters_of(world) == {"m1": 2, "m2": 4}
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=8))
    propagate(world)
    assert sum(clusters_of(world).values()) == 8


def test_with_nowhere_else_to_go_it_waits_in_the_cluster_and_is_not_moved_about() -> None:
    world, moves = running(m1=90, m2=0), 0
    for minute in range(180):
        world.now += 60
        set_ready(world, 2)
        moves += bool(deschedule(world, 5, 3))
        assert clusters_of(world) == {"m1": 5}, f"minute {minute}"
    assert moves <= 180 * 60 // lately.SECONDS


def test_while_the_cluster_counts_as_full_new_replicas_go_elsewhere() -> None:
    world = running(m1=90)
    deschedule(world, 5, 3)
    assert clusters_of(world) == {"m1": 2, "m2": 3}
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=7))
    propagate(world)
    assert clusters_of(world) == {"m1": 2, "m2": 5}
    world.now += lately.SECONDS
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=9))
    propagate(world)
    assert clusters_of(world)["m1"] > 2, "it counts again"


def test_what_cannot_be_read_counts_for_nothing() -> None:
    for note in ("", "[]", "x", '{"m1": 3}', '{"m1": "never"}'):
        binding = {"metadata": {"annotations": {lately.DESCHEDULED: note}}}
        assert descheduling.full(binding, 1_000_000.0) == frozenset()


def _told(row: Object, binding: Object) -> None:
    binding["status"].update(aggregatedStatus=[row])


def test_one_that_is_left_alone_keeps_no_other_and_of_many_some_are_taken_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = running()
    web, gone = Stuck("shop", "web", 5, 2), Stuck("shop", "gone", 5, 2)
    assert len(descheduling.decide(world, M1, world.now, (gone, web)).writes) == 1
    rows: list[Object] = [{"clusterName": "m1", "status": {}}, {"clusterName": "m1"}]
    for row in rows:
        world.edit(BINDING, partial(_told, row))
        assert len(descheduling.decide(world, M1, world.now, (gone, web)).writes) == 1, "none is ready"
    living = world.objects[BINDING]
    world.objects[BINDING] = with_metadata(living, deletionTimestamp=rfc3339(world.now))
    assert descheduling.decide(world, M1, world.now, (gone, web)).writes == ()
    world.objects[BINDING] = living
    monkeypatch.setattr(descheduling, "_BINDINGS_MAX", 0)
    assert descheduling.decide(world, M1, world.now, (gone, web)).writes == ()
    assert descheduling.decide(World(), M1, world.now, (web,)).writes == ()


@pytest.mark.parametrize(("stuck", "left"), [(1, {"m1": 2, "m2": 3}), (3, {"m2": 3})])
def test_what_others_have_is_theirs(stuck: int, left: dict[str, int]) -> None:
    world = running(m1=3, m2=4, replicas=6)
    assert clusters_of(world) == {"m1": 3, "m2": 3}
    (write,) = descheduling.decide(world, M1, world.now, (Stuck("shop", "web", 3, stuck),)).writes
    assert isinstance(write, Put) and targets(write.object) == left
    assert generation_of(write.object) == generation_of(world.objects[BINDING]) + 1


def test_it_looks_again_while_something_is_stuck() -> None:
    world = running(ready=5)
    plan = descheduling.decide(world, M1, world.now, (Stuck("shop", "web", 5, 1),))
    assert plan.requeue_after_seconds == descheduling.INTERVAL_SECONDS
    assert descheduling.decide(world, M1, world.now, ()).requeue_after_seconds is None
