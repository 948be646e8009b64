"""What must never run twice: when the copy of a cluster that is cut off has certainly stopped, and what waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.decide.failing import (
    ONE_OF_ALL,
    REMOVED,
    all_healthy,
    blocked,
    evict,
    lose,
    propagate,
    recover,
    report,
    shop,
    taint,
    targets,
    tasks,
)
from tests.decide.returning import settle
from tests.decide.test_eviction import DRAIN
from tests.decide.test_propagation import BINDING, WEB
from tests.decide.world import World
from towline.hub.decide import stopping
from towline.hub.decide import works as rendering
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.graceful import purging
from towline.hub.decide.stopping import MARGIN_SECONDS, POD_GRACE_SECONDS, may_run_on
from towline.kube.objects import Key, Object

STOP_SECONDS = 30
CERTAIN_SECONDS = STOP_SECONDS + MARGIN_SECONDS + POD_GRACE_SECONDS
TOLERATION_SECONDS = 10
ONCE: Object = {"cluster": {"purgeMode": "Directly", "stopAfterSeconds": STOP_SECONDS}}
POLICY = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
SOON = [{"key": "cluster.karmada.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}]  # fmt: skip


def once(**spec: Any) -> World:
    return shop(ONE_OF_ALL | {"clusterTolerations": SOON}, failover=ONCE, **spec)


def sent_to(world: World, cluster: str) -> bool:
    """Whether the cluster is told to run it."""
    work = rendering.of_binding(BINDING, world.objects[BINDING], world.objects[WEB], 1).get(cluster)
    return work is not None and not work.removing and not work.suspended


def test_its_agents_are_told() -> None:
    world = once()
    sent = rendering.of_binding(BINDING, world.objects[BINDING], world.objects[WEB], 1)["m1"]
    assert sent.stop_after_seconds == STOP_SECONDS


def test_the_replacement_starts_when_the_old_copy_has_certainly_stopped() -> None:
    world = once()
    lose(world, "m1")
    plan = evict(world, TOLERATION_SECONDS)[-1]
    assert targets(world) == {"m2": 3} and not sent_to(world, "m2")
    assert "its agent stops it by itself (stopAfterSeconds)" in blocked(world)
    assert plan.requeue_after_seconds == CERTAIN_SECONDS - TOLERATION_SECONDS
    evict(world, CERTAIN_SECONDS - TOLERATION_SECONDS - 1)
    assert not sent_to(world, "m2")
    evict(world, 1)
    assert sent_to(world, "m2") and tasks(world)["m1"]["stoppedAt"] == rfc3339(world.now)


@pytest.mark.parametrize(
    ("api_version", "kind", "runs_on"),
    [
        ("apps/v1", "Deployment", False), ("apps/v1", "StatefulSet", False), ("apps/v1", "ReplicaSet", False), ("apps/v1", "DaemonSet", False),
        ("batch/v1", "Job", False), ("batch/v1", "CronJob", False), ("v1", "Pod", True), ("v1", "ReplicationController", True),
        ("v1", "ConfigMap", False), ("networking.k8s.io/v1", "Ingress", False),
        ("apps.kruise.io/v1alpha1", "CloneSet", True), ("jobset.x-k8s.io/v1alpha2", "JobSet", True),
    ],
)  # fmt: skip
def test_what_an_agent_cannot_stop_is_not_taken_for_stopped(
    api_version: str, kind: str, runs_on: bool
) -> None:
    spec = {"replicas": 1, "template": {"spec": {}}}
    template = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "web"}, "spec": spec}
    assert may_run_on(template) is runs_on


def test_the_replacement_of_what_cannot_be_stopped_waits_for_its_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopping, "may_run_on", lambda template: template["kind"] == "Deployment")
    world = once()
    lose(world, "m1")
    evict(world, TOLERATION_SECONDS)
    plan = evict(world, 100 * CERTAIN_SECONDS)[-1]
    assert "stoppedAt" not in tasks(world)["m1"] and not sent_to(world, "m2")
    assert plan.requeue_after_seconds is None, "nothing is to be looked at before the agent is back"
    assert "`towline unjoin m1 --force` gives it up" in blocked(world)
    recover(world, "m1")
    report(world, m1=REMOVED)
    evict(world)
    assert sent_to(world, "m2")


def test_each_copy_stops_in_its_own_time() -> None:
    world = once()
    lose(world, "m1")
    evict(world, 50)
    lose(world, "m2")
    left = CERTAIN_SECONDS - 50 - TOLERATION_SECONDS
    assert evict(world, TOLERATION_SECONDS)[-1].requeue_after_seconds == left and targets(world) == {"m3": 3}
    plan = evict(world, left)[-1]
    assert {name: "stoppedAt" in task for name, task in tasks(world).items()} == {"m1": True, "m2": False}
    assert plan.requeue_after_seconds == 50 and not sent_to(world, "m3")
    evict(world, 50)
    assert {task["stoppedAt"] for task in tasks(world).values()} == {
        rfc3339(world.now - 50),
        rfc3339(world.now),
    }
    assert sent_to(world, "m3")


def test_the_old_copy_is_removed_when_its_cluster_is_back() -> None:
    world = once()
    lose(world, "m1")
    evict(world, TOLERATION_SECONDS)
    evict(world, CERTAIN_SECONDS)
    all_healthy(world)
    evict(world)
    assert "m1" in tasks(world), "it only stopped"
    recover(world, "m1")
    settle(world)
    sent = rendering.of_binding(BINDING, world.objects[BINDING], world.objects[WEB], 1)
    assert sent["m1"].removing and sent_to(world, "m2")
    report(world, m1=REMOVED)
    all_healthy(world)
    evict(world)
    assert tasks(world) == {} and targets(world) == {"m2": 3}


def test_a_cluster_that_is_back_before_that_has_to_say_that_its_copy_is_gone() -> None:
    world = once()
    lose(world, "m1")
    evict(world, TOLERATION_SECONDS)
    recover(world, "m1")
    evict(world, CERTAIN_SECONDS)
    assert not sent_to(world, "m2")
    report(world, m1=REMOVED)
    assert sent_to(world, "m2")


@pytest.mark.parametrize("heard_seconds", [0, 5, 100], ids=["at once", "soon", "late"])
def test_what_was_heard_later_than_the_condition_says_counts(heard_seconds: float) -> None:
    """Of a hub that was there before this one, or of an agent that came for a moment."""
    world = once()
    lose(world, "m1")
    heard = world.now + heard_seconds

    def last(cluster: str) -> float:
        return heard

    evict(world, TOLERATION_SECONDS, heard=last)
    evict(world, heard + CERTAIN_SECONDS - world.now - 1, heard=last)
    assert not sent_to(world, "m2")
    evict(world, 1, heard=last)
    assert sent_to(world, "m2")


def test_an_agent_at_another_hub_is_not_cut_off() -> None:
    world = once()
    lose(world, "m1")
    evict(world, TOLERATION_SECONDS, heard=lambda cluster: float("inf"))
    plan = evict(world, 10 * CERTAIN_SECONDS, heard=lambda cluster: float("inf"))[-1]
    assert not sent_to(world, "m2") and plan.requeue_after_seconds == CERTAIN_SECONDS


def test_an_agent_that_is_heard_does_not_stop_by_itself() -> None:
    """Its member is not ready: it would be told, and cannot do it."""
    world = once()
    lose(world, "m1", "False")
    evict(world, 300)
    assert targets(world) == {"m2": 3}
    evict(world, 10 * CERTAIN_SECONDS)
    assert not sent_to(world, "m2") and purging(world.objects[BINDING]) == ["m1"]


def test_a_taint_that_only_says_unreachable_cuts_nobody_off() -> None:
    """Somebody wrote it by hand: the agent is heard."""
    world = once()
    taint(world, "m1", {"key": SOON[0]["key"], "effect": "NoExecute", "timeAdded": rfc3339(world.now)})
    evict(world, TOLERATION_SECONDS)
    assert targets(world) == {"m2": 3}
    evict(world, 10 * CERTAIN_SECONDS)
    assert not sent_to(world, "m2") and purging(world.objects[BINDING]) == ["m1"]


@pytest.mark.parametrize(
    ("said", "grace"), [(500, 500), (0, 0), (None, POD_GRACE_SECONDS), (-1, POD_GRACE_SECONDS), ("9", POD_GRACE_SECONDS)],
    ids=["its own", "none", "not said", "nonsense", "no number"],
)  # fmt: skip
def test_pods_have_their_grace(said: Any, grace: int) -> None:
    world = once()
    world.edit(WEB, lambda obj: obj["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=said))
    lose(world, "m1")
    evict(world, TOLERATION_SECONDS)
    evict(world, STOP_SECONDS + MARGIN_SECONDS + grace - TOLERATION_SECONDS - 1)
    assert not sent_to(world, "m2")
    evict(world, 1)
    assert sent_to(world, "m2")


def test_a_drain_purges_it_directly() -> None:
    world = once()
    taint(world, "m1", DRAIN)
    evict(world)
    assert tasks(world)["m1"]["purgeMode"] == "Directly" and not sent_to(world, "m2")
    report(world, m1=REMOVED)
    assert sent_to(world, "m2")


def test_also_what_scheduling_moves_is_gone_before_it_is_elsewhere() -> None:
    world = once()
    policy = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
    world.edit(policy, lambda obj: obj["spec"]["placement"].update(clusterAffinity={"clusterNames": ["m3"]}))
    propagate(world)
    settle(world)
    assert targets(world) == {"m3": 3} and not sent_to(world, "m3")
    report(world, m1=REMOVED)
    assert sent_to(world, "m3")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda world: world.edit(WEB, lambda obj: obj["spec"].update(replicas=1)), id="fewer replicas"),
        pytest.param(lambda world: world.edit(POLICY, lambda obj: obj["spec"]["placement"].update(clusterAffinity={"exclude": ["m1"]})), id="another placement"),
    ],
)  # fmt: skip
def test_what_is_wanted_no_more_where_nobody_answers_is_waited_for_until_it_has_stopped(
    change: Callable[[World], None],
) -> None:
    """Not until its cluster is back: there is no other task that says so."""
    uneven = {"replicaScheduling": {"weightPreference": {"staticWeightList": [
        {"targetCluster": {"clusterNames": [name]}, "weight": weight} for name, weight in (("m1", 1), ("m2", 3))]}}}  # fmt: skip
    world = shop(uneven | {"clusterTolerations": SOON}, ("m1", "m2"), failover=ONCE, replicas=4)
    assert targets(world) == {"m1": 1, "m2": 3}
    lose(world, "m1")
    change(world)
    propagate(world)
    wanted = targets(world)
    assert wanted.keys() == {"m2"} and tasks(world) == {} and not sent_to(world, "m2")
    assert evict(world, CERTAIN_SECONDS - 1)[-1].requeue_after_seconds == 1
    assert not sent_to(world, "m2")
    evict(world, 1)
    assert targets(world) == wanted and sent_to(world, "m2") and blocked(world) == ""
    all_healthy(world)
    evict(world, 10 * CERTAIN_SECONDS)
    assert tasks(world).keys() == {"m1"}, "it is still to be removed"
    recover(world, "m1")
    report(world, m1=REMOVED)
    all_healthy(world)
    evict(world)
    assert tasks(world) == {} and targets(world) == wanted


def test_what_may_run_twice_waits_only_for_what_is_purged_directly() -> None:
    world = shop(ONE_OF_ALL, failover={"cluster": {"purgeMode": "Directly"}})
    lose(world, "m1")
    evict(world, 300)
    evict(world, 10 * CERTAIN_SECONDS)
    assert not sent_to(world, "m2") and "stoppedAt" not in tasks(world)["m1"]
