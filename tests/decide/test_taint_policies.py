"""ClusterTaintPolicies: when their taints come and go, which word counts, and that they leave a cluster's health alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import World, cluster
from towline.hub.decide import taint_policies
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.doubt import Doubt
from towline.hub.decide.plan import Plan
from towline.kube.names import TAINT_NOT_READY
from towline.kube.objects import Key, Object, generation_of

M1 = Key("cluster.karmada.io", "clusters", "", "m1")
SERVICES = "ServiceDomainNameResolutionReady"


def when(kind: str, operator: str, *values: str) -> Object:
    return {"conditionType": kind, "operator": operator, "statusValues": list(values)}


def policy(
    name: str = "dns",
    add: Object | list[Object] | None = None,
    remove: Object | list[Object] | None = None,
    effect: str = "NoSchedule",
    key: str = "dns",
    **spec: Any,
) -> Object:
    for field, matches in (("addOnConditions", add), ("removeOnConditions", remove)):
        if matches is not None:
            spec[field] = matches if isinstance(matches, list) else [matches]
    spec["taints"] = [{"key": key, "effect": effect}]
    return {
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": "ClusterTaintPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def a_world(
    *policies: Object, taints: list[Object] | None = None, conditions: Mapping[str, str] | None = None
) -> World:
    """The policies are there since one second after the other."""
    world = World()
    for obj in policies:
        world.now += 1
        world.put(obj)
    rows = [{"type": kind, "status": status} for kind, status in (conditions or {}).items()]
    world.put({**cluster("m1", {"tier": "prod"}, taints=taints or []), "status": {"conditions": rows}})
    return world


def settle(world: World, doubt: Doubt | None = None) -> list[Plan]:
    return world.settle(taint_policies.decide, M1, lambda: doubt)


def taints(world: World) -> list[str]:
    found = world.objects[M1]["spec"].get("taints") or ()
    return [f"{taint['key']}:{taint['effect']}" for taint in found]


BAD, GOOD = when(SERVICES, "NotIn", "True"), when(SERVICES, "In", "True")
TAINT = {"key": "dns", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("policies", "present", "status", "expected"),
    [
        pytest.param([policy(add=BAD, remove=GOOD)], False, "False", True, id="added"),
        pytest.param([policy(add=BAD, remove=GOOD)], True, "True", False, id="removed"),
        pytest.param([policy(add=BAD, remove=GOOD)], True, None, True, id="a condition that is absent removes nothing"),
        pytest.param([policy(add=BAD)], False, None, False, id="a condition that is absent adds nothing, even NotIn"),
        pytest.param([policy(add=[BAD, when("Ready", "In", "True")])], False, "False", True, id="all match"),
        pytest.param([policy(add=[BAD, when("Ready", "In", "False")])], False, "False", False, id="one does not match"),
        pytest.param([policy(add=[], remove=[])], True, "False", True, id="no conditions say nothing"),
        pytest.param([policy(remove=GOOD)], True, "False", True, id="what nobody removes stays"),
        pytest.param([policy(add=BAD, remove=BAD)], False, "False", False, id="both match: removed after it was added"),
        pytest.param([policy("z", add=BAD), policy("a", remove=BAD)], False, "False", False, id="the younger has the last word: removes"),
        pytest.param([policy("z", remove=BAD), policy("a", add=BAD)], True, "False", True, id="the younger has the last word: adds"),
        pytest.param([policy(add=BAD, targetClusters={"clusterNames": ["m1"]})], False, "False", True, id="means the cluster"),
        pytest.param([policy(add=BAD, targetClusters={"exclude": ["m1"]})], False, "False", False, id="does not mean the cluster"),
        pytest.param([policy("a", add=BAD, targetClusters={"exclude": ["m1"]}), policy("b", add=BAD)], False, "False", True, id="one does not mean it, another does"),
        pytest.param(
            [policy(add=BAD, targetClusters={"labelSelector": {"matchLabels": {"tier": "prod"}}})], False, "False", True, id="by labels"
        ),
    ],
)  # fmt: skip
def test_when_a_policys_taint_is_there(
    policies: list[Object], present: bool, status: str | None, expected: bool
) -> None:
    conditions = {"Ready": "True", **({SERVICES: status} if status else {})}
    world = a_world(*policies, taints=[TAINT] if present else [], conditions=conditions)
    settle(world)
    assert (taints(world) == ["dns:NoSchedule"]) is expected


def test_it_is_told_and_counts_as_a_change_of_the_spec() -> None:
    world = a_world(policy(add=BAD), conditions={SERVICES: "False"})
    before = generation_of(world.objects[M1])
    (event,) = settle(world)[0].events
    assert (event.type, event.reason) == ("Normal", "TaintClusterSucceed")
    assert event.message == "Update Cluster(m1) with taints(cluster now has taints([{Key:dns,Effect:NoSchedule}])) succeed"  # fmt: skip
    assert generation_of(world.objects[M1]) == before + 1
    spec = world.objects[M1]["spec"]
    assert spec["taints"] == [TAINT] and spec["syncMode"] == "Pull", (
        "only NoExecute has a time; the rest stays"
    )


def test_a_deleted_policy_leaves_its_taints() -> None:
    world = a_world(policy(add=BAD, remove=GOOD), conditions={SERVICES: "False"})
    settle(world)
    world.delete(Key(*taint_policies.POLICIES, "", "dns"))
    settle(world)
    assert taints(world) == ["dns:NoSchedule"]


def test_taints_are_the_same_by_key_and_effect() -> None:
    theirs = {"key": "dns", "value": "theirs", "effect": "NoSchedule"}
    world = a_world(policy(add=BAD), taints=[theirs], conditions={SERVICES: "False"})
    assert settle(world)[0].writes == ()
    world = a_world(policy(add=BAD, effect="NoExecute"), taints=[theirs], conditions={SERVICES: "False"})
    settle(world)
    assert world.objects[M1]["spec"]["taints"] == [
        theirs,
        {"key": "dns", "effect": "NoExecute", "timeAdded": rfc3339(world.now)},
    ]


def test_the_time_of_a_taint_that_stays_stays() -> None:
    policies = policy("a", remove=BAD, effect="NoExecute"), policy("b", add=BAD, effect="NoExecute")
    old = {"key": "dns", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    world = a_world(*policies, taints=[old], conditions={SERVICES: "False"})
    assert settle(world)[0].writes == ()


def test_the_taints_of_a_clusters_health_are_not_theirs() -> None:
    present = [{"key": TAINT_NOT_READY, "effect": "NoSchedule"}]
    removes = policy("a", remove=BAD, key=TAINT_NOT_READY)
    evicts = policy("b", add=BAD, key=TAINT_NOT_READY, effect="NoExecute")
    world = a_world(removes, evicts, taints=present, conditions={SERVICES: "False"})
    settle(world)
    assert taints(world) == [f"{TAINT_NOT_READY}:NoSchedule", f"{TAINT_NOT_READY}:NoExecute"]


def test_a_doubt_holds_no_execute_back_and_nothing_else() -> None:
    policies = [
        policy("a", add=BAD, effect="NoExecute"),
        policy("b", add=BAD),
        policy("c", remove=BAD, key="old", effect="NoExecute"),
    ]
    old = {"key": "old", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    world = a_world(*policies, taints=[old], conditions={SERVICES: "False"})
    plans = settle(world, Doubt(2, 3, frozenset(("m1",))))
    assert taints(world) == ["dns:NoSchedule"]
    assert plans[-1].requeue_after_seconds == taint_policies.DOUBT_SECONDS
    settle(world, Doubt(2, 3, frozenset(("m2",))))
    assert taints(world) == ["dns:NoSchedule", "dns:NoExecute"]
    assert settle(world, Doubt(2, 3, frozenset(("m1",)))) == [Plan()], "what is there is not held back"


def test_a_doubt_is_asked_for_only_when_it_matters() -> None:
    def never() -> Doubt | None:
        raise AssertionError

    world = a_world(policy(add=BAD), conditions={SERVICES: "False"})
    world.settle(taint_policies.decide, M1, never)
    assert taint_policies.decide(world, Key(*M1[:3], "gone"), 0.0, never) == Plan()


_matches = st.none() | st.lists(
    st.builds(
        when,
        st.sampled_from(["x", "y"]),
        st.sampled_from(["In", "NotIn"]),
        st.sampled_from(["True", "False"]),
    ),
    max_size=2,
)
_policies = st.builds(
    policy,
    st.sampled_from(["a", "b", "c"]),
    _matches,
    _matches,
    st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
    st.sampled_from(["k", "l"]),
)
_taints = st.lists(
    st.fixed_dictionaries(
        {"key": st.sampled_from(["k", "l", "m"]), "effect": st.sampled_from(["NoSchedule", "NoExecute"])}
    ),
    max_size=4,
    unique_by=lambda taint: (taint["key"], taint["effect"]),
)
_conditions = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["True", "False", "Unknown"]))


@cases(200)
@given(st.lists(_policies, max_size=3, unique_by=lambda obj: obj["metadata"]["name"]), _taints, _conditions)
def test_at_rest_no_plan_contains_a_write(
    policies: list[Object], present: list[Object], conditions: dict[str, str]
) -> None:
    """Whatever policies contradict one another: one commit, then rest; what no policy names stays."""
    world = a_world(*policies, taints=present, conditions=conditions)
    named = {(taint["key"], taint["effect"]) for obj in policies for taint in obj["spec"]["taints"]}
    assert len(settle(world)) <= 2
    world.now += 1000
    assert settle(world)[0].writes == ()
    kept = [f"{t['key']}:{t['effect']}" for t in present if (t["key"], t["effect"]) not in named]
    assert [taint for taint in taints(world) if taint in kept] == kept
