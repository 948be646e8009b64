"""Failback: what failed over returns, when, in which order, how, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.failing import (
    ONE_OF_ALL,
    REMOVED,
    all_healthy,
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
from tests.decide.returning import RETURN, come_back, decide, mark, remembered, settle, stuck, until_returned
from tests.decide.test_descheduling import with_room
from tests.decide.test_eviction import DIVIDED, DRAIN, TWO
from tests.decide.test_propagation import BINDING, WEB
from tests.decide.test_tolerance import tainted
from tests.decide.world import World, cluster, configmap, deployment
from towline.hub.decide import bindings
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.failback import RETRY_SECONDS
from towline.kube.names import FAILBACK
from towline.kube.objects import Key, Object

CORDON = {"key": "cluster.karmada.io/unschedulable", "effect": "NoSchedule"}


def moved(placement: Object = ONE_OF_ALL, failover: Object = RETURN, **options: Any) -> World:
    """A Deployment that failed over from m1, and works elsewhere."""
    world = shop(placement, failover=failover, **options)
    lose(world, "m1")
    evict(world, 300)
    all_healthy(world)
    evict(world)
    report(world, m1=REMOVED)
    return world


def test_it_returns_when_its_cluster_is_well_for_the_time() -> None:
    world = moved()
    assert targets(world) == {"m2": 3} and tasks(world) == {}
    assert remembered(world) == {"m1": {"m2": 3}} and mark(world) == "waiting"
    assert come_back(world, 10_000)[-1].requeue_after_seconds is None, "m1 is lost"
    recover(world, "m1")
    come_back(world)
    assert come_back(world, 299)[-1].requeue_after_seconds == 1.0
    assert targets(world) == {"m2": 3}
    come_back(world, 1)
    assert targets(world) == {"m1": 3} and mark(world) == "returning"
    assert tasks(world)["m2"]["purgeMode"] == "Gracefully" and tasks(world)["m2"]["reason"] == "Failback"


@pytest.mark.parametrize(
    ("said", "seconds"), [({}, 300), ({"stabilizationSeconds": 0}, 0), ({"stabilizationSeconds": 60}, 60)], ids=["not said", "none", "its own"],
)  # fmt: skip
def test_how_long_a_cluster_has_to_be_well(said: Object, seconds: int) -> None:
    world = moved(failover={"cluster": {"failback": {"mode": "Return", **said}}})
    recover(world, "m1")
    if seconds:
        come_back(world)
        assert come_back(world, seconds - 1)[-1].requeue_after_seconds == 1.0
        assert targets(world) == {"m2": 3}
    come_back(world, min(seconds, 1))
    assert targets(world) == {"m1": 3}


def test_the_copy_elsewhere_leaves_when_the_one_that_returned_is_healthy() -> None:
    world = moved()
    recover(world, "m1")
    until_returned(world)
    assert bindings.desired(world.objects[BINDING]) == {"m1": 3, "m2": 3}
    report(world, m1=works(2))
    settle(world)
    assert "m2" in tasks(world)
    report(world, m1=works(3))
    settle(world)
    assert tasks(world) == {} and targets(world) == {"m1": 3}
    assert remembered(world) == {} and mark(world) is None


@pytest.mark.parametrize(
    "failover",
    [{"cluster": {}}, {"cluster": {"failback": {}}}, {"cluster": {"failback": {"mode": "Keep"}}}],
    ids=["Karmada's policy", "nothing said", "Keep"],
)
def test_what_moved_stays(failover: Object) -> None:
    world = moved(failover=failover)
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m2": 3} and remembered(world) == {} and mark(world) is None


def test_divided_replicas_return_to_where_they_were() -> None:
    world = moved(DIVIDED, replicas=6)
    assert targets(world) == {"m2": 3, "m3": 3} and remembered(world) == {"m1": {"m2": 1, "m3": 1}}
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m1": 2, "m2": 2, "m3": 2}
    assert bindings.desired(world.objects[BINDING]) == {"m1": 2, "m2": 3, "m3": 3}, "replicas leave later"
    report(world, m1=works(2))
    settle(world)
    assert bindings.desired(world.objects[BINDING]) == {"m1": 2, "m2": 2, "m3": 2} and mark(world) is None


def test_directly_replicas_elsewhere_go_at_once() -> None:
    world = moved(DIVIDED, {"cluster": {**RETURN["cluster"], "purgeMode": "Directly"}}, replicas=6)
    recover(world, "m1")
    until_returned(world)
    assert bindings.desired(world.objects[BINDING]) == {"m1": 2, "m2": 2, "m3": 2} and tasks(world) == {}


def test_directly_the_copy_elsewhere_goes_first() -> None:
    world = shop(ONE_OF_ALL, failover={"cluster": {**RETURN["cluster"], "purgeMode": "Directly"}})
    lose(world, "m1")
    evict(world, 300)
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m2": 3} and "still to be removed" in stuck(world)
    report(world, m1=REMOVED)
    all_healthy(world)
    settle(world)
    assert targets(world) == {"m1": 3} and tasks(world)["m2"]["purgeMode"] == "Directly"
    assert stuck(world) == ""
    report(world, m1=works(3))
    settle(world)
    assert mark(world) == "returning", "m2 has not confirmed"
    come_back(world, 600)
    assert targets(world) == {"m1": 3} and stuck(world) == "", (
        "it is not taken back: there is nothing to go back to"
    )
    report(world, m2=REMOVED)
    report(world, m1=works(3))
    settle(world)
    assert targets(world) == {"m1": 3} and tasks(world) == {} and mark(world) is None


def test_what_has_a_state_to_keep_returns_with_it_or_not_at_all() -> None:
    rules = [{"aliasLabelName": "state", "jsonPath": "{.observedGeneration}"}]
    rule = {**RETURN["cluster"], "purgeMode": "Directly", "statePreservation": {"rules": rules}}
    world = shop(ONE_OF_ALL, failover={"cluster": rule})
    report(world, m1=works(3, observedGeneration=7))
    lose(world, "m1")
    evict(world, 300)
    report(world, m1=REMOVED, m2=works(3))
    settle(world)
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m2": 3} and "finds nothing at {.observedGeneration}" in stuck(world)
    report(world, m2=works(3, observedGeneration=8))
    come_back(world, 30)
    assert targets(world) == {"m1": 3} and tasks(world)["m2"]["preservedLabelState"] == {"state": "8"}


def test_a_cluster_that_fails_again_begins_anew() -> None:
    world = moved()
    recover(world, "m1")
    come_back(world)
    come_back(world, 299)
    lose(world, "m1")
    come_back(world)
    recover(world, "m1")
    come_back(world)
    come_back(world, 299)
    assert targets(world) == {"m2": 3}
    come_back(world, 1)
    assert targets(world) == {"m1": 3}


def test_a_taint_that_went_counts_from_when_it_went() -> None:
    world = shop(ONE_OF_ALL, failover=RETURN)
    taint(world, "m1", tainted())
    evict(world)
    all_healthy(world)
    settle(world)
    come_back(world, 1000)
    taint(world, "m1")
    come_back(world)
    come_back(world, 299)
    assert targets(world) == {"m2": 3}
    come_back(world, 1)
    assert targets(world) == {"m1": 3}


def test_a_loss_that_nobody_decided_on_counts_too() -> None:
    """It came and went while no hub led."""
    world = moved()
    recover(world, "m1")
    come_back(world)
    world.now += 299
    lose(world, "m1")
    recover(world, "m1")
    assert come_back(world, 299)[-1].requeue_after_seconds == 1.0 and targets(world) == {"m2": 3}
    come_back(world, 1)
    assert targets(world) == {"m1": 3}


def test_a_taint_that_came_and_went_again_counts_too() -> None:
    world = moved()
    recover(world, "m1")
    come_back(world)
    come_back(world, 299)
    taint(world, "m1", tainted())
    come_back(world)
    taint(world, "m1")
    come_back(world)
    assert come_back(world, 299)[-1].requeue_after_seconds == 1.0 and targets(world) == {"m2": 3}
    come_back(world, 1)
    assert targets(world) == {"m1": 3}


def test_what_was_drained_stays_where_it_went() -> None:
    world = shop(ONE_OF_ALL, failover=RETURN)
    taint(world, "m1", DRAIN)
    evict(world)
    assert targets(world) == {"m2": 3} and remembered(world) == {}


@pytest.mark.parametrize("gone", [False, True], ids=["m2 leaves still", "m2 is gone"])
def test_what_returned_directly_and_is_drained_is_not_to_return(gone: bool) -> None:
    world = moved(failover={"cluster": {**RETURN["cluster"], "purgeMode": "Directly"}})
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m1": 3} and tasks(world).keys() == {"m2"}
    if gone:
        taint(world, "m3", tainted())
        report(world, m2=REMOVED)
        report(world, m1=works(3))
        evict(world)
    taint(world, "m1", DRAIN)
    evict(world)
    assert targets(world) == {"m2" if gone else "m3": 3}
    assert remembered(world) == {}, "also if it is again where it stood in"


def test_a_stand_in_that_fails_hands_on_what_it_stood_in_for() -> None:
    world = moved()
    lose(world, "m2")
    evict(world, 300)
    assert targets(world) == {"m3": 3} and remembered(world) == {"m1": {"m3": 3}}, "m2 was never its home"
    recover(world, "m1")
    all_healthy(world)
    settle(world)
    until_returned(world)
    assert targets(world) == {"m1": 3}


def test_of_divided_replicas_each_home_gets_its_own() -> None:
    world = moved(DIVIDED, replicas=7)
    lose(world, "m2")
    evict(world, 300)
    assert targets(world) == {"m3": 7} and remembered(world) == {"m1": {"m3": 3}, "m2": {"m3": 2}}
    all_healthy(world)
    settle(world)
    for name in ("m2", "m1"):
        report(world, **{name: REMOVED})
        recover(world, name)
        until_returned(world)
        all_healthy(world)
        settle(world)
    assert targets(world) == {"m1": 3, "m2": 2, "m3": 2} and remembered(world) == {}


def test_of_two_homes_the_first_that_is_well_for_its_time_wakes() -> None:
    world = moved(DIVIDED, replicas=6)
    lose(world, "m2")
    evict(world, 300)
    all_healthy(world)
    settle(world)
    recover(world, "m1")
    come_back(world)
    recover(world, "m2")
    assert come_back(world, 100)[-1].requeue_after_seconds == 200.0
    assert "m1" not in targets(world)
    come_back(world, 200)
    assert "m1" in targets(world)


def test_what_is_being_deleted_returns_nowhere() -> None:
    world = moved()
    recover(world, "m1")
    come_back(world)
    world.edit(BINDING, lambda obj: obj["metadata"].update(deletionTimestamp=rfc3339(world.now)))
    world.now += 300
    assert decide(world).writes == ()


def test_what_only_has_the_label_is_nothing_to_it() -> None:
    world = moved()
    theirs = configmap("mine")
    at = world.put(theirs | {"metadata": {**theirs["metadata"], "labels": {FAILBACK: "waiting"}}})
    before = world.objects[at]
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m1": 3} and world.objects[at] is before


def test_who_left_early_is_still_there() -> None:
    """The cluster is back and well before its replacement was healthy: nothing was removed, and it is home at once."""
    world = shop(ONE_OF_ALL, failover=RETURN)
    lose(world, "m1")
    evict(world, 300)
    recover(world, "m1")
    settle(world)
    assert bindings.desired(world.objects[BINDING]) == {"m1": 3, "m2": 3}
    come_back(world, 300)
    assert targets(world) == {"m1": 3} and tasks(world).keys() == {"m2"}
    settle(world)
    assert tasks(world) == {} and mark(world) is None, "its copy never was away"
    assert entries(world).keys() == {"m1", "m2"}


def test_a_home_that_fails_on_the_way_is_left_to_its_stand_in() -> None:
    world = moved()
    recover(world, "m1")
    until_returned(world)
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m2": 3}, "which never stopped working"
    settle(world)
    assert tasks(world) == {} and mark(world) == "waiting" and remembered(world) == {"m1": {"m2": 3}}


def returning_from_the_last_group() -> World:
    """It failed over from m1, the first group, to m2, the last: m3, the second, was no place then, and is one now."""
    groups = [{"affinityName": name, "clusterNames": [name]} for name in ("m1", "m3", "m2")]
    world = shop({"clusterAffinities": groups}, failover=RETURN)
    taint(world, "m3", tainted())
    lose(world, "m1")
    evict(world, 300)
    all_healthy(world)
    evict(world)
    report(world, m1=REMOVED)
    assert targets(world) == {"m2": 3}
    taint(world, "m3")
    recover(world, "m1")
    until_returned(world)
    return world


def test_a_stand_in_stays_until_what_replaces_the_home_instead_works() -> None:
    """Groups are tried in order, so the stand-in's own, the last, is not the next after a home that fails on the way."""
    world = returning_from_the_last_group()
    assert targets(world) == {"m1": 3} and tasks(world).keys() == {"m2"}
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m3": 3} and "m2" in tasks(world)
    report(world, m3=works(2))
    evict(world)
    assert "m2" in tasks(world), "it is the only one that works"
    report(world, m3=works(3))
    evict(world)
    assert "m2" not in tasks(world) and targets(world) == {"m3": 3}


