"""Propagation: matching, claims, the binding's shape and life (Karmada 2.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.decide.world import (
    World,
    cluster,
    cluster_role,
    configmap,
    deployment,
    namespace,
    policy,
    selector,
)
from towline.hub.decide import aggregation, policies, policy_deletion, propagation
from towline.hub.decide.plan import Delete, Plan
from towline.hub.decide.wire import Phase, WorkReport
from towline.kube import names
from towline.kube.objects import Key, Object

WEB = Key("apps", "deployments", "shop", "web")
BINDING = Key("work.karmada.io", "resourcebindings", "shop", "web-deployment")
APPLIED = WorkReport("w", "u", b"", Phase.APPLIED)
REMOVED = WorkReport("w", "u", b"", Phase.REMOVED)


def a_world(*objects: Object, clusters: tuple[str, ...] = ("m1", "m2")) -> World:
    world = World()
    world.put(namespace("shop"))
    for name in clusters:
        world.put(cluster(name))
    for obj in objects:
        world.put(obj)
    return world


def propagate(world: World, key: Key = WEB) -> list[Plan]:
    return world.settle(propagation.decide, key)


def report(world: World, key: Key = BINDING, **reports: WorkReport) -> None:
    world.apply(aggregation.decide(world, key, world.now, reports))


def clusters_of(world: World, key: Key = BINDING) -> dict[str, int]:
    return {c["name"]: c.get("replicas", 0) for c in world.objects[key]["spec"].get("clusters", [])}


def observed(world: World, key: Key = BINDING) -> list[str]:
    return [e["clusterName"] for e in world.objects[key].get("status", {}).get("aggregatedStatus", [])]


def condition(world: World, kind: str = "Scheduled", key: Key = BINDING) -> dict[str, Any]:
    return next(c for c in world.objects[key]["status"]["conditions"] if c["type"] == kind)


def claimed_by(obj: Object) -> str | None:
    claim = policies.claim_of(obj)
    return claim and claim.name


WEB_POLICY = policy("web", [selector(deployment(), name="web")])


# --- one commit does it all ----------------------------------------------------------------------------------


def test_one_plan_claims_binds_and_schedules() -> None:
    world = a_world(deployment(requests={"cpu": "100m"}), WEB_POLICY)
    plan = propagation.decide(world, WEB, world.now)
    world.apply(plan)
    assert [write.key for write in plan.writes] == [WEB, BINDING], "the finalizer comes first"
    assert propagation.decide(world, WEB, world.now).writes == ()

    owner = world.objects[Key("policy.karmada.io", "propagationpolicies", "shop", "web")]
    id_ = owner["metadata"]["labels"][names.POLICY_ID]
    template, binding = world.objects[WEB], world.objects[BINDING]
    for obj in (template, binding):
        assert obj["metadata"]["labels"][names.POLICY_ID] == id_
        assert obj["metadata"]["annotations"][names.POLICY_NAMESPACE_ANNOTATION] == "shop"
        assert obj["metadata"]["annotations"][names.POLICY_NAME_ANNOTATION] == "web"
    assert template["metadata"]["finalizers"] == [names.PROPAGATION_FINALIZER]
    assert template["metadata"]["generation"] == 1
    assert binding["metadata"]["finalizers"] == [names.BINDING_FINALIZER]
    assert binding["metadata"]["generation"] == 1
    assert binding["metadata"]["labels"][names.BINDING_ID]
    assert binding["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "web",
            "uid": template["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    spec = binding["spec"]
    assert {
        field: spec["resource"][field] for field in ("apiVersion", "kind", "namespace", "name", "uid")
    } == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "shop",
        "name": "web",
        "uid": template["metadata"]["uid"],
    }
    assert spec["replicas"] == 3
    assert spec["replicaRequirements"]["resourceRequest"] == {"cpu": "100m"}
    assert spec["schedulerName"] == "default-scheduler"
    assert spec["conflictResolution"] == "Abort"
    assert clusters_of(world) == {"m1": 3, "m2": 3}
    assert json.loads(binding["metadata"]["annotations"][names.APPLIED_PLACEMENT]) == spec["placement"]
    status = binding["status"]
    assert status["schedulerObservedGeneration"] == 1
    assert status["lastScheduledTime"]
    assert status["aggregatedStatus"] == [{"clusterName": "m1"}, {"clusterName": "m2"}]
    assert condition(world)["reason"] == "Success"
    assert {event.reason for event in plan.events} == {
        "ApplyPolicySucceed",
        "ScheduleBindingSucceed",
        "SyncWorkSucceed",
    }
    assert "Apply policy(shop/web) succeed" in [event.message for event in plan.events]
    assert any(event.message.endswith("Result: {m1:3, m2:3}") for event in plan.events)


def test_a_cluster_scoped_template_gets_a_cluster_binding() -> None:
    world = a_world(cluster_role(), policy("roles", [selector(cluster_role())], namespace=None))
    propagate(world, Key("rbac.authorization.k8s.io", "clusterroles", "", "reader"))
    key = Key("work.karmada.io", "clusterresourcebindings", "", "reader-clusterrole")
    binding = world.objects[key]
    assert binding["metadata"]["finalizers"] == [names.CLUSTER_BINDING_FINALIZER]
    assert binding["metadata"]["annotations"][names.CLUSTER_POLICY_NAME_ANNOTATION] == "roles"
    assert clusters_of(world, key) == {"m1": 0, "m2": 0}
    assert "replicas" not in binding["spec"]


def test_policy_fields_are_copied() -> None:
    spec: dict[str, Any] = {
        "conflictResolution": "Overwrite",
        "preserveResourcesOnDeletion": True,
        "suspension": {"dispatchingOnClusters": {"clusterNames": ["m1"]}},
        "propagateDeps": True,
        "failover": {"cluster": {"purgeMode": "Directly"}},
    }
    world = a_world(
        deployment(),
        policy("web", [selector(deployment())], {"clusterAffinity": {"clusterNames": ["m1"]}}, **spec),
    )
    propagate(world)
    binding = world.objects[BINDING]["spec"]
    assert {field: binding[field] for field in spec} == spec
    assert binding["placement"] == {"clusterAffinity": {"clusterNames": ["m1"]}}


# --- which policy --------------------------------------------------------------------------------------------

BY_NAME, BY_LABEL, BY_KIND = (
    selector(deployment(), name="web"),
    selector(deployment(), labelSelector={"matchLabels": {"app": "web"}}),
    selector(deployment()),
)


@pytest.mark.parametrize(
    ("candidates", "winner"),
    [
        ([policy("kind", [BY_KIND]), policy("label", [BY_LABEL])], "label"),
        ([policy("label", [BY_LABEL]), policy("name", [BY_NAME])], "name"),
        ([policy("kind", [BY_KIND], priority=1), policy("name", [BY_NAME])], "kind"),
        ([policy("b", [BY_NAME]), policy("a", [BY_NAME])], "a"),
        ([policy("many", [BY_KIND, BY_NAME]), policy("label", [BY_LABEL])], "many"),
        ([policy("cpp", [BY_NAME], namespace=None, priority=9), policy("pp", [BY_KIND])], "pp"),
        ([policy("cpp", [selector(deployment(), namespace="shop")], namespace=None)], "cpp"),
        ([policy("cpp", [selector(deployment(), namespace="other")], namespace=None)], None),
        ([policy("other", [selector(deployment(), name="db")])], None),
        ([policy("named", [{**BY_NAME, "name": "db", "labelSelector": {}}])], None),
        ([policy("wrong", [{**BY_KIND, "apiVersion": "apps/v1beta1"}])], None),
        ([policy("elsewhere", [BY_KIND], namespace="other")], None),
    ],
)  # fmt: skip
def test_the_winning_policy(candidates: list[Object], winner: str | None) -> None:
    world = a_world(deployment(labels={"app": "web"}), *candidates)
    propagate(world)
    assert claimed_by(world.objects[WEB]) == winner
    assert (BINDING in world.objects) == (winner is not None)


@pytest.mark.parametrize(
    "key",
    [
        Key("", "configmaps", "kube-system", "x"),
        Key("", "configmaps", "karmada-system", "x"),
        Key("", "secrets", "karmada-es-m1", "x"),
        Key("", "namespaces", "", "kube-public"),
        Key("", "events", "shop", "x"),
        Key("coordination.k8s.io", "leases", "shop", "x"),
        Key("policy.karmada.io", "propagationpolicies", "shop", "x"),
        Key("events.k8s.io", "events", "shop", "x"),
        Key("towline.io", "jointokens", "", "x"),
    ],
)
def test_what_is_never_propagated(key: Key) -> None:
    assert not propagation.propagatable(key)


def test_what_somebody_else_claimed_is_left_alone() -> None:
    world = a_world(deployment(labels={names.CLAIMED_BY: "MultiClusterService"}), WEB_POLICY)
    assert propagate(world)[0].writes == ()


def test_a_claimed_template_stays_with_its_policy() -> None:
    world = a_world(deployment(), policy("kind", [BY_KIND]))
    propagate(world)
    world.put(policy("name", [BY_NAME], priority=5))
    assert propagate(world)[0].writes == ()
    assert claimed_by(world.objects[WEB]) == "kind"


def test_a_policy_being_deleted_gives_its_templates_up_and_may_go() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    at = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
    world.delete(at)
    assert policy_deletion.decide(world, at, world.now).writes == (), "claims are still there"
    propagate(world)
    assert claimed_by(world.objects[WEB]) is None
    assert claimed_by(world.objects[BINDING]) is None
    assert clusters_of(world) == {"m1": 3, "m2": 3}, "binding and Works stay"
    assert names.PROPAGATION_FINALIZER in world.objects[WEB]["metadata"]["finalizers"]
    world.settle(policy_deletion.decide, at)
    assert at not in world.objects


def test_another_policy_takes_over_in_the_same_plan() -> None:
    world = a_world(
        deployment(),
        WEB_POLICY,
        policy("cpp", [BY_KIND], {"clusterAffinity": {"clusterNames": ["m2"]}}, None),
    )
    propagate(world)
    world.delete(Key("policy.karmada.io", "propagationpolicies", "shop", "web"))
    world.apply(propagation.decide(world, WEB, world.now))
    for obj in (world.objects[WEB], world.objects[BINDING]):
        assert names.POLICY_ID not in obj["metadata"]["labels"]
        assert names.POLICY_NAME_ANNOTATION not in obj["metadata"]["annotations"]
        assert claimed_by(obj) == "cpp"
    assert clusters_of(world) == {"m2": 3}
    assert propagation.decide(world, WEB, world.now).writes == ()


def test_selectors_that_match_no_more_free_the_template_but_keep_the_copies() -> None:
    world = a_world(deployment(labels={"app": "web"}), policy("label", [BY_LABEL]))
    propagate(world)
    world.edit(WEB, lambda obj: obj["metadata"]["labels"].update(app="other"))
    propagate(world)
    assert claimed_by(world.objects[WEB]) is None and claimed_by(world.objects[BINDING]) is None
    assert clusters_of(world) == {"m1": 3, "m2": 3}


def test_a_binding_without_policy_is_not_scheduled_but_leaves_terminating_clusters() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    world.delete(Key("policy.karmada.io", "propagationpolicies", "shop", "web"))
    world.put(cluster("m3"))
    propagate(world)
    assert clusters_of(world) == {"m1": 3, "m2": 3}
    world.delete(Key("cluster.karmada.io", "clusters", "", "m1"))
    propagate(world)
    assert clusters_of(world) == {"m2": 3}
    assert observed(world) == ["m1", "m2"]


def test_dependent_overrides_must_exist_first() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND], dependentOverrides=["op1"]))
    plan = propagation.decide(world, WEB, world.now)
    why = "waiting for dependent overrides: OverridePolicy op1 not found"
    assert plan.writes == () and plan.error is None and plan.reasons["waiting"] == why
    assert [(e.regarding["kind"], e.reason) for e in plan.events] == [
        ("Deployment", "ApplyPolicyFailed"),
        ("PropagationPolicy", "ApplyPolicyFailed"),
    ]
    assert plan.events[0].message == f"Apply policy(shop/web) failed: {why}"
    spec = {"resourceSelectors": [BY_KIND], "overrideRules": []}
    world.put({"apiVersion": "policy.karmada.io/v1alpha1", "kind": "OverridePolicy", "metadata": {"name": "op1", "namespace": "shop"}, "spec": spec})  # fmt: skip
    propagate(world)
    assert BINDING in world.objects


# --- the binding follows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("division", ["Aggregated", "Weighted"])
def test_what_is_scaled_to_zero_is_divided_still(division: str) -> None:
    """Pods that request nothing make no difference: neither do copies spread to clusters that had none, nor do any go."""
    weights = {"staticWeightList": [{"targetCluster": {"clusterNames": ["m1"]}, "weight": 1}]}
    divided: Object = {"replicaSchedulingType": "Divided", "replicaDivisionPreference": division}
    if division == "Weighted":
        divided["weightPreference"] = weights
    world = a_world(deployment(replicas=2))
    for name in ("m1", "m2"):
        summary = {"allocatable": {"pods": "30" if name == "m1" else "20"}}
        world.edit(Key("cluster.karmada.io", "clusters", "", name), lambda c, s=summary: c["status"].update(resourceSummary=s))  # type: ignore[misc]  # fmt: skip
    world.put(policy("web", [selector(deployment())], {"replicaScheduling": divided}))
    propagate(world)
    assert clusters_of(world) == {"m1": 2}
    for replicas in (0, 1, 0):
        world.edit(WEB, lambda web, r=replicas: web["spec"].update(replicas=r))  # type: ignore[misc]
        propagate(world)
        assert clusters_of(world) == {"m1": replicas}
    assert world.objects[BINDING]["spec"]["replicas"] == 0


def test_scaling_changes_the_binding_and_its_generation() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    scheduled = world.objects[BINDING]["status"]["lastScheduledTime"]
    world.now += 100
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=5))
    propagate(world)
    binding = world.objects[BINDING]
    assert clusters_of(world) == {"m1": 5, "m2": 5}
    assert binding["metadata"]["generation"] == 2 == binding["status"]["schedulerObservedGeneration"]
    assert binding["status"]["lastScheduledTime"] != scheduled


def test_an_image_change_costs_no_second_commit() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    world.edit(WEB, lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image="nginx:2"))
    assert propagate(world)[0].writes == ()


def test_a_changed_placement_leaves_a_tombstone_until_the_member_answered() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    report(world, m1=APPLIED, m2=APPLIED)
    assert condition(world, "FullyApplied")["status"] == "True"
    at = world.key(WEB_POLICY)
    world.edit(at, lambda obj: obj["spec"].update(placement={"clusterAffinity": {"clusterNames": ["m2"]}}))
    propagate(world)
    assert clusters_of(world) == {"m2": 3} and observed(world) == ["m1", "m2"]
    report(world, m1=APPLIED)
    assert observed(world) == ["m1", "m2"], "only the removal's answer ends it"
    report(world, m1=REMOVED)
    assert observed(world) == ["m2"]
    assert condition(world, "FullyApplied")["status"] == "True"


def test_no_cluster_fit_empties_the_targets_and_heals() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND], {"clusterAffinity": {"clusterNames": ["m1"]}}))
    propagate(world)
    at = world.key(WEB_POLICY)
    world.edit(at, lambda obj: obj["spec"].update(placement={"clusterAffinity": {"clusterNames": ["m9"]}}))
    events = [event for plan in propagate(world) for event in plan.events]
    assert clusters_of(world) == {} and observed(world) == ["m1"]
    assert (condition(world)["status"], condition(world)["reason"]) == ("False", "NoClusterFit")
    assert "ScheduleBindingFailed" in {event.reason for event in events}
    world.put(cluster("m9"))
    propagate(world)
    assert clusters_of(world) == {"m9": 3} and condition(world)["status"] == "True"


def test_an_unschedulable_wish_keeps_the_targets() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    constraint = {"spreadConstraints": [{"spreadByField": "cluster", "minGroups": 3, "maxGroups": 3}]}
    world.edit(world.key(WEB_POLICY), lambda obj: obj["spec"].update(placement=constraint))
    propagate(world)
    assert clusters_of(world) == {"m1": 3, "m2": 3}
    assert condition(world)["reason"] == "Unschedulable"


def test_an_unschedulable_wish_keeps_no_target_that_is_no_cluster_any_more() -> None:
    two = {"spreadConstraints": [{"spreadByField": "cluster", "minGroups": 2, "maxGroups": 2}]}
    world = a_world(deployment(), policy("web", [BY_KIND], two))
    world.put(cluster("m1", finalizers=[names.CLUSTER_FINALIZER]))
    propagate(world)
    at = Key("cluster.karmada.io", "clusters", "", "m1")
    world.delete(at)
    propagate(world)
    assert clusters_of(world) == {"m1": 3, "m2": 3}, "what runs is not taken away"
    del world.objects[at]
    propagate(world)
    assert clusters_of(world) == {"m2": 3}


DIVIDED = {"replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted"}}


def test_duplicated_follows_new_clusters_and_divided_does_not() -> None:
    world = a_world(
        deployment(),
        WEB_POLICY,
        deployment("db", replicas=4),
        policy("db", [selector(deployment(), name="db")], DIVIDED),
    )
    database, its_binding = Key("apps", "deployments", "shop", "db"), BINDING._replace(name="db-deployment")
    propagate(world)
    propagate(world, database)
    world.put(cluster("m3"))
    propagate(world)
    propagate(world, database)
    assert clusters_of(world) == {"m1": 3, "m2": 3, "m3": 3}
    assert clusters_of(world, its_binding) == {"m1": 2, "m2": 2}
    world.edit(its_binding, lambda obj: obj["spec"].update(rescheduleTriggeredAt="2099-01-01T00:00:00Z"))
    world.now = 4_100_000_000.0
    propagate(world, database)
    assert sorted(clusters_of(world, its_binding).values()) == [1, 1, 2]


def test_a_divided_binding_leaves_a_cluster_that_is_being_removed() -> None:
    world = a_world(deployment(replicas=4), policy("web", [BY_KIND], DIVIDED))
    world.put(cluster("m1", finalizers=[names.CLUSTER_FINALIZER]))
    propagate(world)
    world.delete(Key("cluster.karmada.io", "clusters", "", "m1"))
    propagate(world)
    assert clusters_of(world) == {"m2": 4} and observed(world) == ["m1", "m2"]


def test_suspended_scheduling_leaves_the_targets_but_takes_the_rest() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    world.edit(BINDING, lambda obj: obj["spec"].update(suspension={"scheduling": True}))
    world.edit(world.key(WEB_POLICY), lambda obj: obj["spec"].update(
        placement={"clusterAffinity": {"clusterNames": ["m2"]}}, suspension={"dispatching": True}))  # fmt: skip
    propagate(world)
    spec = world.objects[BINDING]["spec"]
    assert spec["suspension"] == {"dispatching": True, "scheduling": True}
    assert spec["placement"] == {"clusterAffinity": {"clusterNames": ["m2"]}}
    assert clusters_of(world) == {"m1": 3, "m2": 3}


def test_another_scheduler_is_left_to_place() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND], schedulerName="mine"))
    propagate(world)
    found = condition(world)
    assert clusters_of(world) == {} and (found["status"], found["reason"]) == (
        "Unknown",
        "WaitingForScheduler",
    )
    assert found["message"] == "scheduler mine is expected to schedule this (spec.schedulerName)"
    world.objects[BINDING]["status"]["conditions"] = theirs = [
        {"type": "Scheduled", "status": "True", "reason": "Done"}
    ]
    propagate(world)
    assert world.objects[BINDING]["status"]["conditions"] == theirs, "the other scheduler's word counts"


def test_a_binding_that_is_suspended_from_birth_says_what_it_waits_for() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND], schedulerName="mine"))
    propagate(world)
    world.edit(
        BINDING,
        lambda obj: obj["spec"].update(suspension={"scheduling": True}, schedulerName="default-scheduler"),
    )
    world.objects[world.key(WEB_POLICY)]["spec"]["schedulerName"] = "default-scheduler"
    propagate(world)
    assert condition(world)["reason"] == "SchedulingSuspended" and clusters_of(world) == {}
    world.edit(BINDING, lambda obj: obj["spec"].update(suspension={}))
    propagate(world)
    assert condition(world)["reason"] == "Success" and clusters_of(world) == {"m1": 3, "m2": 3}


# --- ends ----------------------------------------------------------------------------------------------------


def test_a_deleted_template_stays_until_every_member_answered() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    report(world, m1=APPLIED, m2=APPLIED)
    world.delete(WEB)
    propagate(world)
    assert world.objects[BINDING]["metadata"]["deletionTimestamp"]
    report(world, m1=REMOVED)
    propagate(world)
    assert WEB in world.objects and observed(world) == ["m2"]
    report(world, m2=REMOVED)
    plan = propagation.decide(world, WEB, world.now)
    world.apply(plan)
    assert [(type(write), write.key) for write in plan.writes] == [(Delete, BINDING), (Delete, WEB)] or (
        propagate(world) and WEB not in world.objects
    )
    assert WEB not in world.objects and BINDING not in world.objects


def test_a_deleted_template_keeps_the_finalizers_of_others() -> None:
    world = a_world(deployment(), WEB_POLICY, clusters=())
    propagate(world)
    world.edit(WEB, lambda obj: obj["metadata"]["finalizers"].append("example.com/mine"))
    world.delete(WEB)
    propagate(world)
    assert BINDING not in world.objects
    assert world.objects[WEB]["metadata"]["finalizers"] == ["example.com/mine"]


def test_a_binding_deleted_by_a_user_comes_back_when_no_member_holds_a_copy() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    first = world.objects[BINDING]["metadata"]["uid"]
    world.delete(BINDING)
    propagate(world)
    assert world.objects[BINDING]["metadata"]["deletionTimestamp"]
    report(world, m1=REMOVED, m2=REMOVED)
    propagate(world)
    binding = world.objects[BINDING]
    assert "deletionTimestamp" not in binding["metadata"] and binding["metadata"]["uid"] != first
    assert clusters_of(world) == {"m1": 3, "m2": 3}


def test_a_binding_whose_template_vanished_is_torn_down() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    del world.objects[WEB]
    propagate(world)
    assert world.objects[BINDING]["metadata"]["deletionTimestamp"]
    report(world, m1=REMOVED, m2=REMOVED)
    propagate(world)
    assert BINDING not in world.objects


def test_the_binding_of_an_earlier_template_of_the_name_goes_first() -> None:
    world = a_world(deployment(), WEB_POLICY)
    propagate(world)
    del world.objects[WEB]
    world.put(deployment())
    propagate(world)
    assert world.objects[BINDING]["metadata"]["deletionTimestamp"]
    report(world, m1=REMOVED, m2=REMOVED)
    propagate(world)
    assert world.objects[BINDING]["spec"]["resource"]["uid"] == world.objects[WEB]["metadata"]["uid"]


def test_a_binding_of_another_template_is_never_taken_over() -> None:
    first, second = configmap("a.b"), configmap("a.b")
    world = a_world(first, policy("all", [selector(first)]))
    key = Key("", "configmaps", "shop", "a.b")
    propagate(world, key)
    taken = BINDING._replace(name="a.b-configmap")
    other = world.objects[taken] | {"spec": world.objects[taken]["spec"] | {"resource": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "a:b", "uid": "u9"}}}  # fmt: skip
    other["metadata"] = other["metadata"] | {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a:b", "uid": "u9", "controller": True}]}  # fmt: skip
    world.objects[taken] = other
    world.put(second)
    plan = propagation.decide(world, key, world.now)
    assert plan.writes == () and plan.events[0].reason == "ApplyPolicyFailed"
    assert "belongs to ConfigMap a:b" in plan.reasons["waiting"]
    assert world.objects[taken] == other
