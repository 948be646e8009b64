"""The queue: deduplicated, urgent first, fair, spaced, backing off. The clock is a variable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
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


def test_higher_priority_goes_first_but_not_before_what_is_more_urgent() -> None:
    priority = {"low": -5, "high": 1000}
    queue = Queue(Clock(), priority=lambda item: priority.get(item.key.name, 0))
    for name in ("low", "none", "high"):
        queue.add(item(name), Urgency.RESYNC)
    queue.add(item("user"), Urgency.USER)
    assert drain(queue) == ["user", "high", "none", "low"]


def test_a_new_priority_counts_when_the_item_is_added_again() -> None:
    priority = Counter[str]()
    queue = Queue(Clock(), priority=lambda item: priority[item.key.name])
    for name in "abc":
        queue.add(item(name))
    priority["c"], priority["a"] = 1, -1
    queue.add(item("c"))
    queue.add(item("a"))
    assert drain(queue) == ["c", "b", "a"]


def test_distant_wishes_that_were_overtaken_do_not_pile_up() -> None:
    clock = Clock()
    queue = Queue(clock)
    for _ in range(10_000):
        queue.add(item("x"), after_seconds=300)
        queue.add(item("x"))
        assert drain(queue) == ["x"]
        clock.now += 0.01
    assert len(queue) == 0 and len(queue._timers) <= 1_001


# --- algebra -------------------------------------------------------------------------------------------------

_items = st.builds(item, st.sampled_from("xyz"), st.sampled_from("abc"), st.sampled_from("pq"))
_urgencies = st.sampled_from(Urgency)
_actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), _items, _urgencies, st.sampled_from([0.0, 0.0, 1.0, 5.0])),
        st.tuples(st.just("pop"), _items, _urgencies, st.just(0.0)),
        st.tuples(st.just("done"), _items, _urgencies, st.just(0.0)),
        st.tuples(st.just("wait"), _items, _urgencies, st.sampled_from([0.5, 1.0, 5.0])),
        st.tuples(st.just("raise"), _items, _urgencies, st.sampled_from([-1.0, 0.0, 1.0])),
    ),
    max_size=60,
)


@dataclass
class Wish:
    """What the model knows of an item: that it is to run, at which time, how urgently and with which priority."""

    due: float
    urgency: Urgency
    priority: int


@cases(300)
@given(_actions)
def test_nothing_is_lost_nothing_runs_twice_and_the_order_holds(
    actions: list[tuple[str, Item, Urgency, float]],
) -> None:
    clock, priority = Clock(), Counter[Item]()
    queue = Queue(clock, priority=lambda item: priority[item])
    wishes: dict[Item, Wish] = {}
    running: list[Item] = []

    def ready() -> dict[Item, Wish]:
        return {at: w for at, w in wishes.items() if w.due <= clock.now and at not in running}

    def pop() -> None:
        may = ready()
        best = min(may.values(), key=lambda w: (w.urgency, -w.priority), default=None)
        found = queue.pop()
        if best is None:
            assert found is None
            return
        assert found is not None and found not in running
        assert (may[found].urgency, may[found].priority) == (best.urgency, best.priority)
        del wishes[found]
        running.append(found)

    def done() -> None:
        finished = running.pop(0)
        queue.done(finished)
        if finished in wishes and wishes[finished].due <= clock.now:
            wishes[finished].priority = priority[finished]

    for action, which, urgency, amount in actions:
        if action == "add":
            queue.add(which, urgency, amount)
            _wish(wishes, which, Wish(clock.now + amount, urgency, priority[which]), clock.now)
        elif action == "pop":
            pop()
        elif action == "done" and running:
            done()
        elif action == "wait":
            ripe = [at for at, w in wishes.items() if clock.now < w.due <= clock.now + amount]
            clock.now += amount
            queue.next_due()
            for at in ripe:
                wishes[at].priority = priority[at]
        elif action == "raise" and which not in ready():
            priority[which] = int(amount)
        assert len(queue) == len([at for at in wishes if at not in running])
    while wishes or running:
        if running:
            done()
        clock.now += 5.0
        for at in wishes:
            wishes[at].priority = priority[at]
        pop()
    assert queue.pop() is None and queue.next_due() is None and queue.running == 0


def _wish(wishes: dict[Item, Wish], item: Item, new: Wish, now: float) -> None:
    """An earlier or more urgent wish counts; a later one does not take anything back."""
    old = wishes.get(item)
    if old is None:
        wishes[item] = new
    elif old.due <= now:
        if new.due <= now:
            wishes[item] = Wish(old.due, min(old.urgency, new.urgency), new.priority)
    elif new.due < old.due:
        wishes[item] = new
    else:
        wishes[item] = Wish(old.due, min(old.urgency, new.urgency), new.priority)


@cases(200)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("pq")), min_size=1, max_size=60))
def test_between_two_of_one_namespace_each_other_that_waits_has_its_turn(
    added: list[tuple[str, str]],
) -> None:
    queue = Queue(Clock())
    for at, (space, controller) in enumerate(added):
        queue.add(item(str(at), space, controller))
    left = Counter(added)
    turns: list[tuple[str, str]] = []
    while (found := queue.pop()) is not None:
        lane = (found.key.namespace, found.controller)
        if lane in turns:
            since = turns[len(turns) - turns[::-1].index(lane) :]
            assert max(Counter(since).values(), default=0) <= 1, "nobody goes twice in between"
            assert set(since) >= set(left) - {lane}, "and nobody who waits is passed over"
        turns.append(lane)
        left[lane] -= 1
        left += Counter()
        queue.done(found)
    assert Counter(turns) == Counter(added)
