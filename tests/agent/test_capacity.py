"""What is counted of nodes and pods: requests, sums, grades; and that the sums never drift from a recount."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.agent.capacity import Capacity, NodeRoom, Summary
from towline.kube.grades import Grade, Scale
from towline.kube.objects import Object

GIB = 1 << 30


def node(
    name: str = "n1", *, ready: bool = True, labels: dict[str, str] | None = None, **more: Any
) -> Object:
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "3", **more.pop("allocatable", {})}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": more,
        "status": {
            "allocatable": allocatable,
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True" if ready else "Unknown"},
            ],
        },
    }


def container(cpu: str = "", **more: Any) -> Object:
    return {**({"resources": {"requests": {"cpu": cpu}}} if cpu else {}), **more}


def pod(uid: str = "p1", on: str = "n1", phase: str = "Running", *containers: Object, **spec: Any) -> Object:
    node_name = {"nodeName": on} if on else {}
    return {
        "metadata": {"name": uid, "uid": uid},
        "spec": {**node_name, "containers": list(containers or (container("1"),)), **spec},
        "status": {"phase": phase},
    }


def counted(*objects: Object) -> Capacity:
    capacity = Capacity()
    for obj in objects:
        capacity.put_node(obj) if "allocatable" in obj["status"] else capacity.put_pod(obj)
    return capacity


# --- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "used"),
    [
        pytest.param({"containers": [container(), container()]}, {}, id="nothing requested"),
        pytest.param({"containers": [container("250m"), container("1")]}, {"cpu": 1250}, id="containers add up"),
        pytest.param(
            {"containers": [container("1")], "initContainers": [container("3"), container("2")]},
            {"cpu": 3000},
            id="the largest init container, if that is more",
        ),
        pytest.param(
            {"containers": [container("1")], "initContainers": [container("500m", restartPolicy="Always"), container("2")]},
            {"cpu": 2500},
            id="an init container beside the sidecars before it",
        ),
        pytest.param(
            {"containers": [container("2")], "initContainers": [container("500m", restartPolicy="Always")]},
            {"cpu": 2500},
            id="sidecars run beside the containers",
        ),
        pytest.param(
            {"containers": [container("1")], "overhead": {"cpu": "250m", "memory": "64Mi"}},
            {"cpu": 1250, "memory": 64 << 20},
            id="the overhead of the runtime",
        ),
        pytest.param(
            {"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}},
            {"cpu": 3000},
            id="a request for the pod as a whole",
        ),
        pytest.param(
            {"containers": [{"resources": {"limits": {"cpu": "2", "nvidia.com/gpu": 1}}}]},
            {"cpu": 2000, "nvidia.com/gpu": 1},
            id="a limit without a request",
        ),
        pytest.param({"containers": [container("a lot")]}, {}, id="what is no quantity counts as nothing"),
        pytest.param({"containers": None}, {}, id="null"),
        pytest.param({"containers": [container("0")]}, {}, id="zero is nothing"),
    ],
)  # fmt: skip
def test_what_a_pod_takes_of_its_node(spec: Object, used: dict[str, int]) -> None:
    capacity = counted(node(), {"metadata": {"uid": "p"}, "spec": {"nodeName": "n1", **spec}, "status": {}})
    room = capacity.nodes["n1"]
    assert (room.used, room.pods) == (used, 1)
    assert capacity.summary().allocated == {**used, "pods": 1}


# --- sums --------------------------------------------------------------------------------------------------------

EMPTY = {"cpu": 4000, "memory": 8 * GIB, "pods": 3}


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param((), Summary(0, 0, {}, {}, {}), id="nothing"),
        pytest.param((node(), node("n2", ready=False)), Summary(2, 1, {k: 2 * v for k, v in EMPTY.items()}, {}, {}), id="nodes"),
        pytest.param((node(), pod()), Summary(1, 1, EMPTY, {}, {"cpu": 1000, "pods": 1}), id="a pod on a node"),
        pytest.param((pod(), node()), Summary(1, 1, EMPTY, {}, {"cpu": 1000, "pods": 1}), id="a pod before its node"),
        pytest.param((pod(),), Summary(0, 0, {}, {}, {}), id="a pod on a node that is not known"),
        pytest.param((node(), pod(on="")), Summary(1, 1, EMPTY, {"cpu": 1000, "pods": 1}, {}), id="a pod that waits for a node"),
        pytest.param((node(), pod(on=""), pod()), Summary(1, 1, EMPTY, {}, {"cpu": 1000, "pods": 1}), id="a pod that got its node"),
        pytest.param((node(), pod(), pod()), Summary(1, 1, EMPTY, {}, {"cpu": 1000, "pods": 1}), id="told twice"),
        pytest.param((node(), pod(), pod(phase="Succeeded")), Summary(1, 1, EMPTY, {}, {}), id="a pod that ended"),
        pytest.param((node(), pod(on="", phase="Failed")), Summary(1, 1, EMPTY, {}, {}), id="a pod that failed without a node"),
        pytest.param((node(), pod(phase="Pending")), Summary(1, 1, EMPTY, {}, {"cpu": 1000, "pods": 1}), id="a pod that starts"),
        pytest.param((node(), pod(), node(allocatable={"cpu": "2"})), Summary(1, 1, {**EMPTY, "cpu": 2000}, {}, {"cpu": 1000, "pods": 1}), id="a node that shrank"),
    ],
)  # fmt: skip
def test_summaries(objects: tuple[Object, ...], expected: Summary) -> None:
    assert counted(*objects).summary() == expected


def test_a_node_that_goes_takes_its_pods_along_and_one_that_comes_back_has_them() -> None:
    capacity = counted(node(), pod())
    capacity.remove_node("n1")
    assert capacity.summary() == Summary(0, 0, {}, {}, {}) and not capacity.nodes
    capacity.put_node(node())
    assert capacity.nodes["n1"].used == {"cpu": 1000}
    capacity.remove_pod("p1")
    capacity.remove_pod("p1")
    assert capacity.summary() == Summary(1, 1, EMPTY, {}, {})


def test_the_room_of_a_node() -> None:
    taint = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
    capacity = counted(node(labels={"zone": "a"}, taints=[taint], unschedulable=True), pod())
    assert capacity.nodes["n1"] == NodeRoom(
        "n1", {"zone": "a"}, (taint,), True, True, EMPTY, {"cpu": 1000}, 1
    )
    assert [capacity.nodes["n1"].free(name) for name in ("cpu", "pods", "nvidia.com/gpu")] == [3000, 2, 0]


def test_a_complete_list_forgets_what_it_lacks() -> None:
    capacity = counted(node(), node("n2"), pod(), pod("p2", "n2"))
    capacity.keep_pods({"p2"})
    capacity.keep_nodes({"n2"})
    assert capacity.nodes.keys() == {"n2"} and capacity.summary().allocated == {"cpu": 1000, "pods": 1}


def test_a_pod_that_an_answer_counted_and_that_goes_makes_room_that_no_sum_may_show() -> None:
    capacity = counted(node(), pod("a"), pod("b"))
    before = capacity.openings
    capacity.remove_pod("a")
    assert capacity.openings == before, "nobody was told that there is less"
    capacity.answered()
    capacity.remove_pod("never there")
    assert capacity.openings == before
    capacity.remove_pod("b")
    assert capacity.openings == before + 1


def test_what_changes_no_number_is_no_change() -> None:
    capacity = counted(node(), pod())
    before = capacity.changes
    capacity.put_node(node())
    capacity.put_pod({**pod(), "status": {"phase": "Running", "podIP": "10.0.0.1"}})
    assert capacity.changes == before
    capacity.put_pod(pod(phase="Failed"))
    assert capacity.changes > before


# --- grades ------------------------------------------------------------------------------------------------------

SCALE = Scale((Grade(0, {"cpu": 0, "memory": 0}), Grade(1, {"cpu": 2000, "memory": 4 * GIB}), Grade(2, {"cpu": 4000, "memory": 8 * GIB})))  # fmt: skip


@pytest.mark.parametrize(
    ("objects", "graded"),
    [
        pytest.param((), [0, 0, 0], id="no node"),
        pytest.param((node(),), [0, 0, 1], id="empty"),
        pytest.param((node(), pod()), [0, 1, 0], id="by what is left, not by size"),
        pytest.param((node(allocatable={"memory": "1Gi"}),), [1, 0, 0], id="by the scarcest resource"),
        pytest.param((node(), pod(), *(pod(f"q{i}", "n1", "Running", container()) for i in (1, 2)), node("n2")), [0, 0, 1], id="a full node is passed over, the next one counts"),
        pytest.param((node(unschedulable=True), node("n2", ready=False), node("n3")), [0, 0, 1], id="cordoned or not ready"),
        pytest.param((node(), pod("p1", "n1", "Running", container("9"))), [1, 0, 0], id="more taken than there is"),
        pytest.param((node(allocatable={"pods": "0"}),), [0, 0, 0], id="no slots for pods at all"),
    ],
)  # fmt: skip
def test_nodes_by_grade(objects: tuple[Object, ...], graded: list[int]) -> None:
    assert counted(*objects).graded(SCALE) == graded


def test_no_grades_no_counts() -> None:
    assert counted(node()).graded(Scale(())) == []


# --- the sums never drift ----------------------------------------------------------------------------------------

_nodes = st.sampled_from(["n1", "n2", "n3"])
_uids = st.sampled_from(["p1", "p2", "p3", "p4", "p5"])
_requests = st.dictionaries(
    st.sampled_from(["cpu", "memory", "x.io/gpu"]), st.sampled_from(["0", "1", "250m", "3Mi"])
)
_node_states = st.builds(
    lambda name, ready, cordoned, cpu: node(name, ready=ready, unschedulable=cordoned, allocatable={"cpu": cpu}),
    _nodes, st.booleans(), st.booleans(), st.sampled_from(["0", "2", "4"]),
)  # fmt: skip
_pod_states = st.builds(
    lambda uid, on, phase, requests: pod(uid, on, phase, {"resources": {"requests": requests}}),
    _uids, _nodes | st.just(""), st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]), _requests,
)  # fmt: skip
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("node"), _node_states),
        st.tuples(st.just("pod"), _pod_states),
        st.tuples(st.just("no node"), _nodes),
        st.tuples(st.just("no pod"), _uids),
        st.tuples(st.just("nodes are"), st.sets(_nodes)),
        st.tuples(st.just("pods are"), st.sets(_uids)),
    ),
    max_size=40,
)


@cases(300)
@given(_steps)
def test_after_any_events_the_sums_equal_a_recount(steps: list[tuple[str, Any]]) -> None:
    capacity = Capacity()
    nodes: dict[str, Object] = {}
    pods: dict[str, Object] = {}
    for step, what in steps:
        match step:
            case "node":
                nodes[what["metadata"]["name"]] = what
                capacity.put_node(what)
            case "pod":
                pods[what["metadata"]["uid"]] = what
                capacity.put_pod(what)
            case "no node":
                nodes.pop(what, None)
                capacity.remove_node(what)
            case "no pod":
                pods.pop(what, None)
                capacity.remove_pod(what)
            case "nodes are":
                nodes = {name: obj for name, obj in nodes.items() if name in what}
                capacity.keep_nodes(what)
            case "pods are":
                pods = {uid: obj for uid, obj in pods.items() if uid in what}
                capacity.keep_pods(what)
    again = counted(*nodes.values(), *pods.values())
    assert capacity.summary() == again.summary()
    assert capacity.nodes == again.nodes
    assert capacity.graded(SCALE) == again.graded(SCALE)
    on = Counter(
        obj["spec"].get("nodeName")
        for obj in pods.values()
        if obj["status"]["phase"] in ("Pending", "Running")
    )
    assert {name: room.pods for name, room in capacity.nodes.items()} == {name: on[name] for name in nodes}
    assert capacity.summary().allocating.get("pods", 0) == on[None]
