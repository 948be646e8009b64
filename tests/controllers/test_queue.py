"""The queue: deduplicated, urgent first, fair, spaced, backing off. The clock is a variable."""

from __future__ import annotations

from towline.hub.controllers.queue import Item, Queue, Urgency
from towline.kube.objects import Key


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def item(name: str, namespace: str = "a", controller: str = "c") -> Item:
    return Item(controller, Key("", "things", namespace, name))


def drain(queue: Queue) -> list[str]:
    taken = []
    while (found := queue.pop()) is not None:
        taken.append(found.key.name)
        queue.done(found)
    return taken


def test_an_item_waits_once_however_often_it_is_added() -> None:
    queue = Queue(Clock())
    for _ in range(3):
        queue.add(item("x"))
    assert len(queue) == 1 and drain(queue) == ["x"] and queue.next_due() is None


def test_what_is_added_while_it_runs_runs_again_afterwards_and_not_before() -> None:
    queue = Queue(Clock())
    queue.add(item("x"))
    running = queue.pop()
    assert running is not None
    queue.add(item("x"))
    queue.add(item("x"))
    assert queue.pop() is None
    queue.done(running)
    assert drain(queue) == ["x"]


def test_users_go_before_reports_and_reports_before_resyncs() -> None:
    queue = Queue(Clock())
    queue.add(item("resync"), Urgency.RESYNC)
    queue.add(item("report"), Urgency.REPORT)
    queue.add(item("user"), Urgency.USER)
    assert drain(queue) == ["user", "report", "resync"]


def test_a_more_urgent_wish_moves_an_item_up() -> None:
    queue = Queue(Clock())
    for name in "abc":
        queue.add(item(name), Urgency.RESYNC)
    queue.add(item("c"), Urgency.USER)
    queue.add(item("c"), Urgency.RESYNC)
    assert drain(queue) == ["c", "a", "b"]


def test_namespaces_take_turns() -> None:
    queue = Queue(Clock())
    for name in ("a1", "a2", "a3"):
        queue.add(item(name, "a"))
    queue.add(item("b1", "b"))
    queue.add(item("c1", "a", "other"))
    assert drain(queue) == ["a1", "b1", "c1", "a2", "a3"]


def test_a_delayed_item_ripens_and_the_earliest_wish_counts() -> None:
    clock = Clock()
    queue = Queue(clock)
    queue.add(item("x"), after_seconds=10)
    queue.add(item("x"), after_seconds=2)
    queue.add(item("x"), after_seconds=5)
    assert drain(queue) == [] and queue.next_due() == 102.0
    clock.now = 102.0
    assert drain(queue) == ["x"] and queue.next_due() is None


def test_a_change_does_not_wait_for_a_delayed_wish() -> None:
    queue = Queue(Clock())
    queue.add(item("x"), after_seconds=30)
    queue.add(item("x"))
    assert drain(queue) == ["x"] and len(queue) == 0


def test_backoff_doubles_from_5_ms_to_a_minute_and_starts_again_after_success() -> None:
    clock = Clock()
    queue = Queue(clock)
    seconds = []
    for _ in range(16):
        queue.add(item("x"))
        clock.now += 100
        running = queue.pop()
        assert running is not None
        seconds.append(queue.retry(running))
        queue.done(running)
        clock.now += 100
    assert seconds[:4] == [0.005, 0.01, 0.02, 0.04] and seconds[-1] == 60.0
    queue.forget(item("x"))
    assert queue.retry(item("x")) == 0.005


def test_spacing_counts_from_the_last_run_that_asked_for_it() -> None:
    clock = Clock()
    queue = Queue(clock, lambda item: 0.25)
    queue.add(item("x"))
    running = queue.pop()
    assert running is not None
    queue.done(running)
    queue.add(item("x"))
    running = queue.pop()
    assert running is not None, "a run that wrote nothing does not delay the next"
    queue.add(item("x"))
    queue.done(running, spaced=True)
    assert queue.pop() is None and queue.next_due() == 100.25
    clock.now = 100.25
    assert drain(queue) == ["x"]


def test_a_first_retry_may_come_at_once_and_later_ones_wait() -> None:
    """A conflict is decided again at once; meeting it again and again must not keep a core busy."""
    clock = [100.0]
    queue = Queue(lambda: clock[0])
    item = Item("propagation", Key("apps", "deployments", "shop", "web"))
    pauses = []
    queue.add(item)
    for _ in range(4):
        assert queue.pop() == item
        pauses.append(queue.retry(item, first_at_once=True))
        queue.done(item)
        clock[0] += 1.0
    assert pauses[0] == 0.0 and pauses == sorted(pauses) and pauses[-1] > pauses[1] > 0.0
