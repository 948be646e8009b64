"""Selection against an oracle that tries everything, on small fleets.

The oracle is written from Karmada's rules (3.4) alone: all subsets for what is possible at all, and its steps, spelled
out, for the result where Karmada defines one. Where that result lacks room (which Karmada does not look at) or passes the
clusters' maximum, the oracle only asks that any possible choice is found. What is not divided is scheduled again at every change;
there the oracle goes on until the result stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.spreading import DIVIDED, DUPLICATED, by, candidate, request
from towline.hub.decide.scheduling.request import Candidate, Request, Unschedulable
from towline.hub.decide.scheduling.selection import select

LABEL = "example.com/rack"

# --- what is possible ----------------------------------------------------------------------------------------


def groups_of(cluster: Candidate, constraint: dict[str, Any]) -> set[str]:
    place = cluster.member.place
    match constraint.get("spreadByField"):
        case None:
            return {place.labels[LABEL]} if LABEL in place.labels else set()
        case "cluster":
            return {place.name}
        case "region":
            return {place.region}
        case "provider":
            return {place.provider}
        case _:
            return set(place.zones)


def bounds(constraint: dict[str, Any]) -> tuple[int, int]:
    return constraint.get("minGroups") or 1, constraint.get("maxGroups") or 1000


def divided(wish: Request) -> bool:
    return bool(wish.placement["replicaScheduling"] == DIVIDED)


def admissible(wish: Request, chosen: Sequence[Candidate]) -> bool:
    for constraint in wish.placement["spreadConstraints"]:
        if not all(groups_of(cluster, constraint) for cluster in chosen):
            return False
        used = set().union(*(groups_of(cluster, constraint) for cluster in chosen))
        fewest, most = bounds(constraint)
        if not fewest <= len(used) <= most:
            return False
    return not divided(wish) or sum(c.available for c in chosen) >= wish.replicas


def subsets(fleet: Sequence[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    return chain.from_iterable(combinations(fleet, size) for size in range(1, len(fleet) + 1))


# --- what Karmada would choose -------------------------------------------------------------------------------


def ranked(fleet: Sequence[Candidate]) -> list[Candidate]:
    return sorted(fleet, key=lambda c: (c.tier, -c.score, -c.available, c.name))


def karmada(wish: Request, fleet: Sequence[Candidate]) -> list[Candidate] | None:
    """Karmada's choice with a constraint by cluster and at most one other, None for its errors."""
    constraints = wish.placement["spreadConstraints"]
    clusters = next(bounds(c) for c in constraints if c.get("spreadByField") == "cluster")
    others = [c for c in constraints if c.get("spreadByField") != "cluster"]
    if not others:
        return by_cluster(wish, fleet, *clusters)
    return by_region(wish, fleet, others[0], clusters)


def settled(wish: Request, fleet: Sequence[Candidate]) -> set[str] | None:
    """The names of Karmada's choice, once it stays. None where there is none, or none that will do."""
    present = set(wish.current)
    while True:
        expected = karmada(wish, fleet)
        if not expected or not admissible(wish, expected):
            return None
        names = {c.name for c in expected}
        if divided(wish) or names == present:
            return names
        present = names
        fleet = at_rest(fleet, names)


def at_rest(fleet: Sequence[Candidate], targets: set[str]) -> list[Candidate]:
    """The candidates of the next scheduling: all that changes is that the targets are ahead."""
    return [c._replace(score=100 * (c.name in targets)) for c in fleet]


def by_cluster(wish: Request, fleet: Sequence[Candidate], fewest: int, most: int) -> list[Candidate] | None:
    if len(fleet) < fewest:
        return None
    order = ranked(fleet)
    chosen = order[:most]
    if not divided(wish):
        return chosen
    for position in reversed(range(len(chosen))):
        if sum(c.available for c in chosen) >= wish.replicas:
            break
        unselected = [c for c in order if c not in chosen]
        if unselected:
            largest = max(unselected, key=lambda c: c.available)
            if largest.available > chosen[position].available:
                chosen[position] = largest
    return chosen if sum(c.available for c in chosen) >= wish.replicas else None


