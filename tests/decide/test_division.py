"""Dividing replicas, rule by rule: each strategy, steady and fresh, overflow, reasons (Karmada 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.dividing import (
    AGGREGATED,
    DUPLICATED,
    DYNAMIC,
    FLEET,
    ODD,
    Fleet,
    Room,
    assigned,
    fleet,
    named,
    static,
    targets,
)
from towline.hub.decide.bindings import BINDINGS
from towline.hub.decide.placing import place, request_of
from towline.hub.decide.scheduling import View
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.scheduling.request import (
    UNLIMITED,
    Unschedulable,
    strategy_of,
)
from towline.kube import names
from towline.kube.objects import Key

# --- which strategy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheduling", "expected"),
    [
        (None, "Duplicated"),
        ({"replicaSchedulingType": "Duplicated"}, "Duplicated"),
        ({}, "Duplicated"),
        ({"replicaSchedulingType": "Divided"}, "StaticWeight"),
        ({"replicaDivisionPreference": "Weighted"}, "StaticWeight"),
        ({"replicaDivisionPreference": "Aggregated"}, "Aggregated"),
        (DYNAMIC["replicaScheduling"], "DynamicWeight"),
        (
            {"replicaDivisionPreference": "Weighted"}
            | {
                "weightPreference": {
                    "dynamicWeight": "AvailableReplicas",
                    "staticWeightList": [{"weight": 1}],
                }
            },
            "DynamicWeight",
        ),
    ],
)
def test_strategy(scheduling: Any, expected: str) -> None:
    assert strategy_of({"replicaScheduling": scheduling}) == expected


# --- each rule -----------------------------------------------------------------------------------------------

UNMATCHED = static((named("gone"), 5))
BY_LABEL = static(({"labelSelector": {"matchLabels": {"parity": "odd"}}}, 2), (named("m2"), 1))


@pytest.mark.parametrize(
    ("placement", "replicas", "clusters", "expected"),
    [
        # Duplicated
        pytest.param(DUPLICATED, 5, fleet(9, 9), {"m1": 5, "m2": 5}, id="duplicated: all replicas everywhere"),
        pytest.param(DUPLICATED, 5, fleet(0, 9), {"m1": 5, "m2": 5}, id="duplicated: room does not count"),
        pytest.param({}, 5, fleet(9, 9), {"m1": 5, "m2": 5}, id="duplicated: where nothing is said"),
        pytest.param(DUPLICATED, 0, fleet(9, 9), {"m1": 0, "m2": 0}, id="duplicated: scaled to zero stays everywhere"),
        # StaticWeight
        pytest.param(static(), 7, fleet(9, 9, 9), {"m1": 3, "m2": 2, "m3": 2}, id="static: without rules all weigh the same"),
        pytest.param(static((named("m1"), 2), (named("m2"), 1)), 6, fleet(9, 9, 9), {"m1": 4, "m2": 2}, id="static: unmatched clusters are out"),
        pytest.param(UNMATCHED, 6, fleet(9, 9, 9), {"m1": 2, "m2": 2, "m3": 2}, id="static: where no rule matches all weigh the same"),
        pytest.param(static((named("m1"), 1), (named("m1"), 3), (named("m2"), 1)), 8, fleet(9, 9), {"m1": 6, "m2": 2}, id="static: the largest matching weight counts"),
        pytest.param(static((named("m1"), 12), (named("m2"), 3), (named("m3"), 1)), 2, fleet(9, 9, 9), {"m1": 2}, id="static: clusters that get nothing are dropped"),
        pytest.param(BY_LABEL, 5, fleet(9, 9, 9, 9), {"m1": 2, "m2": 1, "m3": 2}, id="static: a rule may select by label"),
        pytest.param(static(({}, 1), (named("m1"), 3)), 4, fleet(9, 9), {"m1": 3, "m2": 1}, id="static: a rule without conditions matches all"),
        pytest.param(static((named("m1"), 1), (named("m2"), 1)), 4, fleet(0, Room(0, 4)), {"m1": 2, "m2": 2}, id="static: neither room nor the present counts"),
        pytest.param(static(), 0, fleet(9, Room(9, 3)), {"m2": 0}, id="static: scaled to zero stays where it is"),
        # DynamicWeight
        pytest.param(DYNAMIC, 12, fleet(18, 12, 6), {"m1": 6, "m2": 4, "m3": 2}, id="dynamic: by room"),
        pytest.param(DYNAMIC, 6, fleet(6, 10, 0), {"m1": 2, "m2": 4}, id="dynamic: no room, no replica"),
        pytest.param(DYNAMIC, 6, fleet(2, 2, 2), {"m1": 2, "m2": 2, "m3": 2}, id="dynamic: just enough room"),
        pytest.param(DYNAMIC, 6, fleet(UNLIMITED, 6), {"m1": 3, "m2": 3}, id="dynamic: a cluster without limit weighs as the whole workload"),
        pytest.param(DYNAMIC, 5, fleet(Room(9, 2), Room(1, 3)), {"m1": 2, "m2": 3}, id="dynamic: as many as wanted are kept as they are"),
        pytest.param(DYNAMIC, 3, fleet(Room(0, 3), Room(9, 0)), {"m1": 3}, id="dynamic: kept, targets with nothing are dropped"),
        pytest.param(DYNAMIC, 8, fleet(Room(3, 3), Room(3, 1)), {"m1": 4, "m2": 4}, id="dynamic: scale up deals on top of what is there"),
        pytest.param(DYNAMIC, 110, fleet(3, Room(10, 100)), {"m1": 3, "m2": 107}, id="dynamic: scale up fills no cluster above its room"),
        pytest.param(DYNAMIC, 5, fleet(Room(9, 6), Room(0, 4)), {"m1": 3, "m2": 2}, id="dynamic: scale down shrinks in proportion"),
        pytest.param(DYNAMIC, 2, fleet(Room(9, 6), Room(9, 1)), {"m1": 2}, id="dynamic: scale down drops who keeps nothing"),
        pytest.param(DYNAMIC, 0, fleet(9, Room(9, 3)), {"m2": 0}, id="dynamic: scaled to zero stays where it is"),
        pytest.param(DYNAMIC, 0, fleet(9, 9), {"m1": 0, "m2": 0}, id="dynamic: created with zero goes everywhere"),
        # Aggregated
        pytest.param(AGGREGATED, 12, fleet(12, 20, 6), {"m2": 12}, id="aggregated: one cluster where one is enough"),
        pytest.param(AGGREGATED, 12, fleet(6, 8, 4), {"m1": 5, "m2": 7}, id="aggregated: in proportion over the fewest clusters"),
        pytest.param(AGGREGATED, 4, fleet(5, 5, 5), {"m1": 4}, id="aggregated: the first name among equals"),
        pytest.param(AGGREGATED, 6, fleet(UNLIMITED, 7), {"m2": 6}, id="aggregated: a cluster without limit has room for the whole workload"),
        pytest.param(AGGREGATED, 8, fleet(100, Room(4, 4)), {"m2": 8}, id="aggregated: clusters that hold replicas come first"),
        pytest.param(AGGREGATED, 3, fleet(100, Room(4, 0)), {"m2": 3}, id="aggregated: so do targets scaled to zero"),
        pytest.param(AGGREGATED, 9, fleet(100, Room(2, 4)), {"m1": 5, "m2": 4}, id="aggregated: scale up takes another where they lack room"),
        pytest.param(AGGREGATED, 6, fleet(Room(0, 5), Room(9, 3), Room(9, 2)), {"m1": 4, "m2": 2}, id="aggregated: scale down leaves the smallest"),
        pytest.param(AGGREGATED, 5, fleet(99, Room(0, 2), Room(0, 3)), {"m2": 2, "m3": 3}, id="aggregated: as many as wanted are kept as they are"),
        # Overflow affinities
        pytest.param(DYNAMIC, 6, fleet(4, 4, Room(9, tier=1)), {"m1": 3, "m2": 3}, id="overflow: unused while the primary has room"),
        pytest.param(DYNAMIC, 10, fleet(4, 4, Room(9, tier=1)), {"m1": 4, "m2": 4, "m3": 2}, id="overflow: what the primary lacks room for"),
        pytest.param(DYNAMIC, 12, fleet(4, 4, Room(3, tier=1), Room(9, tier=2)), {"m1": 4, "m2": 4, "m3": 3, "m4": 1}, id="overflow: tier after tier"),
        pytest.param(AGGREGATED, 9, fleet(4, 4, Room(9, tier=1), Room(9, tier=1)), {"m1": 4, "m2": 4, "m3": 1}, id="overflow: aggregated inside a tier"),
        pytest.param(DYNAMIC, 9, fleet(Room(0, 4), Room(0, 4), Room(5, 4, tier=1)), {"m1": 4, "m2": 4, "m3": 1}, id="overflow: contracts where it overflowed to"),
        pytest.param(DYNAMIC, 6, fleet(Room(0, 4), Room(0, 4), Room(5, 4, tier=1)), {"m1": 3, "m2": 3}, id="overflow: contracts in the primary last"),
        pytest.param(DYNAMIC, 12, fleet(Room(2, 4), Room(0, 4), Room(5, 4, tier=1)), {"m1": 6, "m2": 4, "m3": 2}, id="overflow: returns when the primary has room"),
        pytest.param(AGGREGATED, 9, fleet(UNLIMITED, Room(9, tier=1)), {"m1": 9}, id="overflow: never where the primary has no limit"),
    ],
)  # fmt: skip
def test_rule(placement: Any, replicas: int, clusters: Fleet, expected: dict[str, int]) -> None:
    assert targets(placement, replicas, clusters) == expected


@pytest.mark.parametrize(
    ("placement", "replicas", "clusters", "expected"),
    [
        pytest.param(DYNAMIC, 10, fleet(Room(0, 10), 10), {"m1": 5, "m2": 5}, id="dynamic: divided anew by all room"),
        pytest.param(AGGREGATED, 10, fleet(Room(0, 10), 30), {"m2": 10}, id="aggregated: who holds replicas does not come first"),
        pytest.param(DYNAMIC, 10, fleet(Room(2, 4), Room(0, 6, tier=1)), {"m1": 6, "m2": 4}, id="overflow: tier after tier"),
        pytest.param(DUPLICATED, 3, fleet(Room(0, 1), 9), {"m1": 3, "m2": 3}, id="duplicated: as ever"),
    ],
)  # fmt: skip
def test_fresh(placement: Any, replicas: int, clusters: Fleet, expected: dict[str, int]) -> None:
    assert targets(placement, replicas, clusters, fresh=True) == expected


@pytest.mark.parametrize("placement", [DYNAMIC, AGGREGATED], ids=["dynamic", "aggregated"])
@pytest.mark.parametrize(
    ("clusters", "fresh", "message"),
    [
        pytest.param(fleet(2, 3), False, "failed to scale up: Clusters available replicas 5 are not enough to schedule. 8 more are wanted; there is room for 3 in m2, 2 in m1.", id="first"),
        pytest.param(fleet(Room(2, 2), 3), False, "failed to scale up: Clusters available replicas 5 are not enough to schedule. 6 more are wanted; there is room for 3 in m2, 2 in m1.", id="more"),
        pytest.param(fleet(Room(2, 2), 3), True, "failed to do fresh scale: Clusters available replicas 7 are not enough to schedule. 8 are wanted; there is room for 4 in m1, 3 in m2.", id="fresh"),
        pytest.param(fleet(2, Room(2, 1, tier=1)), False, "failed to scale up: Clusters available replicas 4 are not enough to schedule. 7 more are wanted; there is room for 2 in m1, 2 in m2.", id="all tiers together"),
        pytest.param(fleet(0, 0), False, "failed to scale up: Clusters available replicas 0 are not enough to schedule. 8 more are wanted.", id="none"),
        pytest.param(fleet(*[1] * 6), False, "failed to scale up: Clusters available replicas 6 are not enough to schedule. 8 more are wanted; there is room for 1 in m1, 1 in m2, 1 in m3, 1 in m4, 1 in m5, some in 1 more.", id="the roomiest"),
    ],
)  # fmt: skip
def test_too_little_room(placement: Any, clusters: Fleet, fresh: bool, message: str) -> None:
    with pytest.raises(Unschedulable) as caught:
        assigned(placement, 8, clusters, fresh=fresh)
    assert str(caught.value) == message


def test_no_cluster_chosen() -> None:
    with pytest.raises(Unschedulable, match="no clusters available to schedule"):
        assigned(DYNAMIC, 8, {})


# --- what is not divided -------------------------------------------------------------------------------------

TASKS = ({"name": "leader", "replicas": 1}, {"name": "worker", "replicas": 3, "replicaRequirements": {}})


@pytest.mark.parametrize("placement", [{}, DUPLICATED, static(), DYNAMIC, AGGREGATED])
def test_without_replicas_it_goes_whole_to_every_cluster(placement: Any) -> None:
    result = assigned(placement, 0, fleet(0, 9, Room(0, tier=1)), workload=False)
    assert result.targets == {"m1": 0, "m2": 0, "m3": 0} and not result.components


@pytest.mark.parametrize("placement", [{}, DUPLICATED, static(), DYNAMIC, AGGREGATED])
def test_several_components_go_whole_to_every_cluster(placement: Any) -> None:
    result = assigned(placement, 0, fleet(9, 9), components=TASKS)
    assert result.targets == {"m1": 0, "m2": 0}
    assert result.components == [{"name": "leader", "replicas": 1}, {"name": "worker", "replicas": 3}]


def test_the_binding_says_what_each_target_runs_of_several_components() -> None:
    key = Key(names.WORK_GROUP, BINDINGS, "shop", "train-job")
    view = View(Members([FLEET.all[0], FLEET.all[1]]))

    def placed(leaders: int, old: Any = None) -> Any:
        components = [{"name": "leader", "replicas": leaders}, {"name": "worker", "replicas": 3}]
        spec = (old or {}).get("spec") or {"placement": DYNAMIC}
        binding = {"kind": "ResourceBinding", "metadata": {"name": key.name}} | (old or {})
        return place(key, {**binding, "spec": {**spec, "components": components}}, old, view, 0.0).binding

    def told(binding: Any) -> list[Any]:
        return [[c["replicas"] for c in target["components"]] for target in binding["spec"]["clusters"]]

    first = placed(1)
    assert told(first) == [[1, 3], [1, 3]]
    assert placed(1, first) == first
    assert told(placed(2, first)) == [[2, 3], [2, 3]]


def test_a_single_component_is_divided() -> None:
    needs = {"resourceRequest": {"cpu": "1"}}
    only = {"name": "worker", "replicas": 6, "replicaRequirements": needs}
    key = Key("work.karmada.io", "resourcebindings", "shop", "train-pytorchjob")
    wish = request_of(key, {"spec": {"components": [only], "placement": DYNAMIC}})
    assert (wish.replicas, wish.requirements, wish.components) == (6, needs, ())
    result = assigned(DYNAMIC, wish.replicas, fleet(6, 3))
    assert result.targets == {"m1": 4, "m2": 2} and not result.components


# --- reasons -------------------------------------------------------------------------------------------------


def test_reasons_say_how_the_replicas_were_divided() -> None:
    clusters = fleet(Room(0, 4), Room(1, 1), Room(9, tier=1), Room(5, tier=1))
    assert assigned(AGGREGATED, 8, clusters, uid=ODD).reasons == {
        "strategy": "Aggregated",
        "replicas": 8,
        "ties": "descending",
        "steps": [
            {
                "tier": 0,
                "replicas": 6,
                "mode": "scale up",
                "target": 1,
                "weights": {"m2": 1},
                "initial": {"m1": 4, "m2": 1},
                "result": {"m1": 4, "m2": 2},
            },
            {
                "tier": 1,
                "replicas": 2,
                "mode": "first",
                "target": 2,
                "weights": {"m3": 9},
                "result": {"m3": 2},
            },
        ],
    }


@pytest.mark.parametrize(
    ("replicas", "clusters", "fresh", "mode"),
    [
        (4, fleet(9), False, "first"),
        (4, fleet(Room(9, 3)), False, "scale up"),
        (4, fleet(Room(9, 4)), False, "keep"),
        (4, fleet(Room(9, 5)), False, "scale down"),
        (4, fleet(Room(9, 4)), True, "fresh"),
    ],
)
def test_reasons_name_the_mode(replicas: int, clusters: Fleet, fresh: bool, mode: str) -> None:
    assert assigned(DYNAMIC, replicas, clusters, fresh=fresh).reasons["steps"][0]["mode"] == mode


def test_reasons_sum_up_the_clusters_that_got_nothing() -> None:
    assert assigned(DYNAMIC, 2, fleet(9, 8, 1, 0, 1)).reasons["steps"] == [
        {
            "mode": "first",
            "target": 2,
            "weights": {"m1": 9, "m2": 8},
            "result": {"m1": 1, "m2": 1},
            "others": {"clusters": 2, "weight": 2},
        }
    ]


def test_reasons_copy_no_fleet_where_nothing_was_divided() -> None:
    assert assigned({}, 3, fleet(9, 9)).reasons == {"strategy": "Duplicated", "replicas": 3}
    assert assigned({}, 0, fleet(9, 9), workload=False).reasons == {"strategy": "Whole"}
