"""What fell short is tried again when something helps, and not in a storm. The clock is a variable."""

from __future__ import annotations

import pytest

from towline.hub.controllers.queue import Item
from towline.hub.controllers.waiting import ATTEMPTS_A_SECOND, RETRY_SECONDS, Waiting
from towline.kube.objects import Key


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def item(name: str) -> Item:
    return Item("c", Key("", "things", "a", name))


CAPACITY, TAINT = frozenset({"capacity"}), frozenset({"taint"})


def test_only_those_are_woken_whom_it_can_help() -> None:
    waiting = Waiting(Clock())
    waiting.decided(item("x"), CAPACITY)
    waiting.decided(item("y"), TAINT)
    waiting.decided(item("z"), CAPACITY | TAINT)
    assert list(waiting.helped({"label"})) == []
    assert list(waiting.helped({"taint", "label"})) == [item("y"), item("z")]
    assert list(waiting.helped(CAPACITY)) == [item("x")] and not waiting


def test_what_was_woken_costs_nothing_until_it_fell_short_again() -> None:
    waiting = Waiting(Clock())
    waiting.decided(item("x"), CAPACITY)
    assert (waiting.unschedulable, waiting.backing_off) == (1, 0)
    assert waiting.helped(CAPACITY) and not waiting.helped(CAPACITY)
    assert (waiting.unschedulable, waiting.backing_off) == (0, 1)
    waiting.decided(item("x"), CAPACITY)
    assert waiting.helped(CAPACITY)


def test_what_is_placed_waits_no_more_and_starts_anew() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    for _ in range(3):
        clock.now += 100
        waiting.decided(item("x"), CAPACITY)
    waiting.decided(item("x"), frozenset())
    assert not waiting.helped(CAPACITY) and waiting.unschedulable == 0
    waiting.decided(item("x"), CAPACITY)
    assert waiting.helped(CAPACITY) == {item("x"): 1.0}


def test_the_more_important_sits_out_no_longer_backoff_than_the_less_important() -> None:
    clock = Clock()
    waiting = Waiting(clock, priority={item("high"): 5, item("low"): 1, item("last"): 0}.__getitem__)
    for _ in range(3):
        clock.now += 100
        waiting.decided(item("high"), CAPACITY)
    assert waiting.helped(CAPACITY) == {item("high"): 4.0}
    waiting.decided(item("low"), CAPACITY)
    assert waiting.helped(CAPACITY) == {item("low"): 1.0, item("high"): 1.0}
    clock.now += 0.5
    waiting.decided(item("last"), CAPACITY)
    assert waiting.helped(CAPACITY) == {item("last"): 1.0}, "the others are due before it"
    assert waiting.backing_off == 3


def test_the_less_important_stands_back_while_the_more_important_is_at_it() -> None:
    clock = Clock()
    waiting = Waiting(clock, priority={item("high"): 5, item("low"): 1}.__getitem__)
    for name in ("high", "low"):
        waiting.decided(item(name), CAPACITY)
    clock.now += 10
    waiting.helped(CAPACITY)
    assert waiting.stands_back(item("low")) and not waiting.stands_back(item("high"))
    waiting.asks(item("high"), CAPACITY)
    assert waiting.released() == {} and waiting.stands_back(item("low"))
    waiting.helped(CAPACITY)  # too late for the answers that come
    waiting.decided(item("high"), CAPACITY)
    assert waiting.released() == {item("low"): 0.0}, "what never fits starves nobody"
    assert not waiting.stands_back(item("low")) and not waiting.stands_back(item("new"))


def test_what_is_rare_does_not_wait_for_the_backoff() -> None:
    waiting = Waiting(Clock())
    waiting.decided(item("x"), CAPACITY | TAINT)
    assert waiting.helped(CAPACITY) == {item("x"): 1.0}, "there is more room somewhere all the time"
    assert waiting.helped(CAPACITY | TAINT) == {item("x"): 0.0}, "somebody took a taint away"
    assert not waiting.helped(CAPACITY | TAINT)


def test_a_storm_of_rare_changes_does() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    for at in range(3 * ATTEMPTS_A_SECOND):
        waiting.decided(item(str(at)), TAINT)
    at_once = [seconds for seconds in waiting.helped(TAINT).values() if not seconds]
    assert len(at_once) == ATTEMPTS_A_SECOND
    for at in range(3 * ATTEMPTS_A_SECOND):
        waiting.decided(item(str(at)), TAINT)
    clock.now += 0.5
    assert len([s for s in waiting.helped(TAINT).values() if not s]) == ATTEMPTS_A_SECOND / 2


def test_attempts_are_1_2_4_8_and_then_10_seconds_apart() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    pauses = []
    for _ in range(6):
        waiting.decided(item("x"), CAPACITY)
        pauses.append(waiting.helped(CAPACITY)[item("x")])
        clock.now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_change_that_comes_late_wakes_at_once() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    waiting.decided(item("x"), CAPACITY)
    clock.now += 7
    assert waiting.helped(CAPACITY) == {item("x"): 0.0}


def test_deciding_again_within_the_backoff_does_not_make_it_longer() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    waiting.decided(item("x"), CAPACITY)
    clock.now += 0.25
    waiting.decided(item("x"), CAPACITY)
    assert waiting.helped(CAPACITY) == {item("x"): 0.75}


@pytest.mark.parametrize(
    ("many", "first", "last"),
    [(10, 1.0, 10.0), (2 * ATTEMPTS_A_SECOND, 2.0, 10.0), (50 * ATTEMPTS_A_SECOND, 50.0, 50.0)],
)
def test_many_that_wait_try_more_rarely(many: int, first: float, last: float) -> None:
    clock = Clock()
    waiting = Waiting(clock)
    for at in range(many):
        waiting.decided(item(str(at)), CAPACITY)
    assert max(waiting.helped(CAPACITY).values()) == pytest.approx(first, abs=0.05)
    for _ in range(8):
        clock.now += 100
        for at in range(many):
            waiting.decided(item(str(at)), CAPACITY)
    assert set(waiting.helped(CAPACITY).values()) == {last}


def test_what_helps_between_question_and_answer_is_worth_another_attempt() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    waiting.asks(item("x"), CAPACITY)
    assert not waiting.helped(TAINT) and not waiting.helped(CAPACITY), "it will be decided anyway"
    assert waiting.decided(item("x"), CAPACITY) == 1.0, "but on answers that may be older"
    clock.now += 1
    waiting.asks(item("x"), CAPACITY)
    assert waiting.decided(item("x"), CAPACITY) == RETRY_SECONDS
    assert waiting.helped(CAPACITY) == {item("x"): 2.0}


def test_who_got_what_it_asked_for_waits_for_nothing() -> None:
    waiting = Waiting(Clock())
    waiting.asks(item("x"), CAPACITY)
    waiting.helped(CAPACITY)
    assert waiting.decided(item("x"), frozenset()) is None and not waiting and waiting.unschedulable == 0
