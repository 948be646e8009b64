"""What a Cluster's status says of its room: from what its agent counted, and nothing when nothing is new."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import World, cluster
from towline.hub.decide import capacity
from towline.hub.decide.capacity import ClusterCapacity
from towline.kube.objects import Key, Object

M1 = Key("cluster.karmada.io", "clusters", "", "m1")
COUNTED = ClusterCapacity(
    nodes=3,
    ready_nodes=2,
    allocatable={"pods": 330, "memory": 48 << 30, "cpu": 11_700, "nvidia.com/gpu": 8},
    allocating={"pods": 1, "cpu": 500},
    allocated={"pods": 12, "cpu": 3000, "memory": 1000 << 20},
    graded=((0, 1), (1, 0), (2, 2)),
)


def status_after(*counts: ClusterCapacity | None, **status: Any) -> Object:
    world = World()
    world.put({**cluster("m1"), "status": status})
    for counted in counts:
        world.settle(lambda snapshot, key, now, counted: capacity.decide(snapshot, key, counted), M1, counted)
    after: Object = world.objects[M1]["status"]
    return after


def test_what_was_counted_is_written_as_kubernetes_writes_it() -> None:
    assert status_after(COUNTED) == {
        "nodeSummary": {"totalNum": 3, "readyNum": 2},
        "resourceSummary": {
            "allocatable": {"cpu": "11700m", "memory": "48Gi", "nvidia.com/gpu": "8", "pods": "330"},
            "allocating": {"cpu": "500m", "pods": "1"},
            "allocated": {"cpu": "3", "memory": "1000Mi", "pods": "12"},
            "allocatableModelings": [
                {"grade": 0, "count": 1},
                {"grade": 1, "count": 0},
                {"grade": 2, "count": 2},
            ],
        },
    }


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param([None], None, id="an agent that counted nothing says nothing"),
        pytest.param([COUNTED, None], "12", id="nor does it erase anything"),
        pytest.param([COUNTED, replace(COUNTED, allocated={})], "0", id="no pods are zero pods"),
    ],
)
def test_the_number_of_pods(counts: list[ClusterCapacity | None], expected: str | None) -> None:
    summary = status_after(*counts).get("resourceSummary") or {}
    assert summary.get("allocated", {}).get("pods") == expected


def test_without_grades_no_nodes_are_graded() -> None:
    after = status_after(COUNTED, replace(COUNTED, graded=()))
    assert "allocatableModelings" not in after["resourceSummary"]


def test_what_others_say_in_the_status_stays() -> None:
    conditions = [{"type": "Ready", "status": "True"}]
    after = status_after(COUNTED, conditions=conditions, remedyActions=["x"])
    assert (after["conditions"], after["remedyActions"]) == (conditions, ["x"])


def test_a_cluster_that_is_gone_is_nothing_to_write_to() -> None:
    assert capacity.decide(World(), M1, COUNTED).writes == ()


_amounts = st.dictionaries(st.sampled_from(["cpu", "memory", "pods", "x.io/y"]), st.integers(0, 2**62))


@cases(100)
@given(st.builds(ClusterCapacity, st.integers(0, 9), st.integers(0, 9), _amounts, _amounts, _amounts))
def test_at_rest_the_plan_contains_no_write(counted: ClusterCapacity) -> None:
    world = World()
    world.put(cluster("m1"))
    first = capacity.decide(world, M1, counted)
    assert len(first.writes) == 1
    world.apply(first)
    assert capacity.decide(world, M1, counted).writes == ()