def test_a_return_that_does_not_get_healthy_is_taken_back_and_tried_again() -> None:
    world = moved(replicas=1)
    recover(world, "m1")
    until_returned(world)
    report(world, m1=works(0, "Unhealthy"))
    evict(world, 599)
    assert "m2" in tasks(world) and come_back(world)[-1].requeue_after_seconds == 1.0
    come_back(world, 1)
    settle(world)
    assert targets(world) == {"m2": 1} and tasks(world) == {} and mark(world) == "waiting"
    assert (
        stuck(world) == "NotHealthyThere: the copy was not healthy after 600 s, and what is elsewhere stays"
    )
    come_back(world, 299)
    assert targets(world) == {"m2": 1}
    come_back(world, 1)
    assert targets(world) == {"m1": 1} and stuck(world) == ""


@pytest.mark.parametrize("lost", [False, True], ids=["the home is there", "the home is lost"])
def test_what_is_taken_back_to_a_later_group_stays_there(lost: bool) -> None:
    world = returning_from_the_last_group()
    report(world, m1=works(0, "Unhealthy"))
    if lost:
        lose(world, "m1")
    come_back(world, 600)
    assert targets(world) == {"m2": 3} and tasks(world) == {} and mark(world) == "waiting", "it works"


def test_divided_replicas_that_do_not_get_healthy_are_taken_back() -> None:
    world = moved(DIVIDED, replicas=6)
    recover(world, "m1")
    until_returned(world)
    come_back(world, 600)
    settle(world)
    assert targets(world) == {"m2": 3, "m3": 3} and tasks(world) == {} and mark(world) == "waiting"


