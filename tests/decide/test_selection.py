"""Selection by spread constraints: each rule of Karmada 3.4 with numbers worked out by hand, and what goes beyond."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.spreading import DIVIDED, DUPLICATED, STATIC, by, candidate, names, request, shuffled
from tests.decide.test_selection_oracle import LABEL, LIMITS, SCHEDULING, admissible, at_rest, fleets
from towline.hub.decide.scheduling.request import UNLIMITED, Candidate, Request, Unschedulable
from towline.hub.decide.scheduling.selection import fallback, groups, select


def refusal(wish: Request, fleet: Sequence[Candidate]) -> str:
    with pytest.raises(Unschedulable) as error:
        select(wish, fleet)
    return str(error.value)


# --- whether constraints count -------------------------------------------------------------------------------

FLEET = [candidate("m1", 3), candidate("m2", 1), candidate("m3", 2)]


@pytest.mark.parametrize(
    ("wish", "reasons"),
    [
        pytest.param(request(), {}, id="no constraint"),
        pytest.param(
            request(by("cluster", 1, 1), scheduling=STATIC, replicas=9),
            {"ignored": "static weights do not heed spread constraints"},
            id="static weights",
        ),
        pytest.param(
            request(by("region", 5), scheduling=STATIC, workload=False),
            {"ignored": "static weights do not heed spread constraints"},
            id="static weights and no workload",
        ),
    ],
)
def test_all_are_selected(wish: Request, reasons: Any) -> None:
    selection = select(wish, FLEET)
    assert (selection.chosen, selection.reasons) == (FLEET, reasons)


# --- by cluster only (a) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        ([candidate("a"), candidate("b", 9, tier=1, score=100)], "a"),
        ([candidate("a", 9), candidate("b", score=100)], "b"),
        ([candidate("a", 4), candidate("b", 3, current=2)], "b"),
        ([candidate("b", 4), candidate("a", 4)], "a"),
        ([candidate("b", UNLIMITED, current=2), candidate("a", UNLIMITED)], "a"),
    ],
    ids=["overflow tier first", "then score", "then available: free and held", "then name", "unlimited is the most"],
)  # fmt: skip
def test_clusters_rank_by(fleet: list[Candidate], expected: str) -> None:
    assert names(select(request(by("cluster", 1, 1), replicas=1), fleet)) == expected


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [((1, 2), "m1 m3"), ((2, 9), "m1 m2 m3"), ((2, 0), "m1 m2 m3"), ((0, 1), "m1"), ((0, 0), "m1 m2 m3")],
    ids=["the first maxGroups", "maxGroups above the fleet", "maxGroups 0 is no bound", "minGroups 0 is 1", "neither"],
)  # fmt: skip
def test_duplicated_by_cluster(bounds: tuple[int, int], expected: str) -> None:
    """Whether they have room does not count."""
    assert names(select(request(by("cluster", *bounds), replicas=100), FLEET)) == expected


SIX = [
    candidate("m1", 1, 300),
    candidate("m2", 4, 200),
    candidate("m3", 2, 100),
    candidate("m4", 3),
    candidate("m5", 3),
    candidate("m6", 2),
]


@pytest.mark.parametrize(
    ("replicas", "expected", "exchanged"),
    [
        pytest.param(7, "m1 m2 m3", [], id="the first fit: 1 + 4 + 2"),
        pytest.param(
            8, "m1 m2 m4", ["m3>m4"], id="the last is exchanged for the roomiest, the first of equals"
        ),
        pytest.param(10, "m2 m4 m5", ["m3>m4", "m1>m5"], id="then those before it; one with more room stays"),
    ],
)
def test_divided_by_cluster_exchanges_from_the_last_backwards(
    replicas: int, expected: str, exchanged: list[str]
) -> None:
    selection = select(request(by("cluster", 1, 3), replicas=replicas, scheduling=DIVIDED), SIX)
    assert names(selection) == expected
    assert [f"{swap['out']}>{swap['in']}" for swap in selection.reasons.get("exchanged", ())] == exchanged


def test_a_cluster_that_was_exchanged_may_come_back_for_an_earlier_one() -> None:
    fleet = [candidate("a", 1), candidate("b", 3, 100, tier=1), candidate("c", 9, tier=1)]
    assert names(select(request(by("cluster", 1, 2), replicas=12, scheduling=DIVIDED), fleet)) == "b c"


def test_divided_by_cluster_without_enough_room() -> None:
    assert refusal(request(by("cluster", 1, 3), replicas=11, scheduling=DIVIDED), SIX) == (
        "no enough resource when selecting 3 clusters: the roomiest have room for 10 of 11 replicas"
    )


def test_fewer_clusters_than_min_groups() -> None:
    assert refusal(request(by("cluster", 4)), FLEET) == (
        "the number of feasible clusters is less than spreadConstraint.MinGroups: 3 feasible, minGroups 4"
    )


def test_min_groups_above_max_groups() -> None:
    assert refusal(request(by("cluster", 3, 2)), FLEET) == (
        "the spread constraint by cluster cannot be met: minGroups 3 is above maxGroups 2"
    )


COMPONENTS = ({"name": "a", "replicas": 2}, {"name": "b", "replicas": 1})


@pytest.mark.parametrize(
    ("current", "expected"),
    [({}, "m2"), ({"m1": 0}, "m1")],
    ids=["one with room for a set", "the one that has it"],
)
def test_components_that_share_a_cluster_need_one_set(current: dict[str, int], expected: str) -> None:
    fleet = [candidate("m1", 0, 100), candidate("m2", 1), candidate("m3", 0)]
    wish = request(by("cluster", 1, 1), components=COMPONENTS, current=current, scheduling=DIVIDED)
    assert names(select(wish, fleet)) == expected


# --- by region and cluster (b) -------------------------------------------------------------------------------


def in_regions(**regions: str) -> list[Candidate]:
    """`eu="a3 b4+"`: clusters a and b with room for 3 and 4; + is a score of 100."""
    return [
        candidate(text[0], int(text[1:].rstrip("+")), 100 * text.endswith("+"), region=region)
        for region, texts in regions.items()
        for text in texts.split()
    ]


def scores(wish: Request, fleet: Sequence[Candidate]) -> dict[str, int]:
    return {
        group["name"]: group["score"] for group in select(wish, fleet).reasons["constraints"][0]["groups"]
    }


def test_duplicated_score_counts_clusters_with_room_for_all_and_adds_their_mean_score() -> None:
    fleet = in_regions(eu="a5+ b5 c4+", us="d9", ap="e1+")
    wish = request(by("region"), by("cluster"), replicas=5)
    assert scores(wish, fleet) == {"eu": 2050, "us": 1000, "ap": 0}


@pytest.mark.parametrize(
    ("replicas", "region", "cluster", "eu"),
    [
        pytest.param(6, 2, 1, 3 * 1000 + 200 // 2, id="share 3, from the first 2 of 3: at least 2 by region's minimum"),
        pytest.param(6, 1, 1, 6 * 1000 + 200 // 2, id="share 6, from the first 2"),
        pytest.param(6, 1, 3, 6 * 1000 + 200 // 3, id="at least 3 by cluster's minimum"),
        pytest.param(10, 2, 1, 5 * 1000 + 200 // 2, id="share 5"),
        pytest.param(11, 1, 1, 9 * 1000 + 200 // 3, id="no room for the share: what there is, the mean of all"),
        pytest.param(11, 2, 1, 6 * 1000 + 200 // 2, id="the share is rounded up"),
    ],
)  # fmt: skip
def test_divided_score(replicas: int, region: int, cluster: int, eu: int) -> None:
    fleet = in_regions(eu="a4+ b2+ c3", us="d20")
    wish = request(by("region", region), by("cluster", cluster), replicas=replicas, scheduling=DIVIDED)
    assert scores(wish, fleet)["eu"] == eu


@pytest.mark.parametrize(
    ("fleet", "region", "cluster", "expected"),
    [
        pytest.param(in_regions(eu="a9 b9", us="c9"), (1, 1), (1, 0), "a b", id="the largest score"),
        pytest.param(in_regions(eu="a9", us="b9 c1"), (1, 1), (1, 0), "b c", id="then the most clusters"),
        pytest.param(in_regions(us="b9", eu="a9"), (1, 1), (1, 0), "a", id="then by name"),
        pytest.param(in_regions(eu="a9", us="b9", ap="c9"), (2, 0), (1, 0), "a c", id="no more regions than needed"),
        # ap and eu first: one cluster each, 1000 each; us has 3 with room: 3000. Looked at: ap+eu+us, ap+us, eu+us, us.
        # The best sum is ap+eu+us; us alone starts it.
        pytest.param(in_regions(eu="a9", us="b9 c9 d9", ap="e9"), (1, 3), (3, 0), "b c d", id="the start that would do"),
        # eu+ap+us is 1100 + 1000 + 2000, and neither us nor us+eu alone hold 4.
        pytest.param(in_regions(eu="a9+", us="b9 c9", ap="d9"), (1, 3), (4, 0), "a b c d", id="all that are needed"),
        # Three clusters with room for none weigh 0, yet only they reach 3 clusters.
        pytest.param(in_regions(eu="a9", us="b0 c0 d0"), (1, 1), (3, 0), "b c d", id="enough clusters before the score"),
        pytest.param(in_regions(eu="a9 b9 c9", us="d9 e8"), (2, 2), (2, 2), "a d", id="the first of each region"),
        pytest.param(in_regions(eu="a9 b7 c6", us="d9 e8"), (2, 2), (2, 4), "a b d e", id="filled up by rank"),
        pytest.param(in_regions(eu="a9 b8", us="d9 e0+"), (2, 2), (2, 3), "a d e", id="score ranks before room"),
    ],
)  # fmt: skip
def test_duplicated_by_region(
    fleet: list[Candidate], region: tuple[int, int], cluster: tuple[int, int], expected: str
) -> None:
    wish = request(by("region", *region), by("cluster", *cluster), replicas=5)
    assert names(select(wish, fleet)) == expected


def test_divided_by_region_takes_the_regions_with_room_for_their_share() -> None:
    fleet = in_regions(eu="a4 b4", us="c3 d3", ap="e9")
    wish = request(by("region", 2, 2), by("cluster", 2), replicas=12, scheduling=DIVIDED)
    # The share is 6, of two clusters or more: eu and us 6000 each; ap has but one cluster, and room for 6 too.
    assert scores(wish, fleet) == {"ap": 6000, "eu": 6000, "us": 6000}
    assert names(select(wish, fleet)) == "a b c d"


@pytest.mark.parametrize(
    ("region", "cluster", "message"),
    [
        pytest.param(
            (3, 0), (1, 0),
            "the number of feasible regions is less than spreadConstraint.MinGroups: 2 feasible, minGroups 3",
            id="too few regions",
        ),
        pytest.param(
            (1, 1), (3, 0),
            "the number of clusters is less than the cluster spreadConstraint.MinGroups: "
            "at most 1 regions hold at most 2 clusters, minGroups 3",
            id="too few clusters in as many regions as may be",
        ),
        pytest.param(
            (1, 0), (4, 0),
            "the number of clusters is less than the cluster spreadConstraint.MinGroups: 3 feasible, minGroups 4",
            id="too few clusters",
        ),
        pytest.param(
            (2, 0), (1, 1),
            "the spread constraints cannot all be met: 2 regions need as many clusters, and the cluster constraint's "
            "maxGroups is 1",
            id="more regions than clusters",
        ),
    ],
)  # fmt: skip
def test_regions_that_cannot_be_had(region: tuple[int, int], cluster: tuple[int, int], message: str) -> None:
    fleet = in_regions(eu="a1 b1", us="c1")
    assert refusal(request(by("region", *region), by("cluster", *cluster)), fleet) == message


# --- beyond Karmada: room ------------------------------------------------------------------------------------


def test_clusters_of_the_regions_taken_are_exchanged_for_room() -> None:
    """By rank a and c, with room for 4; each region has room for its share of 5, so Karmada would stop there."""
    fleet = in_regions(eu="a2+ b3", us="c2+ d4")
    wish = request(by("region", 2, 2), by("cluster", 2, 2), replicas=6, scheduling=DIVIDED)
    selection = select(wish, fleet)
    assert names(selection) == "a d"
    assert selection.reasons["exchanged"] == [{"out": "c", "in": "d"}]


def test_an_exchange_keeps_every_region() -> None:
    fleet = in_regions(eu="a2 b9 c8", us="d1")
    wish = request(by("region", 2, 2), by("cluster", 2, 2), replicas=10, scheduling=DIVIDED)
    assert names(select(wish, fleet)) == "b d"


def test_other_regions_are_searched_when_the_best_have_too_little_room() -> None:
    """The share is 5: eu (score 100) and us look best, but have room for 5 and 5; 11 fit in us and ap only."""
    fleet = in_regions(eu="a5+", us="b5+", ap="c6")
    wish = request(by("region", 2, 2), by("cluster", 1, 0), replicas=10, scheduling=DIVIDED)
    assert names(select(wish, fleet)) == "a b"
    wish = request(by("region", 1, 1), by("cluster", 1, 2), replicas=8, scheduling=DIVIDED)
    fleet = in_regions(eu="a4 b3 c3+", us="d5 e3")
    assert scores(wish, fleet)["eu"] == 8033
    assert names(select(wish, fleet)) == "d e"
    assert select(wish, fleet).reasons["searched"] == "the best groups do not have enough room"


def test_regions_without_enough_room() -> None:
    fleet = in_regions(eu="a5", us="b4", ap="c4")
    wish = request(by("region", 2, 2), by("cluster", 1, 0), replicas=10, scheduling=DIVIDED)
    assert refusal(wish, fleet) == (
        "no enough resource when selecting 2 clusters: the best choice found has room for 9 of 10 replicas"
    )


# --- beyond Karmada: zone, provider, label, combinations -----------------------------------------------------


def place(name: str, where: str, room: int = 5, score: int = 0) -> Candidate:
    """`aws eu a,b 7`: provider, region, zones, value of the label."""
    provider, region, zones, rack = where.split()
    return candidate(
        name,
        room,
        score,
        provider=provider,
        region=region,
        zones=zones.replace(",", " "),
        labels={LABEL: rack},
    )


WORLD = [
    place("m1", "aws eu a 1", score=100),
    place("m2", "aws eu b 2"),
    place("m3", "aws us c 1"),
    place("m4", "gcp us d 2"),
    place("m5", "gcp ap e 3"),
]


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        pytest.param([by("zone", 2, 2), by("cluster")], "m1 m2", id="zone"),
        pytest.param([by("provider", 1, 1), by("cluster")], "m1 m2 m3", id="provider"),
        pytest.param([by(LABEL, 1, 1)], "m1 m3", id="label, without a constraint by cluster"),
        pytest.param([by(LABEL, 3), by("cluster", 1, 3)], "m1 m2 m5", id="label: the first of each value"),
        # aws (three with room) and its regions eu, us; then the first of each.
        pytest.param([by("provider", 1, 1), by("region", 2), by("cluster", 1, 2)], "m1 m3", id="regions of a provider"),
        # aws and gcp; of aws the best region is eu, of gcp us; the first of each, then filled up.
        pytest.param([by("provider", 2), by("region", 2), by("cluster", 2, 2)], "m1 m4", id="a region of each provider"),
        # us alone has both providers, and step 2 takes eu for aws and us for gcp, one too many: the search finds us.
        pytest.param([by("provider", 2), by("region", 1, 1), by("cluster", 2)], "m3 m4", id="the search, if a maximum is passed"),
        # eu for aws, us for gcp, ap as the third; of their zones a for aws, d for gcp (and us), e for ap.
        pytest.param([by("zone", 3), by("provider", 2, 2), by("region", 3, 3), by("cluster", 3, 3)], "m1 m4 m5", id="all fields"),
    ],
)  # fmt: skip
def test_combinations(constraints: list[Any], expected: str) -> None:
    selection = select(request(*constraints, replicas=5), WORLD)
    assert names(selection) == expected


def test_the_order_of_constraints_does_not_matter() -> None:
    constraints = [by("zone", 2), by("cluster", 2, 3), by("provider", 1, 2), by("region", 2, 2)]
    one, other = request(*constraints, replicas=5), request(*reversed(constraints), replicas=5)
    assert select(one, WORLD) == select(other, WORLD)


def test_a_cluster_of_several_zones_is_in_each_of_them() -> None:
    fleet = [place("m1", "aws eu a,b 1"), place("m2", "aws eu a 1", score=100), place("m3", "aws eu c 1")]
    assert names(select(request(by("zone", 2), by("cluster", 1, 1)), fleet)) == "m1"
    assert names(select(request(by("zone", 1, 1), by("cluster", 1, 0)), fleet)) == "m2"
    assert refusal(request(by("zone", 1, 1), by("cluster", 2)), fleet) == (
        "the spread constraints cannot all be met: no choice among 3 feasible clusters has "
        "1 to 1 zones, 2 or more clusters"
    )


def test_a_cluster_is_left_out_if_its_other_zones_are_too_many() -> None:
    fleet = [place("m1", "aws eu a 1"), place("m2", "aws eu a,b 1"), place("m3", "aws eu a 1")]
    selection = select(request(by("zone", 1, 1), by("cluster")), fleet)
    assert names(selection) == "m1 m3" and "searched" not in selection.reasons


def test_a_cluster_without_the_property_is_not_taken() -> None:
    fleet = [candidate("m1", 9, 100, region="eu"), candidate("m2", 1), candidate("m3", 1, labels={LABEL: ""})]
    assert names(select(request(by("region"), by("cluster")), fleet)) == "m1"
    assert names(select(request(by(LABEL)), fleet)) == "m3"
    assert refusal(request(by("zone", 2), by("cluster")), fleet) == (
        "the number of feasible zones is less than spreadConstraint.MinGroups: 0 feasible, minGroups 2"
    )
    assert f"feasible values of label {LABEL} is less" in refusal(request(by(LABEL, 2)), fleet)


def test_constraints_that_exclude_each_other() -> None:
    wish = request(by("provider", 1, 1), by("region", 3), by("cluster", 3))
    assert refusal(wish, WORLD) == (
        "the spread constraints cannot all be met: no choice among 5 feasible clusters has "
        "1 to 1 providers, 3 or more regions, 3 or more clusters"
    )


def test_reasons_are_small_data() -> None:
    wish = request(by("provider", 1, 1), by("region", 2), by("cluster", 1, 2), replicas=5)
    reasons = select(wish, WORLD).reasons
    assert json.loads(json.dumps(reasons)) == reasons
    assert reasons == {
        "constraints": [
            {"by": "provider", "minGroups": 1, "maxGroups": 1, "feasible": 2, "chosen": 1, "groups": [
                {"name": "aws", "score": 3033, "clusters": 3, "chosen": True},
                {"name": "gcp", "score": 2000, "clusters": 2, "chosen": False},
            ]},
            {"by": "region", "minGroups": 2, "feasible": 2, "chosen": 2, "groups": [
                {"name": "eu", "score": 2050, "clusters": 2, "chosen": True},
                {"name": "us", "score": 1000, "clusters": 1, "chosen": True},
            ]},
            {"by": "cluster", "minGroups": 1, "maxGroups": 2, "feasible": 5, "chosen": 2},
        ]
    }  # fmt: skip


# --- work is bounded -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("regions", [40, 1000], ids=["exactly", "beyond COMBINATION_STEPS"])
def test_few_large_regions_are_found_among_many_small_ones(regions: int) -> None:
    """Two regions, 40 clusters: only r0 and r1 hold 20 each; all others hold one, with room, and score more."""
    fleet = [candidate(f"a{at}", 1, region=f"r{at % 2}") for at in range(40)]
    fleet += [candidate(f"b{at}", 5, region=f"s{at}") for at in range(regions - 2)]
    assert (regions * 2 * 40 > groups.COMBINATION_STEPS) == (regions == 1000)
    selection = select(request(by("region", 1, 2), by("cluster", 40), replicas=5), fleet)
    assert [c.member.place.region for c in selection.chosen].count("r1") == 20
    assert len(selection.chosen) == 40


def test_a_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far too many pairs of providers and regions to try."""
    monkeypatch.setattr(fallback, "SEARCH_STEPS", 100)
    fleet = [candidate(f"m{at:03}", at % 5, region=f"r{at % 60}", provider=f"p{at % 7}") for at in range(300)]
    wish = request(
        by("provider", 2, 2), by("region", 1, 3), by("cluster", 1, 7), replicas=24, scheduling=DIVIDED
    )
    assert "no enough resource when selecting" in refusal(wish, fleet)


