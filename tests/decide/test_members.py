"""Decisions about members: aggregation's texts, stored Works, Namespaces, Clusters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.test_propagation import (
    BINDING,
    REMOVED,
    WEB,
    WEB_POLICY,
    a_world,
    condition,
    propagate,
    report,
)
from tests.decide.world import World, cluster, configmap, deployment, namespace
from towline.hub.decide import aggregation, clusters, namespaces, policy_deletion, userworks
from towline.hub.decide.conditions import condition as find
from towline.hub.decide.plan import Plan
from towline.hub.decide.wire import ManifestStatus, Phase, WorkReport
from towline.kube import deletion, names
from towline.kube.objects import Key, Object

M1 = Key("cluster.karmada.io", "clusters", "", "m1")


def applied(status: bytes = b"", state: str = "Healthy") -> WorkReport:
    statuses = (ManifestStatus(0, "apps/v1", "Deployment", "deployments", "shop", "web", status, state),)
    return WorkReport("w", "u", b"", Phase.APPLIED, "", statuses)


FAILED = WorkReport("w", "u", b"", Phase.FAILED, "it is somebody else's")

# --- aggregation ---------------------------------------------------------------------------------------------


def test_the_aggregated_status() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    assert find(world.objects[BINDING]["status"], "FullyApplied") is None, (
        "nothing is said before the first report"
    )
    first = aggregation.decide(world, BINDING, world.now, {"m2": FAILED, "m1": applied(b'{"replicas":3}')})
    world.apply(first)
    assert {(event.regarding["kind"], event.reason) for event in first.events} == {
        ("ResourceBinding", "AggregateStatusSucceed"),
        ("Deployment", "AggregateStatusSucceed"),
        ("Deployment", "SyncSucceed"),
        ("Deployment", "SyncFailed"),
    }
    assert aggregation.decide(world, BINDING, world.now, {}).events == ()
    assert world.objects[BINDING]["status"]["aggregatedStatus"] == [
        {"clusterName": "m1", "applied": True, "health": "Healthy", "status": {"replicas": 3}},
        {
            "clusterName": "m2",
            "applied": False,
            "appliedMessage": "it is somebody else's",
            "health": "Unknown",
        },
    ]
    full = condition(world, "FullyApplied")
    assert (full["status"], full["reason"]) == ("False", "FullyAppliedFailed")
    assert full["message"] == "Failed to apply all works, see status.aggregatedStatus for details"
    assert world.objects[WEB]["status"]["replicas"] == 3
    plan = aggregation.decide(world, BINDING, world.now, {"m2": applied(b'{"replicas":2}')})
    world.apply(plan)
    assert [event.reason for event in plan.events] == ["AggregateStatusSucceed", "SyncSucceed"]
    assert plan.events[1].message == "Successfully applied resource(shop/web) to cluster m2"
    assert (
        plan.events[0].message
        == "Update ResourceBinding(shop/web-deployment) with AggregatedStatus successfully."
    )
    full = condition(world, "FullyApplied")
    assert (full["status"], full["message"]) == ("True", "All works have been successfully applied")
    assert world.objects[WEB]["status"]["replicas"] == 5


def test_a_new_target_makes_fully_applied_false_in_the_same_commit() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    report(world, m1=applied(), m2=applied())
    world.put(cluster("m3"))
    propagate(world)
    assert condition(world, "FullyApplied")["status"] == "False"
    assert aggregation.decide(world, BINDING, world.now, {}).writes == ()


def test_a_cluster_that_is_no_member_any_more_is_not_waited_for() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    del world.objects[M1]
    propagate(world)
    world.settle(aggregation.decide, BINDING, {})
    assert [e["clusterName"] for e in world.objects[BINDING]["status"]["aggregatedStatus"]] == ["m2"]


def test_a_removal_reported_for_a_wanted_cluster_counts_for_nothing() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    assert aggregation.decide(world, BINDING, world.now, {"m1": REMOVED}).writes == ()


def test_an_odd_status_does_not_stop_the_bindings_own() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    report(world, m1=applied(b'"what?"'), m2=applied(b'{"replicas":"many"}'))
    assert world.objects[BINDING]["status"]["aggregatedStatus"][0]["status"] == "what?"


# --- stored Works --------------------------------------------------------------------------------------------

MINE = Key("work.karmada.io", "works", "karmada-es-m1", "mine")


def a_work(world: World, **spec: Any) -> Key:
    return world.put(
        {
            "apiVersion": "work.karmada.io/v1alpha1",
            "kind": "Work",
            "metadata": {"name": "mine", "namespace": "karmada-es-m1"},
            "spec": {"workload": {"manifests": [configmap("a")]}, **spec},
        }
    )


def test_a_stored_work_gets_finalizer_and_status() -> None:
    world = a_world()
    key = a_work(world)
    world.settle(userworks.decide, key, None)
    assert world.objects[key]["metadata"]["finalizers"] == [names.EXECUTION_FINALIZER]
    held = ManifestStatus(0, "v1", "ConfigMap", "configmaps", "shop", "a", b'{"x":1}', "Healthy")
    said = WorkReport("mine", "u", b"", Phase.APPLIED, "", (held,))
    plan = userworks.decide(world, key, world.now, said)
    assert [event.reason for event in plan.events] == ["SyncSucceed"]
    world.settle(userworks.decide, key, said)
    status = world.objects[key]["status"]
    assert (find(status, "Applied") or {})["reason"] == "AppliedSuccessful"
    assert status["manifestStatuses"] == [
        {
            "identifier": {
                "ordinal": 0, "version": "v1", "kind": "ConfigMap", "resource": "configmaps", "namespace": "shop", "name": "a",
            },
            "health": "Healthy",
            "status": {"x": 1},
        }
    ]  # fmt: skip
    world.settle(userworks.decide, key, FAILED)
    assert (find(world.objects[key]["status"], "Applied") or {})["message"] == FAILED.message


def test_a_suspended_stored_work_says_so() -> None:
    world = a_world()
    key = a_work(world, suspendDispatching=True)
    world.settle(userworks.decide, key, None)
    assert (find(world.objects[key]["status"], "Dispatching") or {})["reason"] == "SuspendDispatching"


def test_a_deleted_stored_work_waits_for_its_member_or_for_the_members_end() -> None:
    for end in ("removed", "no member"):
        world = a_world()
        key = a_work(world)
        world.settle(userworks.decide, key, None)
        world.delete(key)
        assert userworks.decide(world, key, world.now, None).writes == ()
        if end == "no member":
            del world.objects[M1]
        world.settle(userworks.decide, key, REMOVED if end == "removed" else None)
        assert key not in world.objects


# --- Namespaces ----------------------------------------------------------------------------------------------

SHOP = Key("", "namespaces", "", "shop")


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("shop", {}, True),
        ("default", {}, False),
        ("kube-public", {}, False),
        ("karmada-system", {}, False),
        ("karmada-es-m1", {}, False),
        ("shop", {names.SKIP_AUTO_PROPAGATION: "true"}, False),
        ("shop", {names.SKIP_AUTO_PROPAGATION: "false"}, True),
    ],
)
def test_which_namespaces_follow(name: str, labels: dict[str, str], expected: bool) -> None:
    assert namespaces.spreads(namespace(name, labels)) is expected


def test_a_namespace_goes_after_its_contents_and_its_copies() -> None:
    world = a_world(configmap(), deployment(), WEB_POLICY)
    propagate(world)
    world.objects[SHOP] = world.objects[SHOP] | {
        "metadata": world.objects[SHOP]["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    }
    world.settle(namespaces.decide, SHOP, {"m1"})
    assert Key("", "configmaps", "shop", "settings") not in world.objects
    assert world.objects[WEB]["metadata"]["deletionTimestamp"]
    propagate(world)
    report(world, m1=REMOVED, m2=REMOVED)
    propagate(world)
    world.settle(policy_deletion.decide, world.key(WEB_POLICY))
    plan = world.settle(namespaces.decide, SHOP, {"m1"})[-1]
    assert plan.reasons["waiting"] == "copies may exist in m1"
    world.settle(namespaces.decide, SHOP, ())
    assert SHOP not in world.objects


def test_a_namespace_says_what_it_waits_for() -> None:
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {},
    }
    pod["metadata"]["finalizers"] = ["a.io/b"]
    safe = configmap("safe")
    safe["metadata"]["labels"] = {names.DELETION_PROTECTED: "Always"}
    world = a_world(pod, safe, configmap("plain"))
    world.objects[SHOP]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def said() -> dict[str, tuple[str, str]]:
        world.settle(namespaces.decide, SHOP, ())
        told = world.objects[SHOP]["status"]["conditions"]
        return {row["type"]: (row["status"], row["message"]) for row in told}

    assert said()["NamespaceContentRemaining"] == (
        "True",
        "Some resources are remaining: pods. has 1 resource instances",
    )
    assert said()["NamespaceFinalizersRemaining"][1].endswith("a.io/b in 1 resource instances")
    assert Key("", "configmaps", "shop", "plain") in world.objects, "Pods go first"
    del world.objects[Key("", "pods", "shop", "p")]
    assert said()["NamespaceDeletionContentFailure"] == (
        "True",
        f'Failed to delete all resource types, 1 remaining: configmaps "safe": {deletion.PROTECTED}',
    )
    assert Key("", "configmaps", "shop", "plain") not in world.objects
    world.objects[Key("", "configmaps", "shop", "safe")]["metadata"]["labels"] = {}
    world.settle(namespaces.decide, SHOP, ())
    assert SHOP not in world.objects


def test_a_big_namespace_empties_in_steps() -> None:
    world = a_world(*(configmap(f"c{at}") for at in range(250)))
    world.objects[SHOP]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    first = namespaces.decide(world, SHOP, world.now, ())
    assert len(first.writes) == namespaces.EMPTYING_WRITES and first.requeue_after_seconds == 0.0
    world.settle(namespaces.decide, SHOP, ())
    assert SHOP not in world.objects


def test_a_namespace_without_its_own_finalizer_gets_ours() -> None:
    world = a_world()
    world.objects[SHOP]["spec"] = {}
    assert namespaces.decide(world, SHOP, world.now, ()).writes == ()
    world.settle(namespaces.decide, SHOP, {"m1"})
    assert world.objects[SHOP]["metadata"]["finalizers"] == [names.PROPAGATION_FINALIZER]


# --- Clusters ------------------------------------------------------------------------------------------------


def test_a_cluster_gets_its_execution_namespace_and_loses_it_last() -> None:
    world = a_world(clusters=("m1",))
    space = Key("", "namespaces", "", "karmada-es-m1")
    plans = world.settle(clusters.decide, M1, 0)
    assert plans[0].events[0].message == "Created execution space(karmada-es-m1) for cluster(m1)."
    assert world.objects[space]["metadata"]["labels"][names.SYSTEM] == "true"
    world.delete(M1)
    assert M1 in world.objects and world.settle(clusters.decide, M1, 2)
    world.settle(clusters.decide, M1, 0)
    assert M1 not in world.objects and space not in world.objects


def test_a_cluster_stays_while_a_binding_may_hold_something_in_it() -> None:
    world = a_world(deployment(), WEB_POLICY)
    world.settle(clusters.decide, M1, 0)
    propagate(world)
    world.delete(M1)
    propagate(world)
    assert (
        clusters.decide(world, M1, world.now, 0).reasons["waiting"] == "1 Works may be in the cluster still"
    )
    report(world, m1=REMOVED)
    world.settle(clusters.decide, M1, 0)
    assert M1 not in world.objects


def test_nothing_to_decide_about_what_is_not_there() -> None:
    world = World()
    for plan in (
        clusters.decide(world, M1, 0.0, 0),
        namespaces.decide(world, SHOP, 0.0, ()),
        userworks.decide(world, MINE, 0.0, None),
        aggregation.decide(world, BINDING, 0.0, {}),
    ):
        assert plan == Plan()
