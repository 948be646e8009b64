"""WorkloadRebalancer: triggers, results, its end (Karmada 1.7, 2.11)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.test_propagation import BINDING, DIVIDED, WEB, a_world, clusters_of, propagate
from tests.decide.world import World, cluster, cluster_role, deployment, policy, selector
from towline.hub.decide import rebalancing
from towline.hub.decide.conditions import epoch, rfc3339
from towline.hub.decide.plan import Delete, Plan
from towline.kube.objects import Key, Object

KEY = Key(*rebalancing.REBALANCERS, "", "fresh")
WORKLOAD = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"}
OTHER = {**WORKLOAD, "name": "db"}
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "reader"}
ROLE_KEY = Key("rbac.authorization.k8s.io", "clusterroles", "", "reader")


def rebalancer(*workloads: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "apps.karmada.io/v1alpha1",
        "kind": "WorkloadRebalancer",
        "metadata": {"name": "fresh"},
        "spec": {"workloads": list(workloads or [WORKLOAD]), **spec},
    }


def placed(replicas: int = 4) -> World:
    """A divided Deployment on m1 and m2, and m3 that came later."""
    world = a_world(deployment(replicas=replicas), policy("all", [selector(deployment())], DIVIDED))
    propagate(world)
    world.now += 100
    world.put(cluster("m3"))
    propagate(world)
    assert clusters_of(world) == {"m1": replicas // 2, "m2": replicas // 2}
    return world


def rebalance(world: World) -> list[Plan]:
    return world.settle(rebalancing.decide, KEY)


def status(world: World) -> Object:
    found: Object = world.objects[KEY]["status"]
    return found


def results(world: World) -> dict[str, str]:
    return {o["workload"]["name"]: o["result"] for o in status(world)["observedWorkloads"]}


def trigger(world: World, key: Key = BINDING) -> str | None:
    found: str | None = world.objects[key]["spec"].get("rescheduleTriggeredAt")
    return found


def test_a_rebalanced_workload_is_scheduled_afresh() -> None:
    world = placed()
    world.put(rebalancer())
    world.now += 5
    first = rebalance(world)[0]
    assert [write.key for write in first.writes] == [BINDING, KEY], "the result is written last"
    assert trigger(world) == world.objects[KEY]["metadata"]["creationTimestamp"]
    assert status(world) == {
        "observedWorkloads": [{"workload": WORKLOAD, "result": "Successful"}],
        "observedGeneration": 1,
        "finishTime": rfc3339(world.now),
    }
    propagate(world)
    assert sorted(clusters_of(world).values()) == [1, 1, 2]
    assert world.objects[BINDING]["metadata"]["generation"] == 3


def test_a_cluster_scoped_workload() -> None:
    world = a_world(cluster_role(), policy("roles", [selector(cluster_role())], namespace=None))
    propagate(world, ROLE_KEY)
    world.now += 10
    world.put(rebalancer(ROLE))
    rebalance(world)
    key = Key("work.karmada.io", "clusterresourcebindings", "", "reader-clusterrole")
    assert results(world) == {"reader": "Successful"} and trigger(world, key) is not None


@pytest.mark.parametrize(
    "workload",
    [
        OTHER,
        {**WORKLOAD, "namespace": "other"},
        {k: v for k, v in WORKLOAD.items() if k != "namespace"},
        {**WORKLOAD, "apiVersion": "apps.example.com/v1"},
    ],
    ids=["no binding", "another namespace", "no namespace", "another group"],
)
def test_a_workload_without_binding_has_failed_for_good(workload: Object) -> None:
    world = placed()
    world.put(rebalancer(workload))
    rebalance(world)
    assert status(world)["observedWorkloads"] == [
        {"workload": workload, "result": "Failed", "reason": "ReferencedBindingNotFound"}
    ]
    world.put(deployment("db"))
    propagate(world, WEB._replace(name="db"))
    assert rebalance(world)[0].writes == ()
    assert trigger(world) is None


def test_another_version_is_the_same_workload() -> None:
    world = placed()
    world.put(rebalancer({**WORKLOAD, "apiVersion": "apps/v1beta2"}))
    rebalance(world)
    assert results(world) == {"web": "Successful"}


def test_what_was_scheduled_in_the_same_second_is_scheduled_again_once() -> None:
    world = placed()
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=6))
    propagate(world)
    world.put(rebalancer())
    rebalance(world)
    assert trigger(world) == rfc3339(world.now + 1), "later than the last schedule"
    assert propagate(world)[0].writes != ()
    assert sorted(clusters_of(world).values()) == [2, 2, 2]
    world.now += 10
    assert propagate(world)[0].writes == ()
    assert rebalance(world)[0].writes == ()


def test_a_newer_trigger_is_kept() -> None:
    world = placed()
    later = rfc3339(world.now + 50)
    world.edit(BINDING, lambda obj: obj["spec"].update(rescheduleTriggeredAt=later))
    world.put(rebalancer())
    rebalance(world)
    assert trigger(world) == later and results(world) == {"web": "Successful"}


def test_a_workload_that_is_listed_later_is_asked_for_then() -> None:
    world = placed()
    world.put(rebalancer(OTHER))
    rebalance(world)
    finished = status(world)["finishTime"]
    world.now += 1000
    world.put(rebalancer(OTHER, WORKLOAD))
    rebalance(world)
    assert results(world) == {"db": "Failed", "web": "Successful"}
    assert trigger(world) == rfc3339(world.now)
    assert (epoch(status(world)["finishTime"]) or 0) > (epoch(finished) or 0)
    assert status(world)["observedGeneration"] == 2


def test_workloads_that_are_listed_no_more_stay_if_they_had_succeeded() -> None:
    world = placed()
    world.put(rebalancer(WORKLOAD, OTHER))
    rebalance(world)
    finished = status(world)["finishTime"]
    world.now += 60
    world.put(rebalancer(ROLE, OTHER))
    rebalance(world)
    assert results(world) == {"reader": "Failed", "db": "Failed", "web": "Successful"}
    world.put(rebalancer({**WORKLOAD, "name": "third"}))
    rebalance(world)
    assert results(world) == {"third": "Failed", "web": "Successful"}
    assert status(world)["finishTime"] != finished


def test_a_changed_ttl_alone_is_no_new_finish() -> None:
    world = placed()
    world.put(rebalancer())
    rebalance(world)
    finished = status(world)["finishTime"]
    world.now += 60
    world.put(rebalancer(ttlSecondsAfterFinished=3600))
    plans = rebalance(world)
    assert status(world)["finishTime"] == finished and status(world)["observedGeneration"] == 2
    assert plans[-1].requeue_after_seconds == pytest.approx(3540, abs=1)


def test_it_goes_when_its_time_is_over_and_not_before() -> None:
    world = placed()
    world.put(rebalancer(ttlSecondsAfterFinished=30))
    plans = rebalance(world)
    assert plans[-1].requeue_after_seconds == 30
    world.now += 29
    assert rebalance(world)[0].writes == ()
    world.now += 1
    plan = rebalancing.decide(world, KEY, world.now)
    seen = int(world.objects[KEY]["metadata"]["resourceVersion"])
    assert plan.writes == (Delete(KEY, seen),), "only as it was seen"
    world.apply(plan)
    assert rebalancing.decide(world, KEY, world.now) == Plan()


def test_with_a_ttl_of_zero_it_goes_at_once_but_never_before_its_result_is_stored() -> None:
    world = placed()
    world.put(rebalancer(ttlSecondsAfterFinished=0))
    first, second, last = rebalance(world)
    assert first.requeue_after_seconds == 0 and first.writes[-1].key == KEY
    assert isinstance(second.writes[0], Delete) and last.writes == ()
    assert KEY not in world.objects and trigger(world) is not None


def test_finalizers_of_others_hold_it() -> None:
    world = placed()
    mine = rebalancer(ttlSecondsAfterFinished=0)
    mine["metadata"]["finalizers"] = ["example.com/hold"]
    world.put(mine)
    rebalance(world)
    assert world.objects[KEY]["metadata"]["deletionTimestamp"]
    assert rebalancing.decide(world, KEY, world.now).writes == ()


_workloads = st.lists(
    st.sampled_from([WORKLOAD, OTHER, ROLE, {**WORKLOAD, "apiVersion": "apps/v1beta1"}]),
    min_size=1,
    max_size=5,
)


@cases(80)
@given(
    st.lists(st.tuples(_workloads, st.integers(0, 3), st.none() | st.integers(0, 5)), min_size=1, max_size=4)
)
def test_at_rest_no_plan_contains_a_write(steps: list[tuple[list[Object], int, int | None]]) -> None:
    world = placed()
    for workloads, seconds, ttl in steps:
        world.now += seconds
        world.put(rebalancer(*workloads, **({} if ttl is None else {"ttlSecondsAfterFinished": ttl})))
        plans = rebalance(world)
        if KEY in world.objects:
            assert {o["result"] for o in status(world)["observedWorkloads"]} <= {"Successful", "Failed"}
            listed = [o["workload"] for o in status(world)["observedWorkloads"]]
            assert len(listed) == len({(o["kind"], o["name"]) for o in listed})
            assert plans[-1].writes == ()
        propagate(world)
        world.now += 2
        assert propagate(world)[0].writes == (), "what was triggered is scheduled once"