# --- properties ----------------------------------------------------------------------------------------------

CONSTRAINTS = st.dictionaries(
    st.sampled_from(["provider", "region", "zone", LABEL, "cluster"]), LIMITS, min_size=1, max_size=4
).map(lambda limits: [by(field, *bounds) for field, bounds in limits.items()])


@cases(300)
@given(fleets(), CONSTRAINTS, SCHEDULING, st.integers(0, 8), st.integers(1, 6))
def test_minima_and_maxima_hold_and_the_order_of_candidates_does_not_matter(
    fleet: list[Candidate], constraints: list[Any], scheduling: Any, replicas: int, turn: int
) -> None:
    wish = request(*constraints, replicas=replicas, scheduling=scheduling)
    try:
        chosen = select(wish, fleet).chosen
    except Unschedulable as error:
        assert refusal(wish, shuffled(fleet, turn)) == str(error)
        return
    assert admissible(wish, chosen) and all(c in fleet for c in chosen)
    assert sorted(select(wish, shuffled(fleet, turn)).chosen, key=lambda c: c.name) == sorted(
        chosen, key=lambda c: c.name
    )


@cases(300)
@given(fleets(), CONSTRAINTS, SCHEDULING, st.integers(0, 8), st.booleans())
def test_what_is_not_divided_stays_where_it_is(
    fleet: list[Candidate], constraints: list[Any], scheduling: Any, replicas: int, workload: bool
) -> None:
    """It is scheduled again at every change; all that its first scheduling changes is that its targets are ahead."""
    scheduling = DUPLICATED if workload else scheduling
    wish = request(*constraints, replicas=replicas, scheduling=scheduling, workload=workload)
    fleet = at_rest(fleet, set())
    try:
        chosen = {c.name for c in select(wish, fleet).chosen}
    except Unschedulable:
        return
    again = replace(wish, current=dict.fromkeys(chosen, replicas))
    assert {c.name for c in select(again, at_rest(fleet, chosen)).chosen} == chosen


