"""Who may do something next: so many in a time, in the order in which they asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.hub.controllers.turns import NEVER_SECONDS, Turns


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns = Turns[str](0.5)
    assert [turns.wait(name, 100.0) for name in "abc"] == [0.0, 2.0, 4.0]
    assert [turns.left(name, 101.0) for name in "abcx"] == [0.0, 1.0, 3.0, None], "to look takes no place"
    assert [turns.wait(name, 103.0) for name in "cba"] == [1.0, 0.0, 0.0], "a turn that came stays"
    turns.forget("a")
    assert turns.wait("a", 103.0) == 3.0, "at the end again"
    assert turns.wait("d", 200.0) == 0.0, "what nobody used is not saved up"


def test_who_begins_lets_nobody_through_before_a_turn_is_over() -> None:
    turns = Turns[str](0.5)
    turns.begin(100.0)
    assert [turns.wait(name, 100.5) for name in "ab"] == [1.5, 3.5]
    turns.begin(101.0)
    assert turns.left("b", 101.0) is None and turns.wait("b", 101.0) == 2.0, "nobody stands in the queue"
    assert turns.wait("c", 200.0) == 0.0


@cases(50)
@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=20))
def test_hubs_that_start_again_and_again_let_no_more_through(lives: list[float]) -> None:
    """Each asks as often as it can, and forgets all of it."""
    now, done = 0.0, 0
    for seconds in lives:
        turns, end = Turns[int](1.0), now + seconds
        turns.begin(now)
        while now + (wait := turns.wait(done, now)) < end:
            now, done = now + wait, done + 1
        now = end
    assert done <= now


def test_no_rate_no_turns() -> None:
    turns = Turns[str](0)
    assert turns.wait("a", 1.0) == NEVER_SECONDS and len(turns) == 0
    assert turns.left("a", 1.0) == float("inf")


@cases(50)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 3)), max_size=30))
def test_never_more_than_the_rate(asked: list[tuple[int, float]]) -> None:
    turns, now, done = Turns[int](1.0), 0.0, []
    for who, later in asked:
        now += later
        if not turns.wait(who, now):
            turns.forget(who)
            done.append(now)
    for at, first in enumerate(done):
        within = [moment for moment in done[at:] if moment - first < 5.0]
        assert len(within) <= 11, (
            "five seconds hold five turns, and what had come before and was not taken yet"
        )
