"""Who may do something next: so many in a time, in the order in which they asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.hub.controllers.turns import NEVER_SECONDS, Turns


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns = Turns[str](0.5)
    assert [turns.wait(name, 100.0) for name in "abc"] == [0.0, 2.0, 4.0]
    assert [turns.wait(name, 103.0) for name in "cba"] == [1.0, 0.0, 0.0], "a turn that came stays"
    turns.forget("a")
    assert turns.wait("a", 103.0) == 3.0, "at the end again"
    assert turns.wait("d", 200.0) == 0.0, "what nobody used is not saved up"


def test_no_rate_no_turns() -> None:
    turns = Turns[str](0)
    assert turns.wait("a", 1.0) == NEVER_SECONDS and len(turns) == 0


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
