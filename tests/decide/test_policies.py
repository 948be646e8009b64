"""The life of policies: who takes what from whom, what waits, and what stays when a policy goes (Karmada 2.1)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.test_propagation import (
    BINDING,
    BY_KIND,
    BY_LABEL,
    BY_NAME,
    REMOVED,
    WEB,
    a_world,
    claimed_by,
    clusters_of,
    propagate,
    report,
)
from tests.decide.world import World, configmap, deployment, policy, selector
from towline.hub.decide import policies, policy_deletion, propagation, works
from towline.hub.decide.blocking import BLOCKED
from towline.hub.decide.conditions import condition
from towline.hub.decide.plan import EventNote
from towline.kube import names
from towline.kube.objects import Key, Object

ALWAYS: dict[str, Any] = {"preemption": "Always"}


def events(world: World, key: Key = WEB) -> list[EventNote]:
    return [event for plan in propagate(world, key) for event in plan.events]


def blocked(world: World) -> tuple[str, str] | None:
    found = condition(world.objects[BINDING].get("status"), BLOCKED)
    return (found["reason"], found["message"]) if found else None


def override(name: str, namespace: str | None = "shop") -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    kind = "OverridePolicy" if namespace else "ClusterOverridePolicy"
    return {"apiVersion": "policy.karmada.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": {"overrideRules": []}}  # fmt: skip


def priority_class(name: str = "high", value: int = 7) -> Object:
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}  # fmt: skip


# --- preemption ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "rivals", "winner"),
    [
        (policy("a", [BY_KIND], priority=1), [policy("b", [BY_NAME], priority=2, **ALWAYS)], "b"),
        (policy("a", [BY_KIND], priority=1), [policy("b", [BY_NAME], priority=2)], "a"),
        (policy("a", [BY_KIND], priority=1), [policy("b", [BY_NAME], priority=1, **ALWAYS)], "a"),
        (policy("a", [BY_KIND], priority=1), [policy("b", [BY_NAME], priority=-1, **ALWAYS)], "a"),
        (policy("a", [BY_KIND], None, None, priority=9), [policy("b", [BY_NAME], priority=-5, **ALWAYS)], "b"),
        (policy("a", [BY_KIND], None, None, priority=1), [policy("b", [BY_NAME], None, None, priority=2, **ALWAYS)], "b"),
        (policy("a", [BY_KIND], None, None, priority=1), [policy("b", [BY_NAME], None, None, priority=1, **ALWAYS)], "a"),
        (policy("a", [BY_KIND], priority=1), [policy("b", [BY_NAME], None, None, priority=9, **ALWAYS)], "a"),
        (policy("a", [BY_KIND]), [policy("b", [BY_NAME], priority=2, **ALWAYS), policy("c", [BY_NAME], priority=3, **ALWAYS)], "c"),
        (policy("a", [BY_KIND]), [policy("c", [BY_NAME], priority=2, **ALWAYS), policy("b", [BY_NAME], priority=2, **ALWAYS)], "b"),
        (policy("a", [BY_KIND], None, None), [policy("c", [BY_NAME], None, None, priority=9, **ALWAYS), policy("b", [BY_NAME], **ALWAYS)], "b"),
        (policy("a", [BY_KIND]), [policy("b", [selector(deployment(), name="db")], priority=2, **ALWAYS)], "a"),
        (policy("a", [BY_KIND]), [policy("b", [BY_NAME], namespace="other", priority=2, **ALWAYS)], "a"),
        (policy("a", [BY_KIND]), [policy("b", [BY_LABEL], priority=2, **ALWAYS)], "a"),
    ],
    ids=[
        "a higher priority preempts",
        "only with preemption Always",
        "not from an equal priority",
        "not from a higher priority",
        "a policy takes from any cluster policy",
        "a cluster policy takes from a lower one",
        "a cluster policy takes not from an equal one",
        "a cluster policy takes not from a policy",
        "the highest priority first",
        "then the smallest name",
        "policies before cluster policies",
        "only what it selects",
        "only in its namespace",
        "only what it names",
    ],
)  # fmt: skip
def test_preemption(owner: Object, rivals: list[Object], winner: str) -> None:
    world = a_world(deployment(labels={"app": "web"}), owner)
    propagate(world)
    for rival in rivals:
        world.put(rival)
    propagate(world)
    assert claimed_by(world.objects[WEB]) == claimed_by(world.objects[BINDING]) == winner


def test_lowering_a_priority_lets_the_highest_of_the_others_take_over() -> None:
    rivals = [policy(n, [BY_NAME], priority=p, **ALWAYS) for n, p in (("low", 3), ("mid", 5), ("high", 7))]
    world = a_world(deployment(), policy("owner", [BY_KIND], priority=7), *rivals)
    world.edit(WEB, lambda obj: None)
    propagate(world)
    assert claimed_by(world.objects[WEB]) == "high", "the more specific of two equal ones"
    world.edit(world.key(rivals[2]), lambda obj: obj["spec"].update(priority=4))
    propagate(world)
    assert claimed_by(world.objects[WEB]) == "mid", "Never does not preempt, whatever its priority"


def test_preemption_moves_the_copies_and_says_so_once() -> None:
    first = policy("first", [BY_KIND], {"clusterAffinity": {"clusterNames": ["m1"]}}, None)
    world = a_world(deployment(), first)
    propagate(world)
    world.put(policy("second", [BY_NAME], {"clusterAffinity": {"clusterNames": ["m2"]}}, **ALWAYS))
    told = [e.message for e in events(world) if e.reason == "PreemptPolicySucceed"]
    assert told == [
        "Propagation policy(shop/second) preempted cluster propagation policy(first) successfully"
    ]
    assert clusters_of(world) == {"m2": 3}
    assert events(world) == []


def test_a_policy_that_cannot_take_effect_preempts_nobody_until_it_can() -> None:
    world = a_world(deployment(), policy("first", [BY_KIND]))
    propagate(world)
    world.put(policy("second", [BY_NAME], priority=1, dependentOverrides=["op"], **ALWAYS))
    told = events(world)
    assert {(e.regarding["metadata"]["name"], e.reason) for e in told} == {
        ("web", "PreemptPolicyFailed"),
        ("second", "PreemptPolicyFailed"),
    }
    assert claimed_by(world.objects[WEB]) == "first"
    found = blocked(world)
    assert found is not None and found[0] == "DependentOverridesNotFound"
    assert found[1].startswith("policy(shop/second) cannot preempt policy(shop/first): waiting for")
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=5))
    assert "PreemptPolicyFailed" not in {e.reason for e in events(world)}, "said once"
    assert clusters_of(world) == {"m1": 5, "m2": 5}, "the owner goes on"
    world.put(override("op"))
    propagate(world)
    assert claimed_by(world.objects[WEB]) == "second" and blocked(world) is None


_policies = st.lists(
    st.builds(
        lambda name, scope, priority, preemption, by: policy(
            name, [by], None, scope, priority=priority, preemption=preemption
        ),
        st.sampled_from("abcdef"),
        st.sampled_from(["shop", None]),
        st.integers(-2, 2),
        st.sampled_from(["Always", "Never"]),
        st.sampled_from([BY_NAME, BY_KIND]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda obj: (obj["kind"], obj["metadata"]["name"]),
)


def appear(order: list[Object]) -> Claim:
    """Who governs the template after these objects appeared one after the other."""
    world = a_world()
    for obj in order:
        world.put(obj)
        if WEB in world.objects:
            propagate(world)
    claim = policies.claim_of(world.objects[WEB])
    return None if claim is None else (claim.namespace, claim.name)


Claim = tuple[str, str] | None


@cases(60)
@given(_policies, st.randoms(use_true_random=False))
def test_if_all_preempt_the_order_of_appearance_does_not_matter(found: list[Object], random: Any) -> None:
    """Priorities differ, so that no tie is left to who was first."""
    rivals = [
        {**obj, "spec": {**obj["spec"], "resourceSelectors": [BY_NAME], "priority": place, **ALWAYS}}
        for place, obj in enumerate(found)
    ]
    order = [deployment(), *rivals]
    expected = appear([*rivals, deployment()])
    random.shuffle(order)
    assert appear(order) == expected


@cases(60)
@given(_policies, st.randoms(use_true_random=False))
def test_whoever_governs_may_not_be_preempted_and_was_first_or_took_it(
    found: list[Object], random: Any
) -> None:
    order = [deployment(), *found]
    random.shuffle(order)
    winner = appear(order)
    owner = next(o for o in found if (o["metadata"].get("namespace", ""), o["metadata"]["name"]) == winner)
    strength = (owner["kind"] == "PropagationPolicy", owner["spec"]["priority"])
    for rival in found:
        takes = (rival["kind"] == "PropagationPolicy", rival["spec"]["priority"])
        if rival["spec"]["preemption"] == "Always" and rival["spec"]["resourceSelectors"] == [BY_NAME]:
            stronger = takes > strength if takes[0] == strength[0] else takes[0]
            assert not stronger
    assert appear([*found, deployment()]) in [
        (o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in found
    ]


def test_with_the_policies_there_first_their_order_does_not_matter() -> None:
    found = [
        policy("a", [BY_KIND], priority=2),
        policy("b", [BY_NAME], priority=2),
        policy("c", [BY_NAME], priority=1, **ALWAYS),
        policy("d", [BY_NAME], None, None, priority=9, **ALWAYS),
    ]
    winners = {appear([*order, deployment()]) for order in itertools.permutations(found)}
    assert winners == {("shop", "b")}


# --- what a policy depends on --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needs", "thing", "reason", "scope"),
    [
        ({"dependentOverrides": ["op"]}, override("op"), "DependentOverridesNotFound", "shop"),
        ({"dependentOverrides": ["op"]}, override("op", None), "DependentOverridesNotFound", None),
        (
            {"schedulePriority": {"priorityClassSource": "KubePriorityClass", "priorityClassName": "high"}},
            priority_class(),
            "PriorityClassNotFound",
            "shop",
        ),
    ],
    ids=["an override", "a cluster override", "a PriorityClass"],
)
def test_what_a_policy_depends_on(needs: Object, thing: Object, reason: str, scope: str | None) -> None:
    world = a_world(deployment(), policy("web", [BY_KIND], None, scope))
    propagate(world)
    at = world.key(policy("web", namespace=scope))
    narrower = {"clusterAffinity": {"clusterNames": ["m1"]}}
    world.edit(at, lambda obj: obj["spec"].update(needs, placement=narrower))
    told = events(world)
    assert {(e.regarding["kind"], e.reason) for e in told} == {
        ("Deployment", "ApplyPolicyFailed"),
        (world.objects[at]["kind"], "ApplyPolicyFailed"),
    }
    found = blocked(world)
    assert found is not None and found[0] == reason and "not found" in found[1]
    assert clusters_of(world) == {"m1": 3, "m2": 3}, "what was there stays"
    assert events(world) == [], "said once"

    world.put(thing)
    propagate(world)
    assert blocked(world) is None and clusters_of(world) == {"m1": 3}
    world.delete(world.key(thing))
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=9))
    propagate(world)
    assert blocked(world) is not None and clusters_of(world) == {"m1": 3}


def test_a_blocked_policy_does_not_hold_up_the_end_of_the_one_before() -> None:
    world = a_world(deployment(), policy("first", [BY_NAME]))
    propagate(world)
    world.put(policy("second", [BY_KIND], dependentOverrides=["op"]))
    at = world.key(policy("first"))
    world.edit(at, lambda obj: obj["spec"].update(onPolicyDelete="Remove"))
    world.delete(at)
    propagate(world)
    world.settle(policy_deletion.decide, at)
    assert at not in world.objects
    assert clusters_of(world) == {"m1": 3, "m2": 3}, "the next policy is about to take it"
    world.put(override("op"))
    propagate(world)
    assert claimed_by(world.objects[WEB]) == "second"


def test_a_blocked_binding_is_still_scheduled_as_it_was() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND]))
    propagate(world)
    world.edit(world.key(policy("web")), lambda obj: obj["spec"].update(dependentOverrides=["op"]))
    propagate(world)
    world.delete(Key("cluster.karmada.io", "clusters", "", "m1"))
    propagate(world)
    assert clusters_of(world) == {"m2": 3}


def test_when_a_blocked_policy_goes_nothing_is_blocked_any_more() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND]))
    propagate(world)
    at = world.key(policy("web"))
    world.edit(at, lambda obj: obj["spec"].update(dependentOverrides=["op"]))
    propagate(world)
    assert blocked(world) is not None
    world.delete(at)
    propagate(world)
    world.settle(policy_deletion.decide, at)
    assert at not in world.objects and blocked(world) is None
    assert clusters_of(world) == {"m1": 3, "m2": 3}


def test_the_value_of_a_priority_class_reaches_the_binding() -> None:
    wish = {"priorityClassSource": "KubePriorityClass", "priorityClassName": "high"}
    world = a_world(deployment(), priority_class(), policy("web", [BY_KIND], schedulePriority=wish))
    propagate(world)
    assert world.objects[BINDING]["spec"]["schedulePriority"] == {"priority": 7}
    world.delete(world.key(priority_class()))
    propagate(world)
    assert world.objects[BINDING]["spec"]["schedulePriority"] == {"priority": 7}
    world.put(priority_class(value=9))
    propagate(world)
    assert world.objects[BINDING]["spec"]["schedulePriority"] == {"priority": 9}


# --- what a policy hands on -------------------------------------------------------------------------------


def test_holding_works_back_and_letting_them_go_is_told() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND]))
    at = world.key(policy("web"))

    def told(suspension: Object | None) -> list[str]:
        world.edit(at, lambda obj: obj["spec"].update(suspension=suspension))
        found = events(world)
        assert [e.reason for e in found if e.regarding["kind"] == "Deployment"].count("WorkDispatching") <= 1
        return [
            e.message
            for e in found
            if e.reason == "WorkDispatching" and e.regarding["kind"] == "ResourceBinding"
        ]

    assert told({}) == []
    assert told({"dispatchingOnClusters": {"clusterNames": ["m1"]}}) == [
        "Work dispatching is in a suspended state in m1."
    ]
    assert told({"dispatching": True}) == ["Work dispatching is in a suspended state."]
    assert told({"dispatching": True}) == []
    assert told({}) == ["Work is being dispatched to member clusters."]


@pytest.mark.parametrize("preserve", [True, False, None])
def test_preservation_follows_the_policy_also_for_a_cluster_that_is_left_in_the_same_change(
    preserve: bool | None,
) -> None:
    world = a_world(deployment(), policy("web", [BY_KIND], preserveResourcesOnDeletion=not preserve))
    propagate(world)

    def change(obj: Object) -> None:
        obj["spec"]["placement"] = {"clusterAffinity": {"clusterNames": ["m2"]}}
        obj["spec"]["preserveResourcesOnDeletion"] = preserve
        if preserve is None:
            del obj["spec"]["preserveResourcesOnDeletion"]

    world.edit(world.key(policy("web")), change)
    propagate(world)
    assert world.objects[BINDING]["spec"].get("preserveResourcesOnDeletion") == preserve
    rendered = works.of_binding(BINDING, world.objects[BINDING], world.objects[WEB], 1)
    assert (rendered["m1"].removing, rendered["m1"].preserve) == (True, bool(preserve))
    assert (rendered["m2"].removing, rendered["m2"].preserve) == (False, bool(preserve))


def test_failover_and_conflict_resolution_follow_the_policy() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND]))
    propagate(world)
    assert "failover" not in world.objects[BINDING]["spec"]
    failover = {"cluster": {"purgeMode": "Directly"}}
    world.edit(
        world.key(policy("web")),
        lambda obj: obj["spec"].update(failover=failover, conflictResolution="Overwrite"),
    )
    propagate(world)
    spec = world.objects[BINDING]["spec"]
    assert (spec["failover"], spec["conflictResolution"]) == (failover, "Overwrite")
    world.edit(world.key(policy("web")), lambda obj: obj["spec"].pop("failover"))
    propagate(world)
    assert "failover" not in world.objects[BINDING]["spec"]


# --- when a policy goes --------------------------------------------------------------------------------------


def lets_go(world: World, how: str) -> Key:
    at = world.key(policy("web"))
    if how == "deleted":
        world.delete(at)
    else:
        world.edit(at, lambda obj: obj["spec"].update(resourceSelectors=[selector(configmap())]))
    return at


@pytest.mark.parametrize("how", ["deleted", "selects it no more"])
@pytest.mark.parametrize("what", ["Keep", "Remove"])
def test_a_policy_that_lets_go(how: str, what: str) -> None:
    world = a_world(deployment(), policy("web", [BY_NAME], onPolicyDelete=what))
    propagate(world)
    at = lets_go(world, how)
    told = events(world)
    world.settle(policy_deletion.decide, at)
    assert (at in world.objects) == (how != "deleted"), "a deleted policy waits for no member"
    assert claimed_by(world.objects[WEB]) is None and claimed_by(world.objects[BINDING]) is None
    if what == "Keep":
        assert clusters_of(world) == {"m1": 3, "m2": 3} and told == []
        return
    assert [e.reason for e in told] == ["RemovedWithPolicy"]
    assert world.objects[BINDING]["metadata"]["deletionTimestamp"]
    report(world, m1=REMOVED, m2=REMOVED)
    propagate(world)
    assert BINDING not in world.objects
    assert names.PROPAGATION_FINALIZER not in world.objects[WEB]["metadata"].get("finalizers", [])


@pytest.mark.parametrize("how", ["deleted", "selects it no more"])
def test_nothing_is_removed_when_another_policy_takes_over(how: str) -> None:
    world = a_world(
        deployment(),
        policy("web", [BY_NAME], onPolicyDelete="Remove"),
        policy("all", [BY_KIND], {"clusterAffinity": {"clusterNames": ["m2"]}}, None),
    )
    propagate(world)
    lets_go(world, how)
    propagate(world)
    assert claimed_by(world.objects[WEB]) == "all" and clusters_of(world) == {"m2": 3}


def test_a_policy_that_nobody_can_read_any_more_removes_nothing() -> None:
    world = a_world(deployment(), policy("web", [BY_NAME], onPolicyDelete="Remove"))
    propagate(world)
    del world.objects[world.key(policy("web"))]
    propagate(world)
    assert clusters_of(world) == {"m1": 3, "m2": 3} and claimed_by(world.objects[WEB]) is None


def test_a_policy_that_comes_while_the_copies_go_propagates_anew() -> None:
    world = a_world(deployment(), policy("web", [BY_NAME], onPolicyDelete="Remove"))
    propagate(world)
    lets_go(world, "deleted")
    propagate(world)
    world.put(policy("next", [BY_NAME]))
    propagate(world)
    assert world.objects[BINDING]["metadata"]["deletionTimestamp"]
    report(world, m1=REMOVED, m2=REMOVED)
    propagate(world)
    assert clusters_of(world) == {"m1": 3, "m2": 3} and claimed_by(world.objects[BINDING]) == "next"


def test_what_is_at_rest_stays_at_rest_with_a_rival_that_waits() -> None:
    world = a_world(deployment(), policy("a", [BY_KIND]), policy("b", [BY_NAME], priority=1, dependentOverrides=["x"], **ALWAYS))  # fmt: skip
    propagate(world)
    world.now += 100
    assert propagation.decide(world, WEB, world.now).writes == ()


def test_a_deleted_policy_does_not_wait_for_a_template_that_waits_for_its_members() -> None:
    world = a_world(deployment(), policy("web", [BY_NAME]))
    propagate(world)
    world.delete(WEB)
    propagate(world)
    assert claimed_by(world.objects[WEB]) == "web"
    at = lets_go(world, "deleted")
    propagate(world)
    world.settle(policy_deletion.decide, at)
    assert at not in world.objects
    assert clusters_of(world) == {"m1": 3, "m2": 3} and WEB in world.objects
    report(world, m1=REMOVED, m2=REMOVED)
    propagate(world)
    assert WEB not in world.objects and BINDING not in world.objects


def test_copied_labels_in_a_reserved_namespace_do_not_hold_a_policy() -> None:
    world = a_world(deployment(), policy("web", [BY_NAME]))
    propagate(world)
    copied = deployment(namespace="kube-system")
    copied["metadata"] |= {
        field: world.objects[WEB]["metadata"][field] for field in ("labels", "annotations")
    }
    world.put(copied)
    at = lets_go(world, "deleted")
    propagate(world)
    world.settle(policy_deletion.decide, at)
    assert at not in world.objects


def test_a_lazy_policy_that_waits_and_is_blocked_meanwhile_goes_on_waiting() -> None:
    world = a_world(deployment(), policy("web", [BY_NAME], activationPreference="Lazy"))
    propagate(world)
    at = world.key(policy("web"))
    world.edit(at, lambda obj: obj["spec"].update(dependentOverrides=["op"]))
    propagate(world)
    world.put(override("op"))
    propagate(world)
    assert claimed_by(world.objects[WEB]) == "web" and BINDING not in world.objects
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=5))
    propagate(world)
    assert clusters_of(world) == {"m1": 5, "m2": 5}
