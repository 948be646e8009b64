"""Cluster failover, application failover and draining: who leaves, when, how, and what is said (Karmada 1.4, 2.9, 2.10, 2.15)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.decide.failing import (
    ONE_OF_ALL,
    REMOVED,
    all_healthy,
    blocked,
    decide,
    entries,
    evict,
    lose,
    propagate,
    recover,
    report,
    shop,
    taint,
    targets,
    tasks,
    works,
)
from tests.decide.test_descheduling import with_room
from tests.decide.test_estimates import Said
from tests.decide.test_propagation import BINDING, WEB, a_world
from tests.decide.test_tolerance import tainted
from tests.decide.world import World, cluster, cluster_role, configmap, deployment, policy, selector
from towline.hub.decide import aggregation, bindings, eviction, lately, propagation
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.departures import Departure, by_cluster
from towline.hub.decide.plan import NOTHING, Plan
from towline.hub.decide.preservation import NotPreserved, preserved_state
from towline.hub.decide.scheduling import View
from towline.kube.names import TAINT_DRAIN, TAINT_UNREACHABLE
from towline.kube.objects import Object

DIVIDED: Object = {"replicaScheduling": {"replicaSchedulingType": "Divided"}}
TWO = ONE_OF_ALL | {"spreadConstraints": [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 2}]}
DRAIN = {"key": TAINT_DRAIN, "effect": "NoExecute"}
APPLICATION = {"application": {"purgeMode": "Gracefully", "gracePeriodSeconds": 600}}


def where(world: World) -> str:
    (only,) = targets(world)
    return only


# --- cluster failover ----------------------------------------------------------------------------------------


def test_a_lost_cluster_is_left_after_its_toleration() -> None:
    world = shop(ONE_OF_ALL)
    lose(world, "m1")
    plan = evict(world, 299)[-1]
    assert targets(world) == {"m1": 3} and tasks(world) == {} and plan.requeue_after_seconds == 1.0
    (moved, at_rest) = evict(world, 1)
    assert targets(world) == {"m2": 3}
    lost_at = rfc3339(world.now - 300)
    assert tasks(world) == {
        "m1": {
            "fromCluster": "m1",
            "purgeMode": "Gracefully",
            "reason": "TaintUntolerated",
            "message": f"cluster m1 is unreachable since {lost_at}",
            "producer": "TaintManager",
            "creationTimestamp": rfc3339(world.now),
            "replicas": 3,
        }
    }
    assert list(entries(world)) == ["m1", "m2"], (
        "whoever may hold a copy is written down before anything is sent"
    )
    assert at_rest.requeue_after_seconds == 600.0
    told = [(note.regarding["kind"], note.reason) for note in moved.events if note.type == "Normal"]
    assert told[:2] == [("ResourceBinding", "EvictWorkloadFromClusterSucceed"), ("Deployment", "EvictWorkloadFromClusterSucceed")]  # fmt: skip
    assert moved.events[0].message == "Evict from cluster m1 succeed."
    status = world.objects[BINDING]["status"]
    assert status["schedulerObservedGeneration"] == world.objects[BINDING]["metadata"]["generation"]


@pytest.mark.parametrize(
    ("failover", "expected"),
    [
        ({"cluster": {}}, {"purgeMode": "Gracefully"}),
        ({"cluster": {"purgeMode": "Gracefully"}}, {"purgeMode": "Gracefully"}),
        ({"cluster": {"purgeMode": "Directly"}}, {"purgeMode": "Directly"}),
    ],
    ids=["default", "Gracefully", "Directly"],
)
def test_the_task_of_each_purge_mode(failover: Object, expected: Object) -> None:
    world = shop(ONE_OF_ALL, failover=failover)
    lose(world, "m1")
    told = [
        note.reason
        for plan in evict(world, 300)
        for note in plan.events
        if note.regarding["kind"] == "Deployment"
    ]
    assert told == ["EvictWorkloadFromClusterSucceed", "ScheduleBindingSucceed"], "where users look"
    task = tasks(world)["m1"]
    assert {
        f: task[f] for f in ("purgeMode", "gracePeriodSeconds", "suppressDeletion") if f in task
    } == expected


def test_a_cluster_that_is_back_in_time_is_not_left() -> None:
    world = shop(ONE_OF_ALL)
    lose(world, "m1")
    evict(world, 200)
    recover(world, "m1")
    assert evict(world, 200)[-1].requeue_after_seconds is None
    assert targets(world) == {"m1": 3}


@pytest.mark.parametrize(
    "failover", [{}, {"application": {"purgeMode": "Directly"}}], ids=["none", "another"]
)
def test_without_failover_nothing_leaves_by_itself(failover: Object) -> None:
    world = shop(ONE_OF_ALL, failover=failover, propagateDeps=True)
    lose(world, "m1")
    taint(world, "m1", tainted())
    evict(world, 10_000)
    assert targets(world) == {"m1": 3} and blocked(world) == ""


def test_divided_replicas_move_to_where_there_are_others() -> None:
    world = shop(DIVIDED, replicas=6)
    assert targets(world) == {"m1": 2, "m2": 2, "m3": 2}
    lose(world, "m2")
    evict(world, 300)
    assert targets(world) == {"m1": 3, "m3": 3} and tasks(world)["m2"]["replicas"] == 2


def test_a_group_that_is_lost_moves_to_the_next() -> None:
    groups = [
        {"affinityName": "a", "clusterNames": ["m1", "m2"]},
        {"affinityName": "b", "clusterNames": ["m3"]},
    ]
    world = shop({"clusterAffinities": groups})
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m1": 3, "m2": 3}, "the group lives, and each of it has its copy"
    lose(world, "m2")
    evict(world, 300)
    assert targets(world) == {"m3": 3} and tasks(world).keys() == {"m1", "m2"}
    assert blocked(world) == ""


def test_where_nothing_else_is_left_an_earlier_group_has_it_again() -> None:
    groups = [{"affinityName": name, "clusterNames": [name]} for name in ("m1", "m2", "m3")]
    world = shop({"clusterAffinities": groups})
    lose(world, "m1")
    evict(world, 300)
    all_healthy(world)
    evict(world)
    recover(world, "m1")
    report(world, m1=REMOVED)
    propagate(world)
    assert targets(world) == {"m2": 3}, "by itself it does not go back"
    lose(world, "m2")
    lose(world, "m3")
    evict(world, 300)
    assert targets(world) == {"m1": 3} and list(tasks(world)) == ["m2"] and blocked(world) == ""
    all_healthy(world, "m2")
    evict(world)
    assert targets(world) == {"m1": 3} and tasks(world) == {}


def test_a_later_group_goes_before_an_earlier_one() -> None:
    groups = [{"affinityName": name, "clusterNames": [name]} for name in ("m1", "m2", "m3")]
    world = shop({"clusterAffinities": groups})
    lose(world, "m1")
    evict(world, 300)
    recover(world, "m1")
    lose(world, "m2")
    evict(world, 300)
    assert targets(world) == {"m3": 3}


@pytest.mark.parametrize("mode", ["Gracefully", "Directly"])
def test_who_has_fewer_because_another_leaves_keeps_what_it_had_until_the_new_ones_work(mode: str) -> None:
    world = shop(DIVIDED, failover={"cluster": {"purgeMode": mode}}, replicas=4)
    taint(world, "m3", tainted())
    lose(world, "m2")
    evict(world, 300)
    all_healthy(world)
    evict(world)
    report(world, m2=REMOVED, m3=REMOVED)
    world.edit(
        BINDING,
        lambda obj: obj["spec"].update(
            clusters=[{"name": "m1", "replicas": 3}, {"name": "m3", "replicas": 1}]
        ),
    )
    report(world, m1=works(3), m3=works(1))
    recover(world, "m2")
    evict(world)
    assert targets(world) == {"m1": 2, "m2": 2}
    kept = {"m1": 3, "m3": 1} if mode == "Gracefully" else {"m3": 1}
    assert {name: task["replicas"] for name, task in tasks(world).items()} == kept
    assert bindings.desired(world.objects[BINDING])["m1"] == (3 if mode == "Gracefully" else 2)
    report(world, m2=works(2), m3=REMOVED)
    evict(world)
    report(world, m2=works(2), m3=REMOVED)
    evict(world)
    assert tasks(world) == {} and bindings.desired(world.objects[BINDING]) == {"m1": 2, "m2": 2}


@pytest.mark.parametrize("mode", ["Gracefully", "Directly"])
def test_who_leaves_along_with_others_leaves_like_them(mode: str) -> None:
    """Two of a group are wanted, and one is lost: all goes to the next group. What works is kept until that does."""
    groups = [
        {"affinityName": "a", "clusterNames": ["m1", "m2"]},
        {"affinityName": "b", "clusterNames": ["m3", "m4"]},
    ]
    both = [{"spreadByField": "cluster", "minGroups": 2, "maxGroups": 2}]
    placement = {"clusterAffinities": groups, "spreadConstraints": both}
    world = shop(placement, ("m1", "m2", "m3", "m4"), failover={"cluster": {"purgeMode": mode}})
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m3": 3, "m4": 3}
    assert {name: task["purgeMode"] for name, task in tasks(world).items()} == {"m1": mode, "m2": mode}
    assert tasks(world)["m2"]["message"] == "cluster m2 is left too: all of it goes where m1 can be replaced"
    recover(world, "m1")
    report(world, m1=REMOVED, **({"m2": REMOVED} if mode == "Directly" else {}), m3=works(3))
    evict(world)
    assert tasks(world).keys() == {"m1", "m2"}, "m4 does not work yet"
    report(world, m4=works(3))
    evict(world)
    assert tasks(world) == {}


@pytest.mark.parametrize(
    ("ended", "trouble", "stays"),
    [
        pytest.param("Complete", "lost", True, id="complete"),
        pytest.param("Failed", "lost", True, id="failed"),
        pytest.param(None, "lost", False, id="it runs"),
        pytest.param("Suspended", "lost", False, id="it is suspended"),
        pytest.param("Complete", "tainted", True, id="complete, and somebody wants the cluster empty"),
        pytest.param(None, "tainted", False, id="it runs, and somebody wants the cluster empty"),
    ],
)
def test_a_job_that_has_ended_is_not_run_again(ended: str | None, trouble: str, stays: bool) -> None:
    template = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum", "namespace": "shop"},
        "spec": {"template": {"spec": {"containers": []}}},
    }  # fmt: skip
    world = a_world(template, policy("sum", [selector(template)], ONE_OF_ALL, failover={"cluster": {}}))
    key, at = world.key(template), bindings.key_for("shop", "sum", "Job")
    world.settle(propagation.decide, key)
    said = {"conditions": [{"type": ended, "status": "True"}]} if ended else {}
    entry = {"clusterName": "m1", "applied": True, "health": "Healthy", "status": said}
    world.edit(at, lambda obj: obj["status"].update(aggregatedStatus=[entry]))
    if trouble == "lost":
        lose(world, "m1")
    else:
        taint(world, "m1", tainted())
    world.now += 300
    world.settle(lambda w, k, n: eviction.decide(w, k, n, View.of(w, n)), at)
    assert [c["name"] for c in world.objects[at]["spec"]["clusters"]] == (["m1"] if stays else ["m2"])


# --- nowhere to go -------------------------------------------------------------------------------------------


def test_with_nowhere_to_go_nothing_leaves_and_the_condition_says_so() -> None:
    world = shop({"clusterAffinity": {"clusterNames": ["m1"]}})
    lose(world, "m1")
    said, at_rest = evict(world, 300)
    assert targets(world) == {"m1": 3} and tasks(world) == {}
    assert blocked(world).startswith("NowhereToGo: m1 is unreachable since ")
    assert blocked(world).count("is unreachable") == 1
    assert "0/3 clusters are available: " in blocked(world)
    assert [note.reason for note in said.events] == ["EvictWorkloadFromClusterFailed"] * 2
    assert at_rest.waits, "it is looked at again when something could help"
    recover(world, "m1")
    evict(world)
    assert blocked(world) == ""


def test_it_leaves_when_a_place_comes() -> None:
    world = shop(ONE_OF_ALL, clusters=("m1",))
    lose(world, "m1")
    evict(world, 300)
    assert blocked(world)
    world.put(cluster("m2"))
    propagate(world)
    evict(world)
    assert blocked(world) == "" and targets(world) == {"m2": 3}


def test_everywhere_else_has_its_copy_already() -> None:
    """To leave would only delete the copy when the cluster is back."""
    world = shop()
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m1": 3, "m2": 3, "m3": 3} and tasks(world) == {}
    assert "every other cluster that may have a copy has one already" in blocked(world)


def test_with_several_in_trouble_each_is_told_of_once() -> None:
    world = shop(clusters=("m1", "m2"))
    lose(world, "m1")
    lose(world, "m2")
    evict(world, 300)
    assert [blocked(world).count(f"{name} is unreachable") for name in ("m1", "m2")] == [1, 1]


def test_a_replacement_does_not_go_to_a_cluster_that_is_lost_itself() -> None:
    world = shop(DIVIDED, clusters=("m1", "m2"), replicas=4)
    lose(world, "m1")
    world.now += 30
    lose(world, "m2")
    evict(world, 270)
    assert targets(world) == {"m1": 2, "m2": 2} and "m2, which is lost itself" in blocked(world)
    recover(world, "m2")
    evict(world)
    assert targets(world) == {"m2": 4}


def test_of_two_that_are_lost_the_one_that_can_moves() -> None:
    world = shop(TWO)
    assert targets(world) == {"m1": 3, "m2": 3}
    lose(world, "m1")
    lose(world, "m2")
    evict(world, 300)
    assert targets(world) == {"m2": 3, "m3": 3} and list(tasks(world)) == ["m1"]
    assert "m2 is unreachable" in blocked(world)


def test_who_is_to_leave_at_somebodys_wish_leaves_without_who_cannot() -> None:
    """Everybody has a copy; one cluster is lost, and of another somebody said that it is to be without."""
    world = shop()
    lose(world, "m2")
    world.now += 300
    taint(world, "m1", tainted())
    evict(world)
    assert targets(world) == {"m2": 3, "m3": 3} and "m2 is unreachable" in blocked(world)


def test_one_copy_that_is_there_is_enough_for_one_that_somebody_wants_gone() -> None:
    world = shop()
    lose(world, "m2")
    taint(world, "m1", tainted())
    evict(world)
    assert targets(world) == {"m2": 3, "m3": 3} and blocked(world) == ""


def test_where_there_is_room_for_a_part_only_nothing_leaves() -> None:
    """Half an application elsewhere and half of it nowhere is nobody's wish; it heals when there is room."""
    world = shop({"replicaScheduling": {"replicaDivisionPreference": "Aggregated"}}, clusters=(), replicas=5)
    world.edit(WEB, lambda obj: obj["spec"].update(deployment(requests={"cpu": "1"})["spec"], replicas=5))
    for name, cpus in (("m1", 8), ("m2", 3)):
        world.put(with_room(name, cpus))
    propagate(world)
    assert targets(world) == {"m1": 5}
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m1": 5} and tasks(world) == {}
    assert "Clusters available replicas 3 are not enough" in blocked(world)
    assert blocked(world).endswith("5 more are wanted; there is room for 3 in m2.")
    world.put(with_room("m2", 9))
    evict(world)
    assert targets(world) == {"m2": 5} and blocked(world) == ""


