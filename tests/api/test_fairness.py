"""Who runs, who waits, who is refused: bounds hold, nobody starves, shares are fair."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from towline.hub.api.fairness import (
    EVERYBODY,
    EXEMPT,
    LEADER_ELECTION,
    Gate,
    Level,
    Levels,
    Ticket,
    cost,
    level_of,
)
from towline.hub.api.paths import Attributes
from towline.hub.api.user import User

LEVEL = Level(seats=8, flow_seats=5, queued=12, flow_queued=6, request_seats=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.sampled_from("abcd"), st.integers(1, 6)),
        st.tuples(st.just("leave"), st.integers(0, 99), st.just(0)),
    ),
    max_size=120,
)


@given(STEPS)
def test_bounds_hold_and_a_seat_is_never_lost(steps: list[tuple[str, str | int, int]]) -> None:
    levels = Levels({"l": LEVEL})
    held: list[Ticket] = []
    for what, which, seats in steps:
        before = [t.running for t in held]
        if what == "arrive":
            ticket = levels.arrive("l", (str(which), ""), seats)
            assert [t.running for t in held] == before, "an arrival lets in nobody else"
            if ticket is not None:
                held.append(ticket)
        elif held:
            gone = held.pop(int(which) % len(held))
            waited = [t for t in held if not t.running]
            admitted = levels.leave(gone)
            assert set(admitted) == {t for t in waited if t.running}, "who runs is told"
        running = [t for t in held if t.running]
        waiting = [t for t in held if not t.running]
        taken = sum(t.seats for t in running)
        assert levels.load("l") == (taken, len(waiting))
        assert taken <= LEVEL.seats and len(waiting) <= LEVEL.queued
        for flow in {t.flow for t in held}:
            assert sum(t.seats for t in running if t.flow == flow) <= LEVEL.flow_seats
            assert sum(t.flow == flow for t in waiting) <= LEVEL.flow_queued
    while held:
        running = [t for t in held if t.running]
        assert running, "with somebody waiting, somebody runs"
        held.remove(running[0])
        levels.leave(running[0])
    assert levels.load("l") == (0, 0)


@given(st.integers(1, 4), st.integers(1, 4))
def test_two_floods_get_equal_work_whatever_a_request_costs(cost_a: int, cost_b: int) -> None:
    levels = Levels({"l": Level(seats=8, flow_seats=8, queued=1000, flow_queued=1000, request_seats=4)})
    work = {"a": 0, "b": 0}
    held = [
        t
        for _ in range(200)
        for name, seats in (("a", cost_a), ("b", cost_b))
        if (t := levels.arrive("l", (name, ""), seats)) is not None
    ]
    running = [t for t in held if t.running]
    while all(sum(t.flow[0] == name for t in held if not t.running) for name in work):
        ended = running.pop(0)
        held.remove(ended)
        running += levels.leave(ended)
        work[ended.flow[0]] += ended.seats
        assert abs(work["a"] - work["b"]) <= 2 * 8 + 2 * 4


def test_one_who_comes_late_is_next_however_long_the_others_queue() -> None:
    levels = Levels({"l": Level(seats=2, flow_seats=2, queued=100, flow_queued=100)})
    flood = [levels.arrive("l", ("flood", ""), 1) for _ in range(50)]
    late = levels.arrive("l", ("late", ""), 1)
    assert flood[0] is not None and late is not None and not late.running
    assert levels.leave(flood[0]) == [late]


def test_administrators_and_leases_have_levels_of_their_own_and_lists_cost_by_their_objects() -> None:
    lease = Attributes("update", "", True, "coordination.k8s.io", "v1", "leases")
    pods = Attributes("list", "", True, "", "v1", "pods")
    assert level_of(User("admin", ("system:masters",)), lease) == EXEMPT
    assert level_of(User("controller"), lease) == LEADER_ELECTION
    assert level_of(User("someone"), pods) == EVERYBODY
    assert (cost(pods, 50, None), cost(pods, 500, None), cost(pods, 500, 100), cost(lease, 500, None)) == (
        1,
        6,
        2,
        1,
    )


async def test_who_waits_too_long_is_refused_and_who_leaves_frees_the_place() -> None:
    gate = Gate({"l": Level(seats=1, flow_seats=1, queued=2, flow_queued=2)}, queue_seconds=0.01)
    async with gate.seat("l", ("a", ""), 1) as entered:
        assert entered == ""
        async with gate.seat("l", ("b", ""), 1) as waited:
            assert waited == "time-out"

        async def wait() -> None:
            async with gate.seat("l", ("c", ""), 1):
                pass

        leaver = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert gate.levels.load("l") == (1, 1)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        assert gate.levels.load("l") == (1, 0)
    assert gate.levels.load("l") == (0, 0)
