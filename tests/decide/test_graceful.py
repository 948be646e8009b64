"""When an eviction task ends, and what is sent meanwhile (Karmada 1.4, 2.2, 2.9)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.decide.failing import (
    ONE_OF_ALL,
    REFUSED,
    REMOVED,
    all_healthy,
    blocked,
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
from tests.decide.test_eviction import DIVIDED, DRAIN, stateful
from tests.decide.test_propagation import BINDING, WEB
from tests.decide.test_tolerance import tainted
from tests.decide.world import World, cluster
from towline.hub.decide import origins
from towline.hub.decide import works as rendering
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.departures import departures
from towline.hub.decide.graceful import ended, purging, tasks_of
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.wire import WireWork
from towline.kube.names import TAINT_UNREACHABLE
from towline.kube.objects import Key, Object


def moving(placement: Object = ONE_OF_ALL, failover: Object | None = None, **spec: Any) -> World:
    """m1 was lost five minutes ago, and its copy is on the move."""
    world = shop(placement, failover=failover, **spec)
    lose(world, "m1")
    evict(world, 300)
    assert list(tasks(world)) == ["m1"]
    return world


def sent(world: World) -> dict[str, WireWork]:
    binding = world.objects[BINDING]
    return rendering.of_binding(BINDING, binding, world.objects[WEB], 1)


def labels(work: WireWork) -> dict[str, str]:
    found: dict[str, str] = orjson.loads(b"".join(work.pieces[0]))["metadata"]["labels"]
    return found


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        pytest.param(None, False, id="nothing yet"),
        pytest.param(REFUSED, False, id="the replacement is refused"),
        pytest.param(works(0, "Unhealthy"), False, id="it is unhealthy"),
        pytest.param(works(2), False, id="it has too few replicas"),
        pytest.param(works(3, "Unknown"), False, id="nobody knows"),
        pytest.param(works(3), True, id="it is healthy"),
    ],
)
def test_the_old_copy_leaves_when_its_replacement_is_healthy(said: Any, ends: bool) -> None:
    world = moving()
    if said is not None:
        report(world, m2=said)
    evict(world, 599)
    assert (tasks(world) == {}) is ends
    work = sent(world)["m1"]
    assert work.removing is ends


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        pytest.param(None, False, id="there is none"),
        pytest.param(REFUSED, False, id="it is refused"),
        pytest.param(works(0, "Unhealthy"), True, id="it is there, and unhealthy"),
    ],
)
def test_after_its_grace_the_replacement_has_to_be_there(said: Any, ends: bool) -> None:
    world = moving()
    if said is not None:
        report(world, m2=said)
    plan = evict(world, 599)[-1]
    assert tasks(world) and plan.requeue_after_seconds == 1.0
    evict(world, 1)
    assert (tasks(world) == {}) is ends


def test_its_grace_is_the_policys() -> None:
    failover = {"application": {"purgeMode": "Gracefully", "gracePeriodSeconds": 30}}
    world = shop(ONE_OF_ALL, failover=failover, propagateDeps=True)
    report(world, m1=works(1, "Unhealthy"))
    evict(world, 300)
    report(world, m2=works(0, "Unhealthy"))
    assert evict(world, 29)[-1].requeue_after_seconds == 1.0
    evict(world, 1)
    assert tasks(world) == {}


def test_a_replacement_that_is_lost_itself_is_none() -> None:
    world = moving()
    report(world, m2=works(3, "Unhealthy"))
    lose(world, "m2")
    report(world, m2=works(3))
    world.now += 299
    assert tasks(world).keys() == {"m1"}, "its last word was before"
    evict(world, 1)
    assert targets(world) == {"m3": 3} and tasks(world).keys() == {"m1", "m2"}


FOR_EVER = {"clusterTolerations": [{"key": TAINT_UNREACHABLE, "operator": "Exists"}]}


@pytest.mark.parametrize("lost_seconds", [5, -5], ids=["lost before it was drained", "lost later"])
def test_a_drain_waits_for_no_cluster_that_was_lost_before_and_is_tolerated(lost_seconds: float) -> None:
    """One that was lost later may have taken something over."""
    world = shop(DIVIDED | FOR_EVER, replicas=6)
    for happens in ("lost", "drained") if lost_seconds > 0 else ("drained", "lost"):
        if happens == "lost":
            lose(world, "m1")
        else:
            taint(world, "m2", DRAIN)
            evict(world)
        world.now += abs(lost_seconds)
    before = targets(world)
    report(world, m3=works(before["m3"] - 1))
    evict(world)
    assert list(tasks(world)) == ["m2"], "the replacement is not complete"
    report(world, m3=works(before["m3"]))
    evict(world)
    assert (tasks(world) == {}) is (lost_seconds > 0) and targets(world) == before
    recover(world, "m1")
    all_healthy(world)
    evict(world)
    assert tasks(world) == {}


def test_who_leaves_by_itself_waits_for_those_that_were_lost_before_too() -> None:
    """Nobody wants its copy gone: it is kept for what may come."""
    soon = {"key": TAINT_UNREACHABLE, "operator": "Exists", "tolerationSeconds": 1000}
    world = shop(DIVIDED | {"clusterTolerations": [soon]}, replicas=6)
    lose(world, "m1")
    world.now += 5
    lose(world, "m2", "False")
    evict(world, 300)
    report(world, m3=works(4))
    evict(world)
    assert targets(world) == {"m1": 2, "m3": 4} and list(tasks(world)) == ["m2"]


def test_replicas_that_were_there_before_are_not_the_replacement() -> None:
    world = moving(DIVIDED, replicas=6)
    assert targets(world) == {"m2": 3, "m3": 3}
    evict(world)
    assert tasks(world), "both are healthy, with the two replicas that they had"
    report(world, m2=works(3))
    evict(world)
    assert tasks(world)
    report(world, m3=works(3))
    evict(world)
    assert tasks(world) == {}


def test_with_no_targets_nothing_is_healthy() -> None:
    """In Karmada the old copy goes as soon as scheduling was observed."""
    world = moving()
    world.edit(BINDING, lambda obj: obj["spec"].update(clusters=[]))
    evict(world, 10_000)
    assert list(tasks(world)) == ["m1"]


def test_a_cluster_that_comes_back_first_keeps_its_copy_until_then() -> None:
    world = moving()
    recover(world, "m1")
    evict(world, 100)
    assert list(tasks(world)) == ["m1"] and targets(world) == {"m2": 3}
    assert not sent(world)["m1"].removing
    report(world, m2=works(3))
    evict(world)
    assert sent(world)["m1"].removing and list(entries(world)) == ["m1", "m2"]
    report(world, m1=REMOVED)
    assert list(entries(world)) == ["m2"]


def test_a_taint_that_goes_again_brings_nothing_back() -> None:
    world = shop(ONE_OF_ALL)
    taint(world, "m1", tainted())
    evict(world)
    taint(world, "m1")
    evict(world, 100)
    assert targets(world) == {"m2": 3} and list(tasks(world)) == ["m1"] and not sent(world)["m1"].removing
    report(world, m2=works(3))
    evict(world)
    assert tasks(world) == {} and sent(world)["m1"].removing


def test_a_replacement_whose_cluster_goes_is_replaced_and_the_old_copy_waits_for_that() -> None:
    world = moving()
    world.delete(Key("cluster.karmada.io", "clusters", "", "m2"))
    propagate(world)
    evict(world)
    assert targets(world) == {"m3": 3} and list(tasks(world)) == ["m1"]
    report(world, m3=works(3))
    evict(world)
    assert tasks(world) == {}


def test_a_cluster_that_is_no_more_needs_no_task() -> None:
    world = moving()
    del world.objects[Key("cluster.karmada.io", "clusters", "", "m1")]
    evict(world)
    assert tasks(world) == {}


def test_a_task_that_somebody_wrote_gets_its_time() -> None:
    world = moving()
    world.edit(BINDING, lambda obj: obj["spec"]["gracefulEvictionTasks"][0].pop("creationTimestamp"))
    evict(world)
    assert tasks(world)["m1"]["creationTimestamp"]


# --- Directly ------------------------------------------------------------------------------------------------


def test_directly_the_old_copy_goes_first() -> None:
    world = moving(failover={"cluster": {"purgeMode": "Directly"}})
    works_now = sent(world)
    assert works_now["m1"].removing and works_now["m2"].suspended
    evict(world, 10_000)
    assert list(tasks(world)) == ["m1"]
    assert blocked(world).startswith(
        "PurgeUnconfirmed: the copy in m1 is to be gone before its replacement starts"
    )
    recover(world, "m1")
    evict(world)
    assert blocked(world) == ""
    report(world, m1=REMOVED)
    assert not sent(world)["m2"].suspended
    report(world, m2=works(3))
    evict(world)
    assert tasks(world) == {}


def test_directly_what_never_comes_back_is_given_up() -> None:
    world = moving(failover={"cluster": {"purgeMode": "Directly"}})
    evict(world)
    assert "`towline unjoin m1 --force` gives it up" in blocked(world) and sent(world)["m2"].suspended
    world.delete(Key("cluster.karmada.io", "clusters", "", "m1"))
    evict(world)
    assert blocked(world) == "" and not sent(world)["m2"].suspended and tasks(world) == {}


@pytest.mark.parametrize("purge", ["Directly", "Gracefully"])
def test_what_the_policy_moves_off_a_lost_cluster_needs_no_task(purge: str) -> None:
    """As in Karmada: the new copy starts at once, and the old one is removed when its cluster is back."""
    world = shop(ONE_OF_ALL, failover={"cluster": {"purgeMode": purge}})
    lose(world, "m1")
    policy = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
    world.edit(policy, lambda obj: obj["spec"]["placement"].update(clusterAffinity={"exclude": ["m1"]}))
    propagate(world)
    evict(world)
    assert (targets(world), tasks(world), blocked(world)) == ({"m2": 3}, {}, "")
    works_now = sent(world)
    assert works_now["m1"].removing and not works_now["m2"].suspended and list(entries(world)) == ["m1", "m2"]
    evict(world, 10_000)
    assert list(entries(world)) == ["m1", "m2"], "nobody has confirmed it"
    report(world, m1=REMOVED)
    assert list(entries(world)) == ["m2"]


def test_directly_nothing_else_is_sent_meanwhile() -> None:
    """Replicas that move to a cluster with a copy wait too."""
    world = moving(DIVIDED, failover={"cluster": {"purgeMode": "Directly"}}, replicas=6)
    assert {name: work.suspended for name, work in sent(world).items()} == {
        "m1": False,
        "m2": True,
        "m3": True,
    }


def test_a_copy_that_others_need_is_not_purged() -> None:
    world = moving(failover={"cluster": {"purgeMode": "Directly"}})
    needed = [{"name": "other", "namespace": "shop", "clusters": [{"name": "m1"}]}]
    world.edit(BINDING, lambda obj: obj["spec"].update(requiredBy=needed))
    assert not sent(world)["m1"].removing and not sent(world)["m2"].suspended


# --- stateful failover ---------------------------------------------------------------------------------------


def test_the_only_new_copy_gets_the_state() -> None:
    world = moving(failover=stateful())
    assert labels(sent(world)["m2"])["state"] == "3"


@pytest.mark.parametrize(
    ("failover", "change"),
    [
        pytest.param(stateful("Gracefully"), {}, id="not purged directly"),
        pytest.param(stateful(), {"clusters": [{"name": "m2"}, {"name": "m3"}]}, id="not the only one"),
        pytest.param(stateful(), {"clusters": [{"name": "m1"}]}, id="it was there before"),
    ],
)
def test_others_get_none(failover: Object, change: Object) -> None:
    world = moving(failover=failover)
    world.edit(BINDING, lambda obj: obj["spec"].update(change))
    assert all("state" not in labels(work) for work in sent(world).values() if not work.removing)


def test_who_needs_a_copy_as_well_gets_it_without_state() -> None:
    world = moving(failover=stateful())
    needed = [{"name": "other", "clusters": [{"name": "m3", "replicas": 3}]}]
    world.edit(BINDING, lambda obj: obj["spec"].update(requiredBy=needed))
    assert "state" in labels(sent(world)["m2"]) and "state" not in labels(sent(world)["m3"])


# --- tasks by themselves -------------------------------------------------------------------------------------

NOW = 1_000_000.0
FLEET = Members.of(cluster(name) for name in ("m1", "m2", "m3", "m4"))


def task(cluster: str, seconds: float | None = 0.0, **more: Any) -> Object:
    """Made so many seconds before NOW."""
    created = {} if seconds is None else {"creationTimestamp": rfc3339(NOW - seconds)}
    return {"fromCluster": cluster, "purgeMode": "Gracefully", **created, **more}


def leaving(*found: Object, clusters: tuple[str, ...] = ("m3",), **health: str) -> Object:
    """A binding with these tasks, and copies where `health` says something of them."""
    status = {
        "schedulerObservedGeneration": 4,
        "aggregatedStatus": [
            {"clusterName": name, "applied": True, "health": said, "status": {"readyReplicas": 1}} for name, said in health.items()
        ],
    }  # fmt: skip
    spec = {"clusters": [{"name": name, "replicas": 1} for name in clusters], "gracefulEvictionTasks": list(found)}  # fmt: skip
    return {
        "kind": "ResourceBinding",
        "metadata": {"name": "web", "generation": 4},
        "spec": spec,
        "status": status,
    }


RETURN = {"producer": origins.PRODUCER, "clustersBeforeFailover": ["m1"]}


@pytest.mark.parametrize(
    ("binding", "left", "wake"),
    [
        pytest.param(leaving(task("m1", 100), task("m2", 200), m3="Unhealthy"), ["m1", "m2"], 400, id="the first grace that ends wakes"),
        pytest.param(leaving(task("m1", 700), task("m2", 200), m3="Unhealthy"), ["m2"], 400, id="each has its own"),
        pytest.param(leaving(task("m1", 100, gracePeriodSeconds=50), m3="Unhealthy"), [], None, id="a grace of its own"),
        pytest.param(leaving(task("m1", 600), m3="Unhealthy"), [], None, id="at its very end"),
        pytest.param(leaving(task("m1", 600), m3="Unhealthy", clusters=("m3", "m4")), ["m1"], None, id="not all replacements are there"),
        pytest.param(leaving(task("m1"), m3="Healthy", m4="Unhealthy", clusters=("m3", "m4")), ["m1"], 600, id="not all are healthy"),
        pytest.param(leaving(task("m1"), m3="Healthy", m4="Healthy", clusters=("m3", "m4")), [], None, id="all are healthy"),
        pytest.param(leaving(task("m1", 100, suppressDeletion=True), m3="Healthy"), ["m1"], None, id="kept for ever, and woken for nothing"),
        pytest.param(leaving(task("m1", 100, suppressDeletion=False)), [], None, id="let go, whatever is there"),
        pytest.param(leaving(task("m1", 700, **RETURN), m3="Unhealthy"), ["m1"], None, id="for one that returned: not before it works"),
        pytest.param(leaving(task("m1", 700, **RETURN), m3="Healthy"), [], None, id="and then"),
        pytest.param(leaving(task("m1", None), m3="Unhealthy"), ["m1"], 600, id="no time: it begins now"),
        pytest.param(leaving(task("m9"), m3="Unknown"), [], None, id="an unknown cluster"),
        pytest.param(leaving(), [], None, id="no tasks"),
    ],
)  # fmt: skip
def test_when_tasks_end(binding: Object, left: list[str], wake: float | None) -> None:
    rest = ended(FLEET, binding, NOW)
    assert [row["fromCluster"] for row in tasks_of(rest.binding)] == left and rest.wake_seconds == wake
    assert (rest.binding is binding) is (list(tasks_of(binding)) == list(tasks_of(rest.binding)))
    assert ("gracefulEvictionTasks" in rest.binding["spec"]) is (bool(left) or rest.binding is binding)


@pytest.mark.parametrize("observed", [4, 3, None], ids=["in step", "behind", "never observed"])
def test_the_end_of_a_task_is_nothing_to_schedule(observed: int | None) -> None:
    binding = leaving(task("m1", 700), m3="Unhealthy")
    binding["status"]["schedulerObservedGeneration"] = observed
    after = ended(FLEET, binding, NOW).binding
    assert after["metadata"]["generation"] == 5
    assert after["status"]["schedulerObservedGeneration"] == (5 if observed == 4 else observed)


@pytest.mark.parametrize(
    ("found", "stop_after", "expected"),
    [
        pytest.param([task("m1", purgeMode="Directly")], 0, ["m1"], id="a copy that leaves directly, not one that scheduling moved"),
        pytest.param([task("m1")], 0, [], id="none that leaves gracefully"),
        pytest.param([task("m1", purgeMode="Directly")], 30, ["m1", "m2"], id="what must not run twice: any"),
        pytest.param([], 1, ["m1", "m2"], id="without tasks too"),
        pytest.param([task("m1", purgeMode="Directly", stoppedAt=rfc3339(NOW))], 30, ["m2"], id="but one that stopped by itself"),
    ],
)  # fmt: skip
def test_whom_a_replacement_waits_for(found: list[Object], stop_after: int, expected: list[str]) -> None:
    """m2 was a target, and m1; nobody confirmed that their copies are gone."""
    binding = leaving(*found, m2="Healthy", m1="Healthy", m3="Unknown")
    binding["spec"]["failover"] = {"cluster": {"purgeMode": "Directly", "stopAfterSeconds": stop_after}}
    assert purging(binding) == expected


def test_a_cluster_that_goes_is_left_by_scheduling() -> None:
    gone = cluster("m1", taints=[tainted()])
    gone["metadata"]["deletionTimestamp"] = rfc3339(NOW)
    members = Members.of([gone, cluster("m2", taints=[tainted()])])
    binding = leaving(clusters=("m1", "m2", "m9"))
    binding["spec"]["failover"] = {"cluster": {}}
    assert [departure.cluster for departure in departures(binding, members, 0.0)] == ["m2"]
