"""Laws of the whole of scheduling, over fleets and placements of every kind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import cluster
from towline.hub.decide.scheduling import Outcome, Request, View, schedule
from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.scheduling.request import constraints_of, strategy_of
from towline.kube.objects import Object

ROUNDING = 1
TAINT = {"key": "old", "effect": "NoSchedule"}
TOLERATIONS = [{"key": "old", "operator": "Exists"}]
DIVIDED = {"replicaSchedulingType": "Divided"}
STRATEGIES: list[dict[str, Any]] = [
    {},
    {"replicaSchedulingType": "Duplicated"},
    {**DIVIDED, "replicaDivisionPreference": "Weighted"},
    {**DIVIDED, "replicaDivisionPreference": "Weighted", "weightPreference": {"dynamicWeight": "AvailableReplicas"}},
    {**DIVIDED, "replicaDivisionPreference": "Aggregated"},
]  # fmt: skip


@st.composite
def members(draw: st.DrawFn, name: str) -> Object:
    obj = cluster(
        name,
        {"tier": draw(st.sampled_from(["gold", "iron"])), "rack": draw(st.sampled_from("xy"))},
        region=draw(st.sampled_from(["eu", "us", "ap"])),
        zones=draw(st.sampled_from([["a"], ["b"], ["a", "b"]])),
        provider=draw(st.sampled_from(["p", "q"])),
        taints=draw(st.sampled_from([[], [], [TAINT]])),
    )
    room = {"allocatable": {"cpu": str(draw(st.integers(0, 6))), "pods": "110"}}
    return {**obj, "status": {**obj["status"], "resourceSummary": room}}


@st.composite
def fleets(draw: st.DrawFn) -> list[Object]:
    return [draw(members(f"m{at}")) for at in range(draw(st.integers(1, 6)))]


def limits(**by: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda fewest, more: by | {"minGroups": fewest, "maxGroups": fewest + more},
        st.integers(1, 3),
        st.integers(0, 2),
    )


placements = st.builds(
    lambda scheduling, affinity, tolerations, spread: {
        **({"replicaScheduling": scheduling} if scheduling else {}),
        **({"clusterAffinity": affinity} if affinity else {}),
        **({"clusterTolerations": tolerations} if tolerations else {}),
        **({"spreadConstraints": spread} if spread else {}),
    },
    st.sampled_from(STRATEGIES),
    st.sampled_from([None, None, {"labelSelector": {"matchLabels": {"tier": "gold"}}}]),
    st.sampled_from([None, TOLERATIONS]),
    st.lists(
        st.one_of(
            limits(spreadByField="cluster"),
            limits(spreadByField="region"),
            limits(spreadByField="zone"),
            limits(spreadByField="provider"),
            limits(spreadByLabel="rack"),
        ),
        max_size=2,
        unique_by=lambda constraint: str(constraint.get("spreadByField")),
    ),
)
dynamic = st.sampled_from([{"replicaScheduling": scheduling} for scheduling in STRATEGIES[3:]])


def wishes_for(placements: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Request]:
    return st.builds(
        lambda placement, replicas, current, fresh: Request(
            placement=placement,
            replicas=replicas,
            workload=True,
            current={name: count for name, count in current.items() if count},
            uid="uid-0",
            api_version="apps/v1",
            kind="Deployment",
            namespace="shop",
            requirements={"resourceRequest": {"cpu": "1"}},
            fresh=fresh,
        ),
        placements,
        st.integers(1, 12),
        st.dictionaries(st.sampled_from(["m0", "m1", "m2"]), st.integers(0, 4), max_size=3),
        st.booleans(),
    )


wishes = wishes_for(placements)


def decided(wish: Request, fleet: Sequence[Object]) -> Outcome:
    return schedule(wish, View(Members.of(fleet)))


def room(obj: Object) -> int:
    return int(obj["status"]["resourceSummary"]["allocatable"]["cpu"])


@cases(200)
@given(wishes, fleets())
def test_every_wish_is_met_as_it_was_made_or_refused_with_a_reason(
    wish: Request, fleet: list[Object]
) -> None:
    outcome = decided(wish, fleet)
    by_name = {obj["metadata"]["name"]: obj for obj in fleet}
    if not outcome.success:
        assert outcome.reason in ("NoClusterFit", "Unschedulable") and outcome.message and outcome.waits
        return
    targets = outcome.targets or {}
    assert targets and set(targets) <= set(by_name)
    strategy = strategy_of(wish.placement)
    if strategy == "Duplicated":
        assert set(targets.values()) == {wish.replicas}
    else:
        assert sum(targets.values()) == wish.replicas
    if strategy in ("DynamicWeight", "Aggregated"):
        for name, replicas in targets.items():
            assert replicas <= room(by_name[name]) + wish.current.get(name, 0) + ROUNDING
    _assert_spread(wish, targets, by_name)


def _assert_spread(wish: Request, targets: Any, by_name: dict[str, Object]) -> None:
    """The most always holds of what is used; the fewest of what was selected, so of what is copied everywhere."""
    for constraint in constraints_of(wish):
        groups: Counter[str] = Counter()
        for name in targets:
            groups.update(_groups(constraint, by_name[name]))
        assert len(groups) <= constraint["maxGroups"]
        if strategy_of(wish.placement) == "Duplicated":
            assert len(groups) >= constraint["minGroups"]


def _groups(constraint: Any, obj: Object) -> list[str]:
    if "spreadByLabel" in constraint:
        return [obj["metadata"]["labels"][constraint["spreadByLabel"]]]
    field, spec = constraint["spreadByField"], obj["spec"]
    if field == "cluster":
        return [obj["metadata"]["name"]]
    return list(spec["zones"]) if field == "zone" else [spec[field]]


@cases(150)
@given(wishes, fleets(), st.randoms())
def test_the_result_does_not_depend_on_the_order_of_the_clusters(
    wish: Request, fleet: list[Object], shuffler: random.Random
) -> None:
    shuffled = list(fleet)
    shuffler.shuffle(shuffled)
    assert decided(wish, shuffled) == decided(wish, fleet)


@cases(200)
@given(wishes, fleets(), members("m9"))
def test_one_more_tolerated_cluster_makes_no_wish_unschedulable(
    wish: Request, fleet: list[Object], new: Object
) -> None:
    assume(decided(wish, fleet).success)
    assert decided(wish, [*fleet, new]).success


@cases(150)
@given(wishes_for(dynamic), fleets())
def test_a_result_that_is_there_is_kept(wish: Request, fleet: list[Object]) -> None:
    """What was divided is not moved by deciding again: nothing is scaled, and the room that it takes is taken."""
    first = decided(wish, fleet)
    if not first.success:
        return
    targets = dict(first.targets or {})
    left = []
    for obj in fleet:
        taken = targets.get(obj["metadata"]["name"], 0) - wish.current.get(obj["metadata"]["name"], 0)
        summary = {"allocatable": {"cpu": str(max(0, room(obj) - taken)), "pods": "110"}}
        left.append({**obj, "status": {**obj["status"], "resourceSummary": summary}})
    again = Request(
        **{f: getattr(wish, f) for f in Request.__slots__ if f not in ("current", "fresh")},
        current=targets,
        fresh=False,
    )
    assert decided(again, left).targets == targets