def by_region(
    wish: Request, fleet: Sequence[Candidate], constraint: dict[str, Any], clusters: tuple[int, int]
) -> list[Candidate] | None:
    fewest, most = bounds(constraint)
    regions: dict[str, list[Candidate]] = {}
    for cluster in ranked(fleet):
        for name in groups_of(cluster, constraint):
            regions.setdefault(name, []).append(cluster)
    if len(regions) < fewest:
        return None
    weight = {name: region_score(wish, held, fewest, clusters[0]) for name, held in regions.items()}
    value = {name: len(held) for name, held in regions.items()}
    order = sorted(regions, key=lambda name: (value[name], -weight[name], name))
    paths: list[list[str]] = []

    def walk(path: list[str], begin: int) -> None:
        if fewest <= len(path) <= most and sum(value[name] for name in path) >= clusters[0]:
            paths.append(path)
        elif len(path) < most:
            for at in range(begin, len(order)):
                walk([*path, order[at]], at + 1)

    walk([], 0)
    if not paths:
        return None
    best = max(paths, key=lambda path: (sum(weight[n] for n in path), sum(value[n] for n in path)))
    by_weight = [sorted(path, key=lambda name: -weight[name]) for path in paths]
    best = sorted(best, key=lambda name: -weight[name])
    best = min((path for path in by_weight if best[: len(path)] == path), key=len)
    chosen = [regions[name][0] for name in best]
    rest = ranked([c for name in best for c in regions[name][1:]])
    return chosen + rest[: max(0, clusters[1] - len(chosen))]


def region_score(wish: Request, held: Sequence[Candidate], region_fewest: int, cluster_fewest: int) -> int:
    if not divided(wish):
        valid = [c for c in held if c.available >= wish.replicas]
        return 1000 * len(valid) + sum(c.score for c in valid) // len(valid) if valid else 0
    share = (wish.replicas + region_fewest - 1) // region_fewest
    walked: list[Candidate] = []
    for cluster in held:
        walked.append(cluster)
        if len(walked) >= max(cluster_fewest, region_fewest) and sum(c.available for c in walked) >= share:
            break
    room = sum(c.available for c in walked)
    if room < share:
        return 1000 * room + sum(c.score for c in held) // len(held)
    return 1000 * share + sum(c.score for c in walked) // len(walked)


# --- the comparison ------------------------------------------------------------------------------------------


def compare(wish: Request, fleet: Sequence[Candidate], *, defined: bool) -> None:
    """A score is that of a present target."""
    wish = replace(wish, current={c.name: c.current for c in fleet if c.score})
    try:
        chosen = list(select(wish, fleet).chosen)
    except Unschedulable as error:
        assert str(error)
        assert not any(admissible(wish, some) for some in subsets(fleet)), str(error)
        return
    assert len({c.name for c in chosen}) == len(chosen) and all(c in fleet for c in chosen)
    assert admissible(wish, chosen)
    if defined and (expected := settled(wish, fleet)):
        assert sorted(c.name for c in chosen) == sorted(expected)


def partitions(size: int) -> Iterator[list[int]]:
    """Every way to put `size` clusters in regions, as the region's number for each."""
    if size == 0:
        yield []
        return
    for front in partitions(size - 1):
        for region in range(max(front, default=-1) + 2):
            yield [*front, region]


REGIONS = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 2), (2, 3), (3, 0), (3, 4)]
CLUSTERS = [(1, 0), (1, 2), (2, 2), (2, 3), (3, 0), (3, 4), (4, 0), (5, 6)]
ROOMS = [3, 1, 4, 1, 5, 0, 2, 6, 5, 3, 0, 8, 2, 7]
SCORES = [0, 100, 0, 0, 100]