def test_a_home_that_may_not_be_used_blocks_with_a_reason_and_heals() -> None:
    world = moved()
    recover(world, "m1")
    come_back(world)
    taint(world, "m1", CORDON)
    plans = come_back(world, 300)
    assert targets(world) == {"m2": 3}
    assert stuck(world).startswith("NotPlacedThere: return to m1: ")
    assert plans[-1].requeue_after_seconds == 30.0
    taint(world, "m1")
    come_back(world, 30)
    assert targets(world) == {"m1": 3} and stuck(world) == ""


POLICY = Key("policy.karmada.io", "propagationpolicies", "shop", "web")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"suspension": {"scheduling": True}}, "its scheduling is suspended", id="scheduling is suspended"),
        pytest.param({"suspension": {"dispatching": True}}, "its dispatching is suspended", id="nothing is sent"),
        pytest.param(
            {"suspension": {"dispatchingOnClusters": {"clusterNames": ["m1"]}}}, "dispatching to it is suspended", id="nothing is sent there",
        ),
        pytest.param(
            {"placement": ONE_OF_ALL | {"clusterAffinity": {"exclude": ["m1"]}}}, "scheduling places it elsewhere", id="it is not meant any more",
        ),
    ],
)  # fmt: skip
def test_what_keeps_it_from_returning(change: Object, why: str) -> None:
    world = moved()
    recover(world, "m1")
    come_back(world)
    if change.get("suspension", {}).get("scheduling"):
        world.edit(BINDING, lambda obj: obj["spec"].update(change))
    else:
        world.edit(POLICY, lambda obj: obj["spec"].update(change))
        propagate(world)
    come_back(world, 300)
    assert targets(world) == {"m2": 3} and stuck(world) == f"NotPlacedThere: return to m1: {why}"


