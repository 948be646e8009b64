"""What a member has room for: its nodes one by one, and what its ResourceQuotas leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.agent.capacity import NodeRoom
from towline.agent.claims import allows
from towline.agent.estimate import room_for
from towline.agent.quotas import quota_of
from towline.kube.objects import Object
from towline.kube.packing import UNLIMITED
from towline.kube.wishes import Wish, of_components, of_replicas

EXTENDED: dict[str, Any] = {"nvidia.com/gpu": "1"}


def node(name: str = "n1", *, taints: Any = (), unschedulable: bool = False, ready: bool = True, used: Mapping[str, int] | None = None, pods: int = 0, slots: int = 110, labels: Mapping[str, str] | None = None, **allocatable: int) -> NodeRoom:  # fmt: skip
    """A node of 4 cores and 8 GB unless told otherwise."""
    room = {"cpu": 4000, "memory": 8_000_000_000, "pods": slots, **allocatable}
    return NodeRoom(name, labels or {}, taints, unschedulable, ready, room, dict(used or {}), pods)


def wish(cpu: str = "1", claim: Object | None = None, priority: str = "", **requests: str) -> Wish:
    request = {"cpu": cpu, **requests} if cpu else requests
    return of_replicas(
        {"resourceRequest": request, "nodeClaim": claim, "priorityClassName": priority}, "shop"
    )


@pytest.mark.parametrize(
    ("nodes", "asked", "wanted"),
    [
        pytest.param([node(), node("n2")], wish("1500m"), 4, id="whole pods on each node, not on their sum"),
        pytest.param([node(used={"cpu": 3500}, pods=9)], wish("500m"), 1, id="what pods request is taken"),
        pytest.param([node(pods=108)], wish("1m"), 2, id="free slots for pods"),
        pytest.param([node(pods=110)], wish("1m"), 0, id="no slot left"),
        pytest.param([node()], wish("1", memory="5G"), 1, id="the scarcest resource"),
        pytest.param([node(), node("n2", gpu=2)], wish("1", gpu="1"), 2, id="a resource that one node has"),
        pytest.param([node(used={"cpu": 5000})], wish("1"), 0, id="a node that has promised too much"),
        pytest.param([node()], wish(""), 110, id="no requests: slots"),
        pytest.param([], wish("1"), 0, id="no nodes"),
        pytest.param([node(unschedulable=True), node("n2")], wish("1"), 4, id="a cordoned node"),
        pytest.param([node(ready=False), node("n2")], wish("1"), 4, id="a node that is not ready"),
        pytest.param([node()], of_components([], "shop"), UNLIMITED, id="nothing to run"),
    ],
)
def test_room_on_nodes(nodes: list[NodeRoom], asked: Wish, wanted: int) -> None:
    assert room_for(nodes, [], asked) == wanted


def expression(key: str, operator: str, *values: str) -> Object:
    return {"key": key, "operator": operator, "values": list(values)}


def affinity(*terms: Object) -> Object:
    return {"hardNodeAffinity": {"nodeSelectorTerms": list(terms)}}


def labels_term(*expressions: Object) -> Object:
    return {"matchExpressions": list(expressions)}


SSD = node("n1", labels={"disk": "ssd", "gen": "7", "tier": "gold_1"})
TAINT = {"key": "gpu", "value": "a100", "effect": "NoSchedule"}
CORDON = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}


@pytest.mark.parametrize(
    ("claim", "on", "wanted"),
    [
        pytest.param({}, SSD, True, id="nothing asked"),
        pytest.param({"nodeSelector": {"disk": "ssd"}}, SSD, True, id="nodeSelector matches"),
        pytest.param({"nodeSelector": {"disk": "hdd"}}, SSD, False, id="nodeSelector of another value"),
        pytest.param({"nodeSelector": {"disk": "ssd", "zone": "a"}}, SSD, False, id="nodeSelector: all labels"),
        pytest.param(affinity(labels_term(expression("disk", "In", "hdd", "ssd"))), SSD, True, id="In"),
        pytest.param(affinity(labels_term(expression("zone", "In", "a"))), SSD, False, id="In of an absent label"),
        pytest.param(affinity(labels_term(expression("disk", "NotIn", "ssd"))), SSD, False, id="NotIn"),
        pytest.param(affinity(labels_term(expression("zone", "NotIn", "a"))), SSD, True, id="NotIn of an absent label"),
        pytest.param(affinity(labels_term(expression("disk", "Exists"))), SSD, True, id="Exists"),
        pytest.param(affinity(labels_term(expression("disk", "DoesNotExist"))), SSD, False, id="DoesNotExist"),
        pytest.param(affinity(labels_term(expression("gen", "Gt", "6"))), SSD, True, id="Gt"),
        pytest.param(affinity(labels_term(expression("gen", "Gt", "7"))), SSD, False, id="Gt is strict"),
        pytest.param(affinity(labels_term(expression("gen", "Lt", "10"))), SSD, True, id="Lt compares numbers"),
        pytest.param(affinity(labels_term(expression("disk", "Lt", "10"))), SSD, False, id="Lt of no number"),
        pytest.param(
            affinity(labels_term(expression("disk", "In", "hdd")), labels_term(expression("gen", "Exists"))),
            SSD, True, id="terms: any",
        ),
        pytest.param(
            affinity(labels_term(expression("disk", "In", "hdd"), expression("gen", "Exists"))),
            SSD, False, id="expressions of a term: all",
        ),
        pytest.param(affinity({}), SSD, False, id="an empty term matches no node"),
        pytest.param(affinity(), SSD, False, id="no terms match no node"),
        pytest.param(affinity(labels_term(expression("gen", "Gt", "1", "2"))), SSD, False, id="a term that cannot be read"),
        pytest.param(affinity(labels_term(expression("gen", "Near", "1"))), SSD, False, id="an unknown operator"),
        pytest.param(
            affinity({"matchFields": [expression("metadata.name", "In", "n1")]}), SSD, True, id="matchFields by name"
        ),
        pytest.param(
            affinity({"matchFields": [expression("metadata.name", "NotIn", "n1")]}), SSD, False, id="matchFields NotIn"
        ),
        pytest.param(
            affinity({"matchFields": [expression("spec.x", "In", "n1")]}), SSD, False, id="matchFields of another field"
        ),
        pytest.param({}, node(taints=[TAINT]), False, id="a NoSchedule taint"),
        pytest.param({}, node(taints=[{**TAINT, "effect": "NoExecute"}]), False, id="a NoExecute taint"),
        pytest.param({}, node(taints=[{**TAINT, "effect": "PreferNoSchedule"}]), True, id="a PreferNoSchedule taint"),
        pytest.param({"tolerations": [{"key": "gpu", "value": "a100"}]}, node(taints=[TAINT]), True, id="tolerated"),
        pytest.param({"tolerations": [{"key": "gpu", "value": "h100"}]}, node(taints=[TAINT]), False, id="another value"),
        pytest.param({"tolerations": [{"key": "gpu", "operator": "Exists"}]}, node(taints=[TAINT]), True, id="Exists tolerates"),
        pytest.param({"tolerations": [{"operator": "Exists"}]}, node(taints=[TAINT]), True, id="everything tolerated"),
        pytest.param(
            {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]}, node(taints=[TAINT]), False,
            id="another effect",
        ),
        pytest.param(
            {"tolerations": [{"key": "age", "operator": "Gt", "value": "3"}]},
            node(taints=[{"key": "age", "value": "5", "effect": "NoSchedule"}]), True, id="a toleration by Gt",
        ),
        pytest.param({"tolerations": [CORDON]}, node(unschedulable=True), True, id="a tolerated cordon"),
        pytest.param({"tolerations": [{"operator": "Exists"}]}, node(ready=False), False, id="never a node that is not ready"),
    ],
)  # fmt: skip
def test_where_a_pod_may_run(claim: Object, on: NodeRoom, wanted: bool) -> None:
    assert allows(claim)(on) is wanted


def component(replicas: int, cpu: str, **claim: Any) -> Object:
    needs = {"resourceRequest": {"cpu": cpu}, "nodeClaim": claim}
    return {"name": "c", "replicas": replicas, "replicaRequirements": needs}


def test_sets_of_components_are_placed_each_on_its_own_nodes() -> None:
    nodes = [node("a", labels={"gpu": "yes"}), node("b"), node("c")]
    sets = [component(1, "2", nodeSelector={"gpu": "yes"}), component(2, "1500m")]
    assert room_for(nodes, [], of_components(sets, "shop")) == 2
    assert room_for(nodes[1:], [], of_components(sets, "shop")) == 0


# --- quotas ----------------------------------------------------------------------------------------------------


def quota(
    hard: Mapping[str, str], used: Mapping[str, str] | None = None, namespace: str = "shop", **spec: Any
) -> Object:
    return {
        "metadata": {"name": "q", "namespace": namespace},
        "spec": {"hard": dict(hard), **spec},
        "status": {"hard": dict(hard), "used": dict(used or {})},
    }


def in_classes(operator: str, *values: str) -> Object:
    row = {"scopeName": "PriorityClass", "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [row]}}


HIGH = wish("1", priority="high")


@pytest.mark.parametrize(
    ("found", "asked", "wanted"),
    [
        pytest.param(quota({"cpu": "3"}), wish("1"), 3, id="cpu is requests.cpu"),
        pytest.param(quota({"requests.cpu": "3500m"}, {"requests.cpu": "1"}), wish("1"), 2, id="what is used is taken"),
        pytest.param(quota({"limits.cpu": "3"}), wish("1"), 3, id="a limit is at least the request"),
        pytest.param(quota({"memory": "1Gi"}), wish("1", memory="500M"), 2, id="memory"),
        pytest.param(quota({"requests.nvidia.com/gpu": "1"}), wish("1", **EXTENDED), 1, id="extended resources"),
        pytest.param(quota({"pods": "5"}, {"pods": "3"}), wish("1"), 2, id="pods"),
        pytest.param(quota({"count/pods": "5"}), wish("1"), 5, id="count/pods"),
        pytest.param(quota({"cpu": "2"}, {"cpu": "3"}), wish("1"), 0, id="more is used than is left"),
        pytest.param(quota({"cpu": "2"}, namespace="other"), wish("1"), 10, id="another namespace's"),
        pytest.param(quota({"memory": "1"}), wish("1"), 10, id="a resource that is not requested"),
        pytest.param(
            quota({"services": "0", "count/deployments.apps": "0", "requests.storage": "0", "configmaps": "0"}),
            wish("1"), 10, id="bounds of other things",
        ),
        pytest.param(quota({"cpu": "3"}, **in_classes("In", "high")), HIGH, 3, id="a priority class: In"),
        pytest.param(quota({"cpu": "3"}, **in_classes("In", "low")), HIGH, 10, id="another priority class"),
        pytest.param(quota({"cpu": "3"}, **in_classes("NotIn", "low")), HIGH, 3, id="a priority class: NotIn"),
        pytest.param(quota({"cpu": "3"}, **in_classes("NotIn", "low")), wish("1"), 3, id="NotIn counts pods without a class"),
        pytest.param(quota({"cpu": "3"}, **in_classes("Exists")), wish("1"), 10, id="a priority class: Exists"),
        pytest.param(quota({"cpu": "3"}, **in_classes("DoesNotExist")), wish("1"), 3, id="a priority class: DoesNotExist"),
        pytest.param(quota({"cpu": "3"}, scopes=["PriorityClass"]), HIGH, 3, id="scope PriorityClass"),
        pytest.param(quota({"pods": "3"}, scopes=["BestEffort"]), wish("1"), 10, id="BestEffort and requests"),
        pytest.param(quota({"pods": "3"}, scopes=["BestEffort"]), wish(""), 3, id="BestEffort without requests"),
        pytest.param(quota({"pods": "3"}, scopes=["NotBestEffort"]), wish("1"), 3, id="NotBestEffort"),
        pytest.param(quota({"pods": "3"}, scopes=["NotTerminating"]), wish("1"), 10, id="a scope that the wish says nothing of"),
        pytest.param(
            {"metadata": {"name": "q", "namespace": "shop"}, "spec": {"hard": {"cpu": "3"}}}, wish("1"), 3, id="no status yet"
        ),
        pytest.param(quota({"cpu": "bogus"}), wish("1"), 10, id="a bound that is no quantity"),
    ],
)  # fmt: skip
def test_room_within_a_quota(found: Object, asked: Wish, wanted: int) -> None:
    extended: dict[str, Any] = {"nvidia.com/gpu": 10}
    nodes = [node(cpu=10_000, gpu=10, **extended)]
    assert room_for(nodes, [quota_of(found)], asked) == wanted


def test_the_smallest_of_several_quotas_counts() -> None:
    quotas = [quota_of(quota({"cpu": "9"})), quota_of(quota({"pods": "2"}))]
    assert room_for([node(cpu=10_000)], quotas, wish("1")) == 2


def test_a_quota_bounds_only_the_components_in_its_scope() -> None:
    parts = [component(1, "1"), component(1, "1")]
    parts[0]["replicaRequirements"]["priorityClassName"] = "high"
    high = quota_of(quota({"cpu": "3"}, **in_classes("In", "high")))
    assert room_for([node(cpu=100_000)], [high], of_components(parts, "shop")) == 3
    assert room_for([node(cpu=100_000)], [quota_of(quota({"cpu": "3"}))], of_components(parts, "shop")) == 1


# --- properties ------------------------------------------------------------------------------------------------

rooms = st.lists(
    st.builds(
        lambda cpu, used, slots, label, ready: node(
            "n", cpu=cpu, used={"cpu": used}, slots=slots, labels={"disk": label}, ready=ready
        ),
        st.integers(0, 20), st.integers(0, 20), st.integers(0, 8), st.sampled_from(["ssd", "hdd"]), st.booleans(),
    ),
    max_size=6,
)  # fmt: skip
claims = st.sampled_from([{}, {"nodeSelector": {"disk": "ssd"}}])
requests = st.integers(0, 7).map(lambda milli: f"{milli}m")


@given(rooms, claims, requests, st.none() | st.integers(0, 30))
@cases(200)
def test_the_estimate_is_what_placing_pod_by_pod_finds(
    nodes: list[NodeRoom], claim: Object, request: str, cpu_quota: int | None
) -> None:
    need = int(request[:-1])
    left = [[n.free("cpu"), n.free("pods")] for n in nodes if allows(claim)(n)]
    budget = 10**6 if cpu_quota is None else cpu_quota
    placed = 0
    while (at := next((x for x in left if x[0] >= need and x[1] >= 1), None)) is not None and budget >= need:
        at[0], at[1], budget, placed = at[0] - need, at[1] - 1, budget - need, placed + 1
    quotas = [] if cpu_quota is None else [quota_of(quota({"cpu": f"{cpu_quota}m"}))]
    if need:
        assert room_for(nodes, quotas, wish(request, claim)) == placed


@given(rooms, rooms, claims, requests)
@cases(100)
def test_more_nodes_never_mean_fewer_replicas(
    nodes: list[NodeRoom], more: list[NodeRoom], claim: Object, request: str
) -> None:
    asked = wish(request, claim)
    assert room_for([*more, *nodes], [], asked) >= room_for(nodes, [], asked)