def test_a_choice_that_would_not_stay_is_not_made() -> None:
    """Both values score 2000 and 1 is in front: 1 and 2 together hold three clusters. Once targets, 2 is in front and enough."""
    fleet = [candidate(f"m{at}", 5, labels={LABEL: rack}) for at, rack in enumerate("1221", 1)]
    fleet.append(candidate("m5", 0, labels={LABEL: "2"}))
    wish = request(by(LABEL, 1, 2), by("cluster", 3, 3), replicas=5)
    assert names(select(wish, fleet)) == "m2 m3 m5"


def test_a_group_that_keeps_but_one_of_its_targets_is_judged_as_it_will_be() -> None:
    """eu scores 2100 while both its clusters are targets, but one may stay: 2050, less than us."""
    fleet = in_regions(eu="a9+ b9+", us="c9 d9")
    fleet = [c._replace(score=60) if c.name in "cd" else c for c in fleet]
    wish = request(by("region", 1, 1), by("cluster", 1, 1), replicas=5, current={"a": 5, "b": 5})
    assert names(select(wish, fleet)) == "c"


@cases(300)
@given(fleets(), fleets(), CONSTRAINTS, SCHEDULING, st.integers(0, 8))
def test_another_candidate_never_makes_a_selection_fail(
    fleet: list[Candidate], others: list[Candidate], constraints: list[Any], scheduling: Any, replicas: int
) -> None:
    wish = request(*constraints, replicas=replicas, scheduling=scheduling)
    other = others[0]
    more = [*fleet, candidate("new", 5, 100, **_where(other))]
    try:
        select(wish, fleet)
    except Unschedulable:
        return
    select(wish, more)


def _where(cluster: Candidate) -> dict[str, Any]:
    at = cluster.member.place
    return {"provider": at.provider, "region": at.region, "zones": " ".join(at.zones), "labels": at.labels}


def test_duplicated_is_the_default() -> None:
    assert names(select(request(by("cluster", 1, 1), scheduling=None), FLEET)) == names(
        select(request(by("cluster", 1, 1), scheduling=DUPLICATED), FLEET)
    )