@pytest.mark.parametrize(
    ("lost_seconds", "replicas", "expected"),
    [
        pytest.param(299, 3, {"m1": 1, "m2": 2}, id="tolerated: in proportion"),
        pytest.param(300, 3, {"m2": 3}, id="what could not leave goes first"),
        pytest.param(300, 4, {"m1": 1, "m2": 3}, id="as far as there is more than wanted"),
        pytest.param(300, 2, {"m2": 2}, id="and then what works"),
        pytest.param(300, 0, {"m1": 0, "m2": 0}, id="to zero"),
    ],
)
def test_who_is_scaled_down_keeps_what_works(
    lost_seconds: int, replicas: int, expected: dict[str, int]
) -> None:
    """Of six replicas the cluster of three is lost, and there is no room for them elsewhere."""
    dynamic = {"replicaScheduling": {"weightPreference": {"dynamicWeight": "AvailableReplicas"}}}
    world = shop(dynamic, clusters=(), replicas=6)
    world.edit(WEB, lambda obj: obj["spec"].update(deployment(requests={"cpu": "1"})["spec"], replicas=6))
    for name in ("m1", "m2"):
        world.put(with_room(name, 3))
    propagate(world)
    assert targets(world) == {"m1": 3, "m2": 3}
    all_healthy(world)
    for name in ("m1", "m2"):
        world.put(with_room(name, 0))
    lose(world, "m1")
    evict(world, lost_seconds)
    assert bool(blocked(world)) is (lost_seconds == 300)
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=replicas))
    propagate(world)
    assert targets(world) == expected and tasks(world) == {}