@pytest.mark.parametrize("scheduling", [DUPLICATED, DIVIDED], ids=["duplicated", "divided"])
@pytest.mark.parametrize("size", range(1, 7))
def test_every_small_fleet_in_regions(size: int, scheduling: dict[str, Any]) -> None:
    """All partitions into regions with every second pair of bounds; rooms, scores and replicas take turns."""
    turn = 0
    for regions in partitions(size):
        for row, region in enumerate(REGIONS):
            for clusters in CLUSTERS[(row + sum(regions)) % 2 :: 2]:
                turn += 1
                fleet = [
                    candidate(
                        f"m{at}",
                        ROOMS[(turn + at * 3) % len(ROOMS)],
                        SCORES[(turn // 3 + at) % len(SCORES)],
                        region=f"r{number}",
                    )
                    for at, number in enumerate(regions)
                ]
                wish = request(
                    by("region", *region),
                    by("cluster", *clusters),
                    replicas=1 + turn % 8,
                    scheduling=scheduling,
                )
                compare(wish, fleet, defined=True)


@pytest.mark.parametrize("scheduling", [DUPLICATED, DIVIDED], ids=["duplicated", "divided"])
def test_every_small_fleet_by_cluster_only(scheduling: dict[str, Any]) -> None:
    for turn in range(400):
        fleet = [
            candidate(f"m{at}", ROOMS[(turn + at * 5) % len(ROOMS)], SCORES[(turn // 2 + at) % len(SCORES)])
            for at in range(1 + turn % 6)
        ]
        for clusters in CLUSTERS:
            wish = request(by("cluster", *clusters), replicas=1 + turn % 8, scheduling=scheduling)
            compare(wish, fleet, defined=True)


@st.composite
def fleets(draw: st.DrawFn) -> list[Candidate]:
    return [
        candidate(
            f"m{at}",
            draw(st.integers(0, 5)),
            draw(st.sampled_from([0, 0, 100])),
            tier=draw(st.sampled_from([0, 0, 0, 1])),
            current=draw(st.sampled_from([0, 0, 2])),
            provider=draw(st.sampled_from("pq")),
            region=draw(st.sampled_from("rst")),
            zones=" ".join(draw(st.lists(st.sampled_from("xyz"), min_size=1, max_size=2, unique=True))),
            labels=draw(st.sampled_from([{LABEL: "1"}, {LABEL: "2"}, {LABEL: "3"}, {}])),
        )
        for at in range(draw(st.integers(1, 6)))
    ]


LIMITS = st.sampled_from([(0, 0), (1, 1), (1, 2), (2, 0), (2, 2), (2, 3), (3, 0), (3, 3), (4, 5)])
SCHEDULING = st.sampled_from([DUPLICATED, DIVIDED])


@cases(300)
@given(fleets(), st.sampled_from(["region", "provider"]), LIMITS, LIMITS, SCHEDULING, st.integers(0, 8))
def test_one_level_is_chosen_as_karmada_chooses_regions(
    fleet: list[Candidate], field: str, limits: Any, clusters: Any, scheduling: Any, replicas: int
) -> None:
    wish = request(by(field, *limits), by("cluster", *clusters), replicas=replicas, scheduling=scheduling)
    compare(wish, fleet, defined=True)


@cases(400)
@given(
    fleets(),
    st.dictionaries(
        st.sampled_from(["provider", "region", "zone", LABEL, "cluster"]), LIMITS, min_size=1, max_size=5
    ),
    SCHEDULING,
    st.integers(0, 8),
)
def test_a_choice_is_found_whenever_there_is_one(
    fleet: list[Candidate], limits: dict[str, Any], scheduling: Any, replicas: int
) -> None:
    constraints = [by(field, *bounds) for field, bounds in limits.items()]
    compare(request(*constraints, replicas=replicas, scheduling=scheduling), fleet, defined=False)
