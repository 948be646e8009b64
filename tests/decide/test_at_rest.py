"""The property that all decisions share: at rest no plan contains a write, and who may hold a copy is always written down."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.decide.spreading import by
from tests.decide.test_policies import override
from tests.decide.test_propagation import (
    APPLIED,
    BINDING,
    DIVIDED,
    REMOVED,
    WEB,
    WEB_POLICY,
    a_world,
    clusters_of,
    observed,
    propagate,
)
from tests.decide.test_rebalancing import KEY as REBALANCER
from tests.decide.test_rebalancing import rebalancer
from tests.decide.world import World, cluster, deployment, policy, selector
from towline.hub.decide import aggregation, policy_deletion, propagation, rebalancing, roles
from towline.kube import names, rbac
from towline.kube.objects import Key

RIVAL = Key("policy.karmada.io", "clusterpropagationpolicies", "", "rival")
OVERRIDE = Key("policy.karmada.io", "clusteroverridepolicies", "", "op")

_placements = st.sampled_from(
    [
        None,
        {"clusterAffinity": {"clusterNames": ["m1", "m3"]}},
        {"clusterAffinity": {"clusterNames": ["m9"]}},
        {"clusterAffinities": [{"affinityName": "a", "clusterNames": ["m3"]}, {"affinityName": "b"}]},
        DIVIDED,
        DIVIDED | {"clusterAffinity": {"exclude": ["m1"]}},
        {"spreadConstraints": [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 1}]},
        {"spreadConstraints": [by("region", 2), by("cluster", 2, 2)]},
        {"spreadConstraints": [by("region", 1, 2), by("cluster", 2)]},
    ]
)
_rivals = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(-1, 1),
        "preemption": st.sampled_from(["Always", "Never"]),
        "activationPreference": st.just("Lazy"),
        "onPolicyDelete": st.sampled_from(["Keep", "Remove"]),
        "dependentOverrides": st.just(["op"]),
        "suspension": st.sampled_from([{"dispatching": True}, {"dispatchingOnClusters": {"clusterNames": ["m1"]}}]),
        "placement": _placements.filter(lambda placement: placement is not None),
    },
)  # fmt: skip
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("scale"), st.integers(0, 9)),
        st.tuples(st.just("place"), _placements),
        st.tuples(st.just("cluster"), st.sampled_from(["m1", "m2", "m3"])),
        st.tuples(st.just("report"), st.sampled_from(["m1", "m2", "m3"])),
        st.tuples(st.just("unpolicy"), st.none()),
        st.tuples(st.just("rival"), _rivals),
        st.tuples(st.just("override"), st.none()),
        st.tuples(st.just("rebalance"), st.none()),
        st.tuples(st.just("unbind"), st.none()),
        st.tuples(st.just("delete"), st.none()),
        st.tuples(st.just("template"), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(_steps)
def test_at_rest_no_plan_contains_a_write(steps: list[tuple[str, Any]]) -> None:
    world = a_world(deployment(), WEB_POLICY)
    at = world.key(WEB_POLICY)
    held: set[str] = set()
    for step, value in steps:
        world.now += 7
        _do(world, at, step, value)
        propagate(world)
        binding = world.objects.get(BINDING)
        reports = {}
        if binding is not None:
            world.settle(aggregation.decide, BINDING, {})
            binding = world.objects.get(BINDING)
        if binding is not None:
            wanted = {} if "deletionTimestamp" in binding["metadata"] else clusters_of(world)
            held |= wanted.keys()
            assert held <= set(observed(world)), "who may hold a copy is always written down"
            if step == "report" and value in observed(world):
                reports = {value: APPLIED if value in wanted else REMOVED}
                if value not in wanted:
                    held.discard(value)
            world.settle(aggregation.decide, BINDING, reports)
            propagate(world)
            assert aggregation.decide(world, BINDING, world.now, reports).writes == ()
        elif WEB not in world.objects:
            assert not held, "a template never goes before its copies"
        for policy_key in (at, RIVAL):
            world.settle(policy_deletion.decide, policy_key)
        world.settle(rebalancing.decide, REBALANCER)
        propagate(world)
        assert propagation.decide(world, WEB, world.now).writes == ()
        assert propagation.decide(world, WEB, world.now + 1000).writes == ()


def _do(world: World, at: Key, step: str, value: Any) -> None:
    if step == "template" and WEB not in world.objects:
        world.put(deployment())
    elif step == "scale" and WEB in world.objects:
        world.edit(WEB, lambda obj: obj["spec"].update(replicas=value))
    elif step == "place":
        world.put(policy("web", [selector(deployment(), name="web")], value))
    elif step == "cluster":
        key = Key("cluster.karmada.io", "clusters", "", value)
        if key not in world.objects:
            region = "eu" if value < "m3" else "us"
            world.put(cluster(value, finalizers=[names.CLUSTER_FINALIZER], region=region))
        elif names.CLUSTER_FINALIZER in world.objects[key]["metadata"].get("finalizers", []):
            world.delete(key)
    elif step == "unpolicy" and at in world.objects:
        world.delete(at)
    elif step == "rival" and value is not None:
        world.put(policy("rival", [selector(deployment(), name="web")], namespace=None, **value))
    elif step == "rival" and RIVAL in world.objects:
        world.delete(RIVAL)
    elif step == "override" and OVERRIDE not in world.objects:
        world.put(override("op", None))
    elif step == "override":
        world.delete(OVERRIDE)
    elif step == "rebalance":
        world.objects.pop(REBALANCER, None)
        world.put(rebalancer())
    elif step == "unbind" and BINDING in world.objects:
        world.delete(BINDING)
    elif step == "delete" and WEB in world.objects:
        world.delete(WEB)


_names = st.sampled_from(["a", "b", "c"])
_selectors = st.lists(
    st.one_of(
        st.builds(lambda name: {"matchLabels": {name: "true"}}, _names),
        st.builds(lambda name: {"matchExpressions": [{"key": name, "operator": "Is"}]}, _names),
    ),
    max_size=2,
)


@settings(max_examples=100, deadline=None)
@example(
    {
        "a": ({"b"}, [{"matchLabels": {"a": "true"}}], []),
        "b": ({"a"}, [{"matchLabels": {"a": "true"}}], ["a"]),
        "c": ({"a"}, [{"matchLabels": {"b": "true"}}], ["b"]),
    }
)
@given(
    st.dictionaries(_names, st.tuples(st.sets(_names), st.none() | _selectors, st.lists(_names, max_size=2)))
)
def test_cluster_roles_that_gather_one_another_come_to_rest(
    given: dict[str, tuple[set[str], list[dict[str, Any]] | None, list[str]]],
) -> None:
    """Also in circles, and with selectors that nobody can read. Nothing is gathered that no role brought."""
    world = World()
    brought = set()
    for name, (labels, selected, verbs) in given.items():
        role: dict[str, Any] = {"apiVersion": f"{rbac.GROUP}/v1", "kind": "ClusterRole"}
        role["metadata"] = {"name": name, "labels": dict.fromkeys(labels, "true")}
        role["rules"] = [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]} for verb in verbs]
        brought |= set(verbs)
        if selected is not None:
            role["aggregationRule"] = {"clusterRoleSelectors": selected}
        world.put(role)
    keys = [Key(*roles.CLUSTER_ROLES, "", name) for name in given]
    for _ in range(len(keys) + 1):
        for key in keys:
            world.settle(roles.decide, key)
    for key in keys:
        assert roles.decide(world, key, world.now).writes == ()
        assert {verb for rule in rbac.rules_of(world.objects[key]) for verb in rule.verbs} <= brought