def test_who_is_scaled_down_and_wants_two_clusters_keeps_both() -> None:
    spread = [{"spreadByField": "cluster", "minGroups": 2, "maxGroups": 2}]
    dynamic = {"replicaScheduling": {"weightPreference": {"dynamicWeight": "AvailableReplicas"}}}
    world = shop(dynamic | {"spreadConstraints": spread}, clusters=(), replicas=6)
    for name in ("m1", "m2"):
        world.put(with_room(name, 3))
    propagate(world)
    lose(world, "m1")
    world.now += 300
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=2))
    propagate(world)
    assert targets(world) == {"m1": 1, "m2": 1}


def test_it_asks_agents_for_room_before_it_moves() -> None:
    world = shop({"replicaScheduling": {"replicaDivisionPreference": "Aggregated"}}, clusters=())
    for name in ("m1", "m2"):
        world.put(with_room(name, 10))
    propagate(world)
    assert targets(world) == {"m1": 3}
    lose(world, "m1")
    world.now += 300
    view = replace(View.of(world, world.now), answers=Said({"m2"}, {}))
    plan = eviction.decide(world, BINDING, world.now, view)
    assert [ask.cluster for ask in plan.asks] == ["m2"] and not plan.writes


@pytest.mark.parametrize("kind", ["ClusterResourceBinding", "ResourceBinding"])
def test_both_kinds_of_bindings_fail_over(kind: str) -> None:
    """For a loss, and for an application that fails."""
    template = cluster_role() if kind == "ClusterResourceBinding" else configmap()
    namespace = None if kind == "ClusterResourceBinding" else "shop"
    failover = {"cluster": {}, **APPLICATION}
    rule = policy(
        "any", [selector(template)], ONE_OF_ALL, namespace=namespace, failover=failover, propagateDeps=True
    )
    world = a_world(template, rule, clusters=("m1", "m2", "m3"))
    world.settle(propagation.decide, world.key(template))
    at = bindings.key_for(namespace or "", template["metadata"]["name"], template["kind"])

    def left() -> list[tuple[str, str]]:
        for _ in range(3):
            world.apply(eviction.decide(world, at, world.now, View.of(world, world.now)))
        found = world.objects[at]["spec"]["gracefulEvictionTasks"]
        return [(task["fromCluster"], task["producer"]) for task in found]

    unhealthy = {
        "clusterName": "m1",
        "applied": True,
        "health": "Unhealthy",
        "unhealthySince": rfc3339(world.now),
    }
    world.edit(at, lambda obj: obj["status"].update(aggregatedStatus=[unhealthy]))
    world.now += 300
    names = {"ResourceBinding": "resource-binding", "ClusterResourceBinding": "cluster-resource-binding"}
    producer = f"{names[kind]}-application-failover-controller"
    assert left() == [("m1", producer)]
    lose(world, "m2")
    world.now += 300
    assert left() == [("m1", producer), ("m2", "TaintManager")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"suspension": {"scheduling": True}}, "its scheduling is suspended"),
        ({"suspension": {"dispatching": True}}, "its dispatching is suspended"),
        ({"schedulerName": "mine"}, "scheduler mine places it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_placed_here_does_not_leave(change: Object, why: str) -> None:
    world = shop(ONE_OF_ALL)
    world.edit(BINDING, lambda obj: obj["spec"].update(change))
    lose(world, "m1")
    world.now += 300
    world.settle(lambda w, k, n: decide(w), BINDING)
    assert blocked(world).startswith("NotPlacedHere: ") and why in blocked(world)
    assert targets(world) == {"m1": 3}


def test_what_no_policy_governs_does_not_leave() -> None:
    world = shop(ONE_OF_ALL)
    at = next(key for key in world.objects if key.resource == "propagationpolicies")
    del world.objects[at]
    propagate(world)
    lose(world, "m1")
    evict(world, 300)
    assert "no policy governs it any more" in blocked(world)


def test_a_cluster_where_dispatching_is_suspended_is_no_place() -> None:
    world = shop(ONE_OF_ALL, suspension={"dispatchingOnClusters": {"clusterNames": ["m2"]}})
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m3": 3} and blocked(world) == ""


def test_with_nowhere_else_it_says_where_dispatching_is_suspended() -> None:
    suspended = {"dispatchingOnClusters": {"clusterNames": ["m2"]}}
    world = shop(ONE_OF_ALL, clusters=("m1", "m2"), suspension=suspended)
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m1": 3} and "1 cluster(s) has its dispatching suspended" in blocked(world)


# --- a hub in doubt ------------------------------------------------------------------------------------------


def test_a_hub_in_doubt_evicts_nothing_but_what_is_drained() -> None:
    world = shop(ONE_OF_ALL)
    lose(world, "m1")
    later = Plan(requeue_after_seconds=eviction.DOUBT_SECONDS)
    assert evict(world, 1000, doubted=lambda: {"m1"})[-1] == later
    taint(world, "m1", tainted())
    assert evict(world, doubted=lambda: {"m1"})[-1] == later
    taint(world, "m1", DRAIN)
    evict(world, doubted=lambda: {"m1"})
    assert targets(world) == {"m2": 3}


def test_to_doubt_one_loss_holds_no_other_back() -> None:
    world = shop(ONE_OF_ALL)
    lose(world, "m1")
    evict(world, 300, doubted=lambda: {"m3"})
    assert targets(world) == {"m2": 3} and list(tasks(world)) == ["m1"]


def test_where_one_is_drained_the_doubt_of_others_goes_on() -> None:
    world = shop(TWO, clusters=("m1", "m2", "m3", "m4"))
    assert targets(world) == {"m1": 3, "m2": 3}
    lose(world, "m1")
    taint(world, "m2", DRAIN)
    plan = evict(world, 1000, doubted=lambda: {"m1"})[-1]
    assert targets(world) == {"m1": 3, "m3": 3} and plan.requeue_after_seconds == eviction.DOUBT_SECONDS


def test_a_hub_that_just_started_waits_for_its_agents() -> None:
    world = shop(ONE_OF_ALL)
    lose(world, "m1")
    plan = evict(world, 1000, settled_at=world.now + 1040)[-1]
    assert targets(world) == {"m1": 3} and plan.requeue_after_seconds == 40.0


def test_an_operators_word_counts_where_the_hub_waits() -> None:
    world = shop(ONE_OF_ALL)
    taint(world, "m1", DRAIN)
    evict(world, settled_at=world.now + 40)
    assert targets(world) == {"m2": 3}


# --- taints and draining -------------------------------------------------------------------------------------


def test_a_taint_makes_a_copy_leave_where_others_have_theirs() -> None:
    """Whoever taints a cluster NoExecute wants it without the copy."""
    world = shop()
    taint(world, "m1", tainted())
    evict(world)
    assert targets(world) == {"m2": 3, "m3": 3}
    assert tasks(world) == {}, "the others are healthy: the copy need not wait"
    assert list(entries(world)) == ["m1", "m2", "m3"], "its removal is to be acknowledged"


def test_the_only_place_is_kept_when_it_is_drained() -> None:
    world = shop({"clusterAffinity": {"clusterNames": ["m1"]}}, failover={})
    taint(world, "m1", DRAIN)
    evict(world)
    assert targets(world) == {"m1": 3} and blocked(world).startswith("NowhereToGo: m1 is being drained: 0/3 ")


def test_the_last_copy_that_is_there_is_not_drained_away() -> None:
    world = shop(clusters=("m1", "m2"), failover={})
    lose(world, "m2")
    taint(world, "m1", DRAIN)
    evict(world)
    assert targets(world) == {"m1": 3, "m2": 3} and "no other cluster that has a copy is there" in blocked(
        world
    )


def test_the_drain_of_one_cluster_lets_no_loss_count() -> None:
    """Of a binding that no policy lets fail over."""
    world = shop(ONE_OF_ALL, failover={})
    lose(world, "m1")
    taint(world, "m3", DRAIN)
    evict(world, 10_000)
    assert targets(world) == {"m1": 3}
    assert eviction.draining(View.of(world, world.now).members)
    taint(world, "m3")
    assert not eviction.draining(View.of(world, world.now).members)


FOR_EVER = [{"key": TAINT_UNREACHABLE, "operator": "Exists"}]
WEIGHTS = {"staticWeightList": [{"targetCluster": {"clusterNames": [name]}, "weight": 1} for name in ("m1", "m2", "m3")]}  # fmt: skip


@pytest.mark.parametrize(
    ("placement", "failover", "expected"),
    [
        pytest.param(DIVIDED, None, {"m1": 2, "m3": 4}, id="equal weights"),
        pytest.param({"replicaScheduling": {"weightPreference": WEIGHTS}}, None, {"m1": 2, "m3": 4}, id="a list"),
        pytest.param(DIVIDED, {}, {"m1": 2, "m3": 4}, id="no failover"),
        pytest.param({"replicaScheduling": {"weightPreference": {"dynamicWeight": "AvailableReplicas"}}}, None, {"m1": 2, "m3": 4}, id="by room"),
        pytest.param(ONE_OF_ALL, None, {"m3": 6}, id="one copy"),
    ],
)  # fmt: skip
def test_a_cluster_that_is_lost_and_tolerated_keeps_no_other_from_being_drained(
    placement: Object, failover: Object | None, expected: dict[str, int]
) -> None:
    """It keeps what it has, and takes nothing over."""
    world = shop(placement | {"clusterTolerations": FOR_EVER}, clusters=(), failover=failover, replicas=6)
    for name in ("m1", "m2", "m3"):
        world.put(with_room(name, 10))
    propagate(world)
    all_healthy(world)
    drained, lost = ("m1", "m2") if len(targets(world)) == 1 else ("m2", "m1")
    lose(world, lost)
    taint(world, drained, DRAIN)
    evict(world)
    assert targets(world) == expected and blocked(world) == "" and drained not in targets(world)


def test_what_is_lost_takes_nothing_over_and_the_condition_says_so() -> None:
    world = shop(DIVIDED, clusters=("m1", "m2"), failover={}, replicas=4)
    lose(world, "m1")
    taint(world, "m2", DRAIN)
    evict(world)
    assert targets(world) == {"m1": 2, "m2": 2}
    assert blocked(world) == "NowhereToGo: m2 is being drained: no cluster with a weight is left for 2 replicas; m1, which is lost itself, gets no more"  # fmt: skip
    recover(world, "m1")
    evict(world)
    assert targets(world) == {"m1": 4} and blocked(world) == ""


def test_draining_is_graceful_whatever_the_policy_says() -> None:
    world = shop(ONE_OF_ALL, failover={"cluster": {"purgeMode": "Directly"}})
    taint(world, "m1", DRAIN)
    evict(world)
    assert tasks(world)["m1"]["purgeMode"] == "Gracefully"


def test_what_is_drained_comes_back_only_after_it_ended() -> None:
    world = shop(failover={})
    taint(world, "m1", DRAIN)
    evict(world)
    propagate(world)
    assert targets(world) == {"m2": 3, "m3": 3}
    taint(world, "m1")
    propagate(world)
    assert targets(world) == {"m1": 3, "m2": 3, "m3": 3}


def departing(cluster: str, at: float, wished: bool = False) -> Departure:
    return Departure(cluster, at, f"at {at:.0f}", "TaintUntolerated", wished, {})


def test_of_several_reasons_to_leave_a_cluster_the_wish_counts_then_the_earliest() -> None:
    found = [
        departing("m1", 50), departing("m1", 40), departing("m1", 60, wished=True), departing("m1", 70, wished=True),
        departing("m3", 10), departing("m2", 20), departing("m2", 5), departing("m0", 60),
    ]  # fmt: skip
    for rows in (found, found[::-1]):
        assert [(d.cluster, d.at) for d in by_cluster(rows)] == [
            ("m2", 5),
            ("m3", 10),
            ("m0", 60),
            ("m1", 60),
        ], "the longest due first"


# --- application failover ------------------------------------------------------------------------------------


def test_an_application_that_stays_unhealthy_moves() -> None:
    world = shop(ONE_OF_ALL, failover=APPLICATION, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    assert entries(world)["m1"]["unhealthySince"] == rfc3339(world.now)
    world.now += 100
    report(world, m1=works(2, "Unhealthy"))
    plan = evict(world, 100)[-1]
    assert targets(world) == {"m1": 3} and plan.requeue_after_seconds == 100.0, "counted from when it began"
    evict(world, 100)
    assert targets(world) == {"m2": 3}
    task = tasks(world)["m1"]
    assert (task["reason"], task["producer"]) == (
        "ApplicationFailure",
        "resource-binding-application-failover-controller",
    )
    assert task["gracePeriodSeconds"] == 600


@pytest.mark.parametrize(
    ("rule", "grace", "suppressed"),
    [
        ({"purgeMode": "Gracefully"}, 600, None),
        ({"purgeMode": "Gracefully", "gracePeriodSeconds": 5}, 5, None),
        ({"purgeMode": "Directly"}, None, None),
        ({"purgeMode": "Never"}, None, True),
        ({}, 600, None),
    ],
    ids=["Gracefully", "its own grace", "Directly", "Never", "nothing said"],
)
def test_the_task_of_an_application_that_fails(
    rule: Object, grace: int | None, suppressed: bool | None
) -> None:
    """gracePeriodSeconds or suppressDeletion, never both (Karmada 1.4)."""
    world = shop(ONE_OF_ALL, failover={"application": rule}, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    evict(world, 300)
    task = tasks(world)["m1"]
    assert (task.get("gracePeriodSeconds"), task.get("suppressDeletion")) == (grace, suppressed)
    assert task["purgeMode"] == rule.get("purgeMode", "Gracefully") and task["replicas"] == 3


@pytest.mark.parametrize(
    ("tolerated", "leaves_after"),
    [({}, 300), ({"tolerationSeconds": 0}, 0), ({"tolerationSeconds": 7}, 7)],
    ids=str,
)
def test_how_long_an_application_may_be_unhealthy(tolerated: Object, leaves_after: int) -> None:
    failover = {"application": {"decisionConditions": tolerated}}
    world = shop(ONE_OF_ALL, failover=failover, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    if leaves_after:
        evict(world, leaves_after - 1)
        assert targets(world) == {"m1": 3}
    evict(world, min(1, leaves_after))
    assert targets(world) == {"m2": 3}


def test_what_recovers_starts_anew() -> None:
    world = shop(ONE_OF_ALL, failover=APPLICATION, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    world.now += 200
    report(world, m1=works(3))
    assert "unhealthySince" not in entries(world)["m1"]
    report(world, m1=works(1, "Unhealthy"))
    evict(world, 200)
    assert targets(world) == {"m1": 3}


def test_an_application_that_is_unhealthy_everywhere_stays() -> None:
    world = shop(failover=APPLICATION, propagateDeps=True)
    report(world, **{name: works(0, "Unhealthy") for name in targets(world)})
    evict(world, 300)
    assert targets(world) == {"m1": 3, "m2": 3, "m3": 3} and blocked(world)


def test_replicas_do_not_move_to_where_it_is_unhealthy_too() -> None:
    world = shop(DIVIDED, clusters=("m1", "m2"), replicas=4, failover=APPLICATION, propagateDeps=True)
    report(world, m1=works(0, "Unhealthy"))
    world.now += 200
    report(world, m2=works(1, "Unhealthy"))
    evict(world, 100)
    assert "m2, which has the application unhealthy too, gets no more" in blocked(world)


def test_one_that_fails_and_one_that_is_lost_do_not_meet_where_it_fails_too() -> None:
    failover = {"cluster": {}, **APPLICATION}
    world = shop(DIVIDED, replicas=6, failover=failover, propagateDeps=True)
    report(world, m1=works(0, "Unhealthy"))
    lose(world, "m2")
    world.now += 200
    report(world, m3=works(1, "Unhealthy"))
    evict(world, 100)
    assert targets(world) == {"m1": 3, "m3": 3} and list(tasks(world)) == ["m2"]


def failing_everywhere(world: World, seconds: int, step: int = 100) -> list[str]:
    """Wherever it goes, it is there and unhealthy, and the old copy is removed; where it was, in order."""
    been = [where(world)]
    for _ in range(seconds // step):
        report(world, **{where(world): works(1, "Unhealthy")})
        evict(world, step)
        gone = entries(world).keys() - bindings.desired(world.objects[BINDING]).keys()
        report(world, **dict.fromkeys(gone, REMOVED))
        been += [where(world)] if where(world) != been[-1] else []
    return been


@pytest.mark.parametrize("purge", ["Gracefully", "Directly"])
def test_what_fails_everywhere_does_not_go_to_and_fro(purge: str) -> None:
    """Once around, and then where it is left, until long after it failed there nothing is known of a cluster any more."""
    grace = {"gracePeriodSeconds": 60} if purge == "Gracefully" else {}
    failover = {"application": {"purgeMode": purge, **grace}}
    world = shop(ONE_OF_ALL, failover=failover, propagateDeps=True)
    assert failing_everywhere(world, 1800) == ["m1", "m2", "m3"]
    assert "2 cluster(s) had the application fail not long ago" in blocked(world)
    assert failing_everywhere(world, 3 * 1800) == ["m3", "m1", "m2", "m3", "m1", "m2", "m3"]


def test_what_is_blocked_by_where_it_failed_is_looked_at_when_that_is_forgotten() -> None:
    failover = {"application": {"purgeMode": "Directly"}}
    world = shop(ONE_OF_ALL, clusters=("m1", "m2"), failover=failover, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    evict(world, 300)
    left_at = world.now
    report(world, m1=REMOVED, m2=works(1, "Unhealthy"))
    evict(world)
    report(world, m2=works(1, "Unhealthy"))
    looked = 0
    while where(world) == "m2" and looked < 9:
        seconds = evict(world)[-1].requeue_after_seconds
        assert seconds is not None
        evict(world, seconds)
        looked += 1
    assert where(world) == "m1" and world.now == left_at + lately.SECONDS


def test_to_be_lost_is_worse_than_to_go_back_to_where_it_failed() -> None:
    failover = {"cluster": {}, "application": {"purgeMode": "Directly"}}
    world = shop(ONE_OF_ALL, clusters=("m1", "m2"), failover=failover, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    evict(world, 300)
    report(world, m1=REMOVED, m2=works(3))
    evict(world)
    lose(world, "m2")
    evict(world, 300)
    assert where(world) == "m1"


def test_never_keeps_the_copy_until_somebody_lets_go() -> None:
    failover = {"application": {"purgeMode": "Never"}}
    world = shop(ONE_OF_ALL, failover=failover, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    evict(world, 300)
    report(world, m2=works(3))
    evict(world, 10_000)
    assert tasks(world)["m1"]["suppressDeletion"] is True

    def let_go(obj: Object) -> None:
        obj["spec"]["gracefulEvictionTasks"][0]["suppressDeletion"] = False

    world.edit(BINDING, let_go)
    evict(world)
    assert tasks(world) == {}


# --- stateful failover ---------------------------------------------------------------------------------------

RULES = [{"aliasLabelName": "state", "jsonPath": "{.replicas}"}]


def stateful(purge: str = "Directly") -> Object:
    return {"cluster": {"purgeMode": purge, "statePreservation": {"rules": RULES}}}


def test_state_is_preserved_in_the_task() -> None:
    world = shop(ONE_OF_ALL, failover=stateful())
    lose(world, "m1")
    evict(world, 300)
    task = tasks(world)["m1"]
    assert (task["preservedLabelState"], task["clustersBeforeFailover"]) == ({"state": "3"}, ["m1"])


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("{.absent}", "statePreservation finds nothing at {.absent}"),
        ("{.conditions}", "is no label value"),
        ("{.a[", "statePreservation cannot read {.a["),
    ],
)
def test_without_its_state_nothing_leaves(path: str, why: str) -> None:
    failover = {"cluster": {"statePreservation": {"rules": [{"aliasLabelName": "s", "jsonPath": path}]}}}
    world = shop(ONE_OF_ALL, failover=failover)
    report(world, m1=works(3, conditions=[{"type": "x"}]))
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m1": 3} and why in blocked(world)


@pytest.mark.parametrize(
    ("path", "kept", "why"),
    [
        pytest.param("{.job}", "a-1", None, id="a string"),
        pytest.param("{.empty}", "", None, id="an empty one"),
        pytest.param("{.count}", "1000000", None, id="a number, as it is written"),
        pytest.param("{.share}", "0.5", None, id="a fraction"),
        pytest.param("{.done}", "true", None, id="a boolean"),
        pytest.param("{.steps[1]}", "two", None, id="one of a list"),
        pytest.param('{.rows[?(@.type=="b")].value}', "2", None, id="the one that is meant"),
        pytest.param("{.steps[*]}", None, "finds 2 values at {.steps[*]}", id="several"),
        pytest.param("{.nothing}", None, "finds nothing at {.nothing}", id="null"),
        pytest.param("{.absent.at.all}", None, "finds nothing", id="a missing path"),
        pytest.param("{.rows[0]}", None, "is no label value", id="an object"),
        pytest.param("{.words}", None, "is no label value", id="a string that is no label value"),
    ],
)  # fmt: skip
def test_what_state_is_kept(path: str, kept: str | None, why: str | None) -> None:
    status = {
        "job": "a-1", "empty": "", "count": 1_000_000, "share": 0.5, "done": True, "steps": ["one", "two"], "nothing": None,
        "rows": [{"type": "a", "value": 1}, {"type": "b", "value": 2}], "words": "not a label",
    }  # fmt: skip
    rule = {"statePreservation": {"rules": [{"aliasLabelName": "s", "jsonPath": path}]}}
    if why is None:
        assert preserved_state(rule, status) == {"s": kept}
    else:
        with pytest.raises(NotPreserved, match=re.escape(why)):
            preserved_state(rule, status)
    with pytest.raises(NotPreserved, match="its status is not known"):
        preserved_state(rule, None)


# --- small rules ---------------------------------------------------------------------------------------------


def test_what_a_cluster_said_of_an_earlier_copy_is_not_the_replacements() -> None:
    world = shop(ONE_OF_ALL)
    binding = world.objects[BINDING]
    old = {"clusterName": "m2", "applied": True, "health": "Healthy", "status": {"readyReplicas": 3}}
    binding["status"]["aggregatedStatus"].append(old)
    lose(world, "m1")
    evict(world, 300)
    assert where(world) == "m2" and entries(world)["m2"] == {"clusterName": "m2"}
    assert tasks(world), "it is not taken for healthy"


def test_a_lost_cluster_is_no_target_although_it_may_be_scheduled_to() -> None:
    toleration = {"key": TAINT_UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}
    world = shop(ONE_OF_ALL | {"clusterTolerations": [toleration]})
    lose(world, "m1")
    evict(world, 300)
    all_healthy(world)
    evict(world, 601)
    assert targets(world) == {"m2": 3} and tasks(world) == {}, "it does not go back and forth"


def test_only_who_is_evicted_by_taints_takes_a_turn() -> None:
    world = shop(ONE_OF_ALL, failover=APPLICATION, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    world.now += 300
    assert not eviction.moves(decide(world))
    taint(world, "m1", DRAIN)
    assert eviction.moves(decide(world))


def test_the_end_of_a_binding_is_not_evictions_business() -> None:
    world = shop(ONE_OF_ALL)
    lose(world, "m1")
    world.delete(WEB)
    propagate(world)
    assert evict(world, 300)[-1] == NOTHING
    del world.objects[BINDING]
    assert decide(world) == NOTHING
    assert aggregation.decide(world, BINDING, world.now, {}).writes == ()