def test_what_cannot_be_placed_at_all_says_so() -> None:
    world = moved()
    recover(world, "m1")
    come_back(world)
    world.edit(
        POLICY, lambda obj: obj["spec"]["placement"]["spreadConstraints"][0].update(minGroups=9, maxGroups=9)
    )
    propagate(world)
    come_back(world, 300)
    assert targets(world) == {"m2": 3}
    assert "is less than spreadConstraint.MinGroups" in stuck(world)


def test_a_taint_that_is_tolerated_keeps_nothing_away() -> None:
    world = moved(ONE_OF_ALL | {"clusterTolerations": [{"key": CORDON["key"], "operator": "Exists"}]})
    recover(world, "m1")
    come_back(world)
    taint(world, "m1", CORDON)
    told = [
        note.message for plan in come_back(world, 300) for note in plan.events if note.reason == "Failback"
    ]
    assert targets(world) == {"m1": 3} and told == ["Returns to cluster m1; leaving m2."] * 2


def by_room(**cpus: int) -> World:
    """Four replicas of one CPU each, all in m1."""
    aggregated = {"replicaScheduling": {"replicaDivisionPreference": "Aggregated"}}
    world = shop(aggregated, clusters=(), failover=RETURN, replicas=4)
    world.edit(WEB, lambda obj: obj["spec"].update(deployment(requests={"cpu": "1"})["spec"], replicas=4))
    for name, count in cpus.items():
        world.put(with_room(name, count))
    propagate(world)
    all_healthy(world)
    assert targets(world) == {"m1": 4}
    return world


