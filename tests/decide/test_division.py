"""Dividing replicas: the dispenser, each strategy, steady and fresh, overflow (Karmada 3.5)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from time import perf_counter
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import cluster
from towline.hub.decide.bindings import BINDINGS
from towline.hub.decide.placing import place
from towline.hub.decide.scheduling import View
from towline.hub.decide.scheduling.division import divide
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.scheduling.request import (
    UNLIMITED,
    Assignment,
    Candidate,
    Request,
    Unschedulable,
    strategy_of,
)
from towline.hub.decide.scheduling.strategies import assign
from towline.kube import names
from towline.kube.names import fnv32a
from towline.kube.objects import Key

EVEN, ODD = "uid-0", "uid-1"
DUPLICATED = {"replicaScheduling": {"replicaSchedulingType": "Duplicated"}}
AGGREGATED = {
    "replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Aggregated"}
}
DYNAMIC = {
    "replicaScheduling": {
        "replicaSchedulingType": "Divided",
        "replicaDivisionPreference": "Weighted",
        "weightPreference": {"dynamicWeight": "AvailableReplicas"},
    }
}
FLEET = Members.of(cluster(f"m{i}", {"parity": "odd" if i % 2 else "even"}) for i in range(1, 7))


def static(*rules: tuple[Mapping[str, Any], int]) -> dict[str, Any]:
    return {
        "replicaScheduling": {
            "replicaSchedulingType": "Divided",
            "replicaDivisionPreference": "Weighted",
            "weightPreference": {
                "staticWeightList": [{"targetCluster": target, "weight": weight} for target, weight in rules]
            },
        }
    }


def named(*names: str) -> dict[str, Any]:
    return {"clusterNames": list(names)}


class Room(NamedTuple):
    """One cluster of a case: room for more, replicas it has (None: it is no target), affinity tier."""

    room: int
    current: int | None = None
    tier: int = 0


Fleet = Mapping[str, Room]


def fleet(*rooms: Room | int) -> dict[str, Room]:
    return {f"m{i}": room if isinstance(room, Room) else Room(room) for i, room in enumerate(rooms, 1)}


def wish(
    placement: Mapping[str, Any], replicas: int, clusters: Fleet, **fields: Any
) -> tuple[Request, list[Candidate]]:
    current = {name: c.current for name, c in clusters.items() if c.current is not None}
    given: dict[str, Any] = {"workload": True, "uid": EVEN} | fields
    request = Request(placement=placement, replicas=replicas, current=current, **given)
    chosen = [
        Candidate(
            name,
            100 if name in current else 0,
            c.room,
            c.current or 0,
            c.tier,
            FLEET.all[int(name[1:]) - 1],
        )
        for name, c in clusters.items()
    ]
    return request, chosen


def assigned(placement: Mapping[str, Any], replicas: int, clusters: Fleet, **fields: Any) -> Assignment:
    return assign(*wish(placement, replicas, clusters, **fields), FLEET)


def targets(placement: Mapping[str, Any], replicas: int, clusters: Fleet, **fields: Any) -> dict[str, int]:
    return dict(assigned(placement, replicas, clusters, **fields).targets)


def test_the_uids_of_these_tests_hash_as_they_say() -> None:
    assert fnv32a(EVEN) & 1 == 0 and fnv32a(ODD) & 1 == 1


# --- the dispenser -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "count", "uid", "expected"),
    [
        pytest.param({"Alpha": 1200, "Beta": 900, "Gamma": 400}, 4, EVEN, [2, 1, 1], id="three parties"),
        pytest.param({"A": 100000, "B": 80000, "C": 30000, "D": 20000}, 8, EVEN, [3, 3, 1, 1], id="four parties"),
        pytest.param({"m1": 1, "m2": 1}, 3, EVEN, [2, 1], id="a tie goes to the first name"),
        pytest.param({"m1": 1, "m2": 1}, 3, ODD, [1, 2], id="a tie goes to the last name where the uid's hash is odd"),
        pytest.param({"m1": 1, "m2": 1}, 3, "", [2, 1], id="without a uid ties go to the first name"),
        pytest.param({"m1": 2, "m2": 1, "m3": 1}, 7, EVEN, [3, 2, 2], id="a tie goes to who has fewer seats"),
        pytest.param({"m1": 6, "m2": 10, "m3": 1}, 10, EVEN, [3, 6, 1], id="a small weight gets its seat"),
        pytest.param({"m1": 12, "m2": 3}, 9, EVEN, [7, 2], id="twelve to three"),
        pytest.param({"m1": 12, "m2": 3, "m3": 1}, 2, EVEN, [2, 0, 0], id="fewer seats than parties"),
        pytest.param({"m1": 0, "m2": 0}, 5, EVEN, [0, 0], id="no weight, no seats"),
        *(
            pytest.param({f"m{i}": i for i in range(1, k + 1)}, k * (k + 1) // 2, EVEN, list(range(1, k + 1)), id=f"weights 1 to {k}, as many seats")
            for k in range(1, 9)
        ),
    ],
)  # fmt: skip
def test_webster(weights: dict[str, int], count: int, uid: str, expected: list[int]) -> None:
    assert list(divide(count, weights, uid).items()) == list(zip(sorted(weights), expected, strict=True))


def test_webster_keeps_seats_held_before() -> None:
    assert divide(2, {"m1": 1, "m2": 1}, EVEN, {"m1": 3, "old": 1}) == {"m1": 3, "m2": 2, "old": 1}


def test_capped_nobody_gets_more_than_its_weight_on_top() -> None:
    weights, held = {"m1": 3, "m2": 10}, {"m2": 100}
    assert divide(10, weights, EVEN, held) == {"m1": 10, "m2": 100}
    assert divide(10, weights, EVEN, held, capped=True) == {"m1": 3, "m2": 107}
    assert divide(99, weights, EVEN, held, capped=True) == {"m1": 3, "m2": 110}


SEATS_WON = st.dictionaries(
    st.sampled_from([f"m{i}" for i in range(9)]), st.integers(0, 1000), min_size=1, max_size=8
)


@cases(300)
@given(SEATS_WON, st.integers(0, 200), st.sampled_from([EVEN, ODD, ""]), st.randoms())
def test_division_gives_out_everything_whatever_the_order(
    weights: dict[str, int], count: int, uid: str, shuffler: random.Random
) -> None:
    result = divide(count, weights, uid)
    assert sum(result.values()) == (count if any(weights.values()) else 0)
    assert all(weights[name] or not seats for name, seats in result.items())
    shuffled = list(weights.items())
    shuffler.shuffle(shuffled)
    assert divide(count, dict(shuffled), uid) == result
    bigger = divide(count + 1, weights, uid)
    assert all(bigger[name] >= seats for name, seats in result.items()), "one more replica moves none"


@cases(300)
@given(SEATS_WON, SEATS_WON, st.integers(0, 3000), st.sampled_from([EVEN, ODD]), st.booleans())
def test_many_seats_are_dealt_as_one_by_one(
    weights: dict[str, int], held: dict[str, int], count: int, uid: str, capped: bool
) -> None:
    expected = Webster(weights, uid, held, capped)
    for _ in range(count):
        expected.deal()
    assert divide(count, weights, uid, held, capped=capped) == expected.seats


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("held", [{}, {"m1": 2**20, "m2": 1}], ids=["from none", "on top"])
@pytest.mark.parametrize("weights", [
    {f"m{i}": 1 for i in range(1000)},
    {f"m{i}": i * i * 5000 for i in range(1000)},
    {"m1": 2**63 - 1, "m2": 1, "m3": 2**31},
    {"m1": 2**31},
], ids=["equal", "various", "extreme", "one"])  # fmt: skip
def test_the_largest_wish_is_divided_at_once(
    weights: dict[str, int], held: dict[str, int], capped: bool
) -> None:
    count = min(2**31 - 1, sum(weights.values())) if capped else 2**31 - 1
    began = perf_counter()
    assert sum(divide(count, weights, EVEN, held, capped=capped).values()) == count + sum(held.values())
    assert perf_counter() - began < 2, "not one by one: that takes half an hour"


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
        pytest.param(fleet(2, 3), False, "failed to scale up: Clusters available replicas 5 are not enough to schedule.", id="first"),
        pytest.param(fleet(Room(2, 2), 3), False, "failed to scale up: Clusters available replicas 5 are not enough to schedule.", id="more"),
        pytest.param(fleet(Room(2, 2), 3), True, "failed to do fresh scale: Clusters available replicas 7 are not enough to schedule.", id="fresh"),
        pytest.param(fleet(2, Room(2, 1, tier=1)), False, "failed to scale up: Clusters available replicas 4 are not enough to schedule.", id="all tiers together"),
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
    result = assigned(DYNAMIC, 0, fleet(6, 3), components=({"name": "worker", "replicas": 6},))
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


# --- properties ----------------------------------------------------------------------------------------------

PLACEMENTS = {"static": static((named("m1", "m4"), 3), ({}, 1)), "dynamic": DYNAMIC, "aggregated": AGGREGATED}
ROOMS = st.builds(
    Room,
    st.integers(0, 40) | st.just(UNLIMITED),
    st.none() | st.integers(0, 30),
    st.just(0),
)
TIERED = st.builds(Room, st.integers(0, 20), st.none() | st.integers(0, 20), st.integers(0, 2))
FLEETS = st.lists(ROOMS, min_size=1, max_size=6).map(lambda rooms: fleet(*rooms))
TIERED_FLEETS = st.lists(TIERED, min_size=1, max_size=6).map(lambda rooms: fleet(*rooms))
DIVIDED = st.sampled_from([*PLACEMENTS.values()])
BY_ROOM = st.sampled_from([DYNAMIC, AGGREGATED])
REPLICAS = st.integers(1, 120)
UIDS = st.sampled_from([EVEN, ODD])


def attempt(placement: Any, replicas: int, clusters: Fleet, **fields: Any) -> dict[str, int] | str:
    try:
        return targets(placement, replicas, clusters, **fields)
    except Unschedulable as error:
        assert str(error)
        return str(error)


def available(room: Room) -> int:
    return room.room + (room.current or 0)


def total(clusters: Fleet, tier: int | None = None) -> int:
    return sum(available(c) for c in clusters.values() if tier in (None, c.tier))


@cases(500)
@given(DIVIDED, REPLICAS, FLEETS | TIERED_FLEETS, UIDS, st.booleans())
def test_divided_sums_to_the_wish_or_says_why_not(
    placement: Any, replicas: int, clusters: Fleet, uid: str, fresh: bool
) -> None:
    result = attempt(placement, replicas, clusters, uid=uid, fresh=fresh)
    if isinstance(result, str):
        assert strategy_of(placement) != "StaticWeight" and total(clusters) < replicas
    else:
        assert sum(result.values()) == replicas
        assert all(result.values()) and list(result) == sorted(result)


@cases(500)
@given(BY_ROOM, REPLICAS, FLEETS | TIERED_FLEETS, UIDS, st.booleans())
def test_no_cluster_gets_more_than_it_has_room_for(
    placement: Any, replicas: int, clusters: Fleet, uid: str, fresh: bool
) -> None:
    result = attempt(placement, replicas, clusters, uid=uid, fresh=fresh)
    if not isinstance(result, str):
        assert all(count <= available(clusters[name]) for name, count in result.items())


@cases(500)
@given(BY_ROOM, REPLICAS, FLEETS, UIDS)
def test_steady_scaling_moves_no_replica(placement: Any, replicas: int, clusters: Fleet, uid: str) -> None:
    result = attempt(placement, replicas, clusters, uid=uid)
    if isinstance(result, str):
        return
    before = {name: c.current or 0 for name, c in clusters.items()}
    change = [result.get(name, 0) - count for name, count in before.items()]
    grows = replicas >= sum(before.values())
    assert all(difference >= 0 if grows else difference <= 0 for difference in change)


@cases(500)
@given(DIVIDED, REPLICAS, FLEETS | TIERED_FLEETS, UIDS, st.booleans(), st.randoms())
def test_the_order_of_candidates_does_not_matter(
    placement: Any, replicas: int, clusters: Fleet, uid: str, fresh: bool, shuffler: random.Random
) -> None:
    shuffled = list(clusters.items())
    shuffler.shuffle(shuffled)
    fields: dict[str, Any] = {"uid": uid, "fresh": fresh}
    assert attempt(placement, replicas, dict(shuffled), **fields) == attempt(
        placement, replicas, clusters, **fields
    )


@cases(300)
@given(DIVIDED, REPLICAS, FLEETS, st.text(min_size=1))
def test_only_the_parity_of_the_uid_matters(placement: Any, replicas: int, clusters: Fleet, uid: str) -> None:
    same = ODD if fnv32a(uid) & 1 else EVEN
    assert attempt(placement, replicas, clusters, uid=uid) == attempt(placement, replicas, clusters, uid=same)


@cases(300)
@given(BY_ROOM, REPLICAS, TIERED_FLEETS, UIDS, st.data())
def test_fresh_ignores_where_the_replicas_are(
    placement: Any, replicas: int, clusters: Fleet, uid: str, data: st.DataObject
) -> None:
    moved: dict[str, Room] = {}
    for name, room in clusters.items():
        current = data.draw(st.integers(0, available(room)))
        moved[name] = Room(available(room) - current, current or None, room.tier)
    fields: dict[str, Any] = {"uid": uid, "fresh": True}
    assert attempt(placement, replicas, moved, **fields) == attempt(placement, replicas, clusters, **fields)


@cases(500)
@given(BY_ROOM, REPLICAS, TIERED_FLEETS, UIDS, st.booleans())
def test_a_tier_is_full_before_the_next_is_used(
    placement: Any, replicas: int, clusters: Fleet, uid: str, fresh: bool
) -> None:
    result = attempt(placement, replicas, clusters, uid=uid, fresh=fresh)
    if isinstance(result, str):
        return
    highest = max(clusters[name].tier for name in result)
    for tier in range(highest):
        used = sum(count for name, count in result.items() if clusters[name].tier == tier)
        assert used == total(clusters, tier)


@cases(500)
@given(DIVIDED, REPLICAS, FLEETS | TIERED_FLEETS, UIDS, st.booleans())
def test_deciding_again_changes_nothing(
    placement: Any, replicas: int, clusters: Fleet, uid: str, fresh: bool
) -> None:
    result = attempt(placement, replicas, clusters, uid=uid, fresh=fresh)
    if isinstance(result, str):
        return
    after = {
        name: Room(
            c.room if c.room == UNLIMITED else max(0, available(c) - result.get(name, 0)),
            result.get(name),
            c.tier,
        )
        for name, c in clusters.items()
    }
    assert attempt(placement, replicas, after, uid=uid) == result


# --- everything small, against the definitions ---------------------------------------------------------------


class Webster:
    """The method by its definition: exact fractions, seat by seat."""

    def __init__(
        self,
        weights: Mapping[str, int],
        uid: str,
        held: Mapping[str, int] | None = None,
        capped: bool = False,
    ) -> None:
        self.weights = weights
        self.seats = dict(sorted({**dict.fromkeys(weights, 0), **(held or {})}.items()))
        self.rank = {name: i for i, name in enumerate(sorted(self.seats, reverse=bool(fnv32a(uid) & 1)))}
        self.most = {name: self.seats[name] + weights[name] if capped else None for name in weights}

    def deal(self) -> None:
        willing = [
            (-fraction(weight, 2 * self.seats[name] + 1), self.seats[name], self.rank[name], name)
            for name, weight in self.weights.items()
            if weight and self.seats[name] != self.most[name]
        ]
        if willing:
            self.seats[min(willing)[-1]] += 1


_FRACTIONS: dict[tuple[int, int], Fraction] = {}


def fraction(over: int, under: int) -> Fraction:
    found = _FRACTIONS.get((over, under))
    if found is None:
        found = _FRACTIONS[over, under] = Fraction(over, under)
    return found


MOST = 8


def test_every_small_division_from_none() -> None:
    for parties, uid in itertools.product(range(1, 7), (EVEN, ODD)):
        for chosen in itertools.product((0, 1, 2, 5), repeat=parties):
            weights = {f"m{i}": weight for i, weight in enumerate(chosen)}
            expected = Webster(weights, uid)
            for count in range(MOST + 1):
                assert divide(count, weights, uid) == expected.seats, (weights, count, uid)
                expected.deal()


@pytest.mark.parametrize("capped", [False, True])
def test_every_small_division_on_top(capped: bool) -> None:
    for chosen in itertools.combinations_with_replacement(
        list(itertools.product((0, 1, 2, 7), (0, 1, 4))), 4
    ):
        weights = {f"m{i}": weight for i, (weight, _) in enumerate(chosen)}
        held = {f"m{i}": seats for i, (_, seats) in enumerate(chosen)}
        expected = Webster(weights, ODD, held, capped)
        for count in range(MOST + 1):
            assert divide(count, weights, ODD, held, capped=capped) == expected.seats, (weights, held, count)
            expected.deal()


def small_fleets(kinds: Sequence[Room], most: int) -> Iterator[Fleet]:
    """Up to `most` clusters of few different kinds."""
    for size in range(1, most + 1):
        for rooms in itertools.combinations_with_replacement(kinds, size):
            yield fleet(*rooms)


ONE_TIER = [Room(0, 1), Room(0, 3), Room(1), Room(1, 2), Room(2), Room(3, 1), Room(5)]
TIERS = [
    Room(1),
    Room(1, 1),
    Room(3),
    Room(0, 2, 1),
    Room(2, None, 1),
    Room(1, 3, 1),
    Room(1, 1, 2),
    Room(9, None, 2),
]


@pytest.mark.parametrize("fresh", [False, True], ids=["steady", "fresh"])
@pytest.mark.parametrize("aggregated", [False, True], ids=["dynamic", "aggregated"])
@pytest.mark.parametrize(("kinds", "most"), [(ONE_TIER, 6), (TIERS, 4)], ids=["one tier", "tiers"])
def test_every_small_assignment(kinds: Sequence[Room], most: int, aggregated: bool, fresh: bool) -> None:
    placement = AGGREGATED if aggregated else DYNAMIC
    for clusters in small_fleets(kinds, most):
        for replicas in range(1, MOST + 1):
            result = attempt(placement, replicas, clusters, fresh=fresh)
            expected = by_tiers(clusters, replicas, aggregated, fresh)
            if expected is None:
                assert isinstance(result, str)
            else:
                assert result == expected, (clusters, replicas)


def by_tiers(clusters: Fleet, replicas: int, aggregated: bool, fresh: bool) -> dict[str, int] | None:
    """As much as a tier can hold, then the next; None where there is too little room in all of them."""
    result: dict[str, int] = {}
    left = replicas
    for tier in sorted({c.tier for c in clusters.values()}):
        share = min(left, total(clusters, tier))
        left -= share
        members = {name: c for name, c in clusters.items() if c.tier == tier}
        result |= by_definition(members, share, aggregated, fresh)
    return None if left else result


def by_definition(clusters: Fleet, replicas: int, aggregated: bool, fresh: bool) -> dict[str, int]:
    """Karmada 3.5's sentences for one tier that has room, clumsily."""
    held = {} if fresh else {name: c.current for name, c in clusters.items() if c.current}
    rooms = {name: available(c) if fresh else c.room for name, c in clusters.items()}
    target = replicas - sum(held.values())
    if target == 0:
        return held
    if target < 0:
        rooms, target, dealt_on = held, replicas, {}
    else:
        dealt_on = held
    if aggregated:
        rooms = fewest(rooms, target, held)
    division = Webster(rooms, EVEN, dealt_on, capped=True)
    for _ in range(target):
        division.deal()
    return {name: count for name, count in division.seats.items() if count}


def fewest(rooms: Mapping[str, int], target: int, held: Mapping[str, int]) -> dict[str, int]:
    """Of all sets of clusters with room for `target`, the one with the fewest new clusters, then the fewest clusters, then
    the most room, then the first names. With a new one, all that hold replicas are in."""

    def cost(names: Sequence[str]) -> tuple[Any, ...]:
        new = [name for name in names if name not in held]
        return len(new), len(names), sorted(-rooms[name] for name in names), names

    keepers = [name for name in rooms if name in held]
    best = min(
        (
            names
            for size in range(1, len(rooms) + 1)
            for names in itertools.combinations(sorted(rooms), size)
            if sum(map(rooms.__getitem__, names)) >= target
            and (set(names) <= set(keepers) or set(names) >= set(keepers))
        ),
        key=cost,
    )
    return {name: rooms[name] for name in best}
