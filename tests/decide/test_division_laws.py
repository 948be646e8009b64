"""What holds for every division of replicas, and every small one against the definition (Karmada 3.5)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.dividing import (
    AGGREGATED,
    DYNAMIC,
    EVEN,
    MOST,
    ODD,
    Fleet,
    Room,
    Webster,
    attempt,
    available,
    fleet,
    named,
    static,
    total,
)
from towline.hub.decide.scheduling.request import (
    UNLIMITED,
    strategy_of,
)
from towline.kube.names import fnv32a

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


# --- everything small, against the definition ---------------------------------------------------------------


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