def test_what_came_while_it_was_away_stays_where_it_is() -> None:
    """Only what was its own returns, from whoever has it."""
    world = by_room(m1=8, m2=2, m3=3)
    lose(world, "m1")
    evict(world, 300)
    before = targets(world)
    assert sum(before.values()) == 4 and before.keys() == {"m2", "m3"}
    all_healthy(world)
    settle(world)
    report(world, m1=REMOVED)
    world.put(with_room("m3", 9))
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=6))
    propagate(world)
    came = {name: count - before[name] for name, count in targets(world).items() if count > before[name]}
    assert sum(came.values()) == 2
    all_healthy(world)
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m1": 4, **came}


def test_what_came_home_by_itself_does_not_return_again() -> None:
    """While its cluster has to be well for its time, a replica more found a place there: three of its four are still elsewhere."""
    world = by_room(m1=8, m2=2, m3=2)
    lose(world, "m1")
    evict(world, 300)
    assert targets(world) == {"m2": 2, "m3": 2}
    all_healthy(world)
    settle(world)
    report(world, m1=REMOVED)
    recover(world, "m1")
    come_back(world)
    for name in ("m2", "m3"):
        world.put(with_room(name, 0))
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=5))
    propagate(world)
    assert targets(world) == {"m1": 1, "m2": 2, "m3": 2} and mark(world) == "waiting"
    all_healthy(world)
    come_back(world, 300)
    assert targets(world) == {"m1": 4, "m3": 1}


def test_a_stand_in_that_scheduling_prefers_gives_it_back() -> None:
    """Of two clusters that could have the copy scheduling takes the first by name, unless one has it."""
    world = shop(ONE_OF_ALL, clusters=(), failover=RETURN)
    world.put(cluster("m1", taints=[CORDON]))
    world.put(cluster("m2"))
    propagate(world)
    all_healthy(world)
    assert targets(world) == {"m2": 3}
    taint(world, "m1")
    lose(world, "m2")
    evict(world, 300)
    all_healthy(world)
    settle(world)
    report(world, m2=REMOVED)
    assert targets(world) == {"m1": 3}
    recover(world, "m2")
    until_returned(world)
    assert targets(world) == {"m2": 3} and stuck(world) == ""


def test_without_room_there_it_stays() -> None:
    """What scheduling keeps it does not measure: so it is measured before."""
    world = by_room(m1=8, m2=5)
    lose(world, "m1")
    evict(world, 300)
    all_healthy(world)
    settle(world)
    report(world, m1=REMOVED)
    world.put(with_room("m1", 3))
    until_returned(world)
    assert targets(world) == {"m2": 4}
    assert stuck(world) == "NotPlacedThere: return to m1: it has room for 3 of 4 replicas"
    world.put(with_room("m1", 4))
    come_back(world, 30)
    assert targets(world) == {"m1": 4} and stuck(world) == ""


def test_what_is_placed_anew_has_nothing_to_return_to() -> None:
    world = moved()
    policy = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
    world.edit(policy, lambda obj: obj["spec"]["placement"].update(clusterAffinity={"clusterNames": ["m3"]}))
    propagate(world)
    come_back(world)
    assert targets(world) == {"m3": 3} and remembered(world) == {} and mark(world) is None


def test_what_scheduling_brought_home_is_home_with_however_many_replicas() -> None:
    world = moved()
    recover(world, "m1")
    come_back(world)
    policy = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
    world.edit(policy, lambda obj: obj["spec"]["placement"]["spreadConstraints"][0].update(maxGroups=3))
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=2))
    propagate(world)
    assert targets(world) == {"m1": 2, "m2": 2, "m3": 2}
    come_back(world)
    assert remembered(world) == {} and mark(world) is None


def test_a_policy_that_says_keep_now_wants_nothing_back() -> None:
    world = moved()
    policy = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
    world.edit(policy, lambda obj: obj["spec"]["failover"]["cluster"]["failback"].update(mode="Keep"))
    propagate(world)
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m2": 3} and remembered(world) == {}


def test_a_home_that_left_the_fleet_is_forgotten() -> None:
    world = moved()
    world.delete(Key("cluster.karmada.io", "clusters", "", "m1"))
    come_back(world)
    assert remembered(world) == {} and mark(world) is None


def test_a_hub_that_just_started_sends_nothing_back() -> None:
    world = moved()
    recover(world, "m1")
    come_back(world)
    plan = come_back(world, 300, settled_at=world.now + 340)[-1]
    assert targets(world) == {"m2": 3} and plan.requeue_after_seconds == 40.0


def test_nothing_returns_to_a_cluster_that_does_not_answer() -> None:
    """After a stall of the hub the Cluster is Ready still."""
    world = moved()
    recover(world, "m1")
    come_back(world)
    plan = come_back(world, 300, answering=lambda: {"m2", "m3"})[-1]
    assert targets(world) == {"m2": 3} and plan.requeue_after_seconds == RETRY_SECONDS
    come_back(world, RETRY_SECONDS, answering=lambda: {"m1", "m2"})
    assert targets(world) == {"m1": 3}


def test_a_group_that_comes_back_is_preferred_again() -> None:
    groups = [{"affinityName": "a", "clusterNames": ["m1"]}, {"affinityName": "b", "clusterNames": ["m3"]}]
    world = moved({"clusterAffinities": groups})
    assert targets(world) == {"m3": 3}
    recover(world, "m1")
    until_returned(world)
    assert targets(world) == {"m1": 3}
    assert world.objects[BINDING]["status"]["schedulerObservingAffinityName"] == "a"


def test_a_home_in_a_later_group_is_home_still_when_an_earlier_is_free() -> None:
    groups = [{"affinityName": name, "clusterNames": [name]} for name in ("m1", "m2", "m3")]
    world = shop({"clusterAffinities": groups}, failover=RETURN)
    taint(world, "m1", DRAIN)
    evict(world)
    all_healthy(world)
    settle(world)
    report(world, m1=REMOVED)
    lose(world, "m2")
    evict(world, 300)
    assert targets(world) == {"m3": 3} and remembered(world) == {"m2": {"m3": 3}}
    all_healthy(world)
    settle(world)
    taint(world, "m1")
    recover(world, "m2")
    until_returned(world)
    assert targets(world) == {"m2": 3} and stuck(world) == ""
    assert world.objects[BINDING]["status"]["schedulerObservingAffinityName"] == "m2"


def test_of_two_copies_each_returns_alone() -> None:
    world = shop(TWO, ("m1", "m2", "m3", "m4"), RETURN)
    for name in ("m1", "m2"):
        lose(world, name)
    evict(world, 300)
    assert targets(world) == {"m3": 3, "m4": 3}
    all_healthy(world)
    settle(world)
    recover(world, "m2")
    until_returned(world)
    (left,) = {"m3", "m4"} - targets(world).keys()
    assert sorted(targets(world).values()) == [3, 3] and "m2" in targets(world)
    assert {name: task["clustersBeforeFailover"] for name, task in tasks(world).items()} == {
        left: ["m3", "m4"]
    }
