"""Removals, suspension, the delete breaker, epochs, credit, identity: every rule of fleet.proto's comments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.session.pair import HUB, Pair, Phase, applied, known, manifest, removed, tombstone, work
from towline.agent.desired import Changed, Desired, HubSeen, Persist, Ref
from towline.agent.session import Closed, Configure, Trusting
from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.health import DELETE_LIMIT, EPOCH_REGRESSION, STORE_REPLACED
from towline.hub.decide.wire import Blocked, Conflict, WireWork
from towline.hub.gateway import effects
from towline.hub.gateway.breaker import Breaker, limit
from towline.hub.gateway.outbox import IN_FLIGHT_BATCHES_MAX
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import BUCKETS, EMPTY_DIGEST, HASH_BYTES

# --- removals ----------------------------------------------------------------------------------------------------


def test_a_removal_is_acknowledged_by_what_the_agent_did() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.put(tombstone("a"))
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None and row.removing and row.leftovers == (Ref("v1", "ConfigMap", "default", "a"),)
    assert not [r for r in pair.reports if r.phase == Phase.REMOVED]
    pair.finish_removals()
    pair.settle()
    assert [(r.name, r.phase, r.uid) for r in pair.reports] == [("a", Phase.REMOVED, "uid-a")]
    assert pair.desired.get("a") is None
    assert any(isinstance(e, Persist) and e.deleted == ("a",) for e in pair.agent_effects)


def test_a_lost_removed_report_is_asked_for_again() -> None:
    pair = Pair({"a": tombstone("a")})
    pair.settle()
    pair.finish_removals()
    assert pair.agent_sends()  # lost
    pair.connect()
    pair.settle()
    pair.finish_removals()
    pair.settle()
    assert [r.phase for r in pair.reports] == [Phase.REMOVED]


def test_an_agent_that_lost_its_disk_is_told_what_to_look_for() -> None:
    pair = Pair({"a": tombstone("a", preserve=True)})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None and row.preserve and row.leftovers == (Ref("v1", "ConfigMap", "default", "a"),)


def test_a_removal_that_was_taken_back_is_not_acknowledged() -> None:
    """Removed, wanted again, removed again: the first acknowledgement must not count for the last removal."""
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.put(tombstone("a", revision=20))
    pair.settle()
    pair.finish_removals()
    (first,) = pair.agent_sends()  # under way
    pair.put(work("a", revision=21))
    pair.hub_sends()
    pair.put(tombstone("a", revision=22))
    pair.hub_sends()
    pair.hub_gets(first)
    assert pair.reports == []
    pair.tick(10)
    pair.connect()
    pair.settle()
    pair.finish_removals()
    pair.settle()
    assert [r.phase for r in pair.reports] == [Phase.REMOVED]


def test_removed_for_a_work_that_is_wanted_again_is_dropped_and_it_comes_back() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.put(tombstone("a"))
    pair.settle()
    pair.finish_removals()
    pair.table["a"] = work("a", revision=30)
    for batch in pair.agent_sends():
        pair.hub_gets(batch)
    assert pair.reports == []
    pair.hub.works_changed({"a"})
    pair.settle()
    assert pair.holds == {"a"}


def test_an_upsert_takes_a_removal_back() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.put(tombstone("a"))
    pair.settle()
    pair.put(work("a", revision=30))
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None and not row.removing and row.leftovers == ()
    pair.report(removed("a"))
    assert pair.desired.get("a") is not None


def test_a_removal_is_said_to_be_done_only_when_the_disk_has_forgotten_the_work() -> None:
    """Or an agent that dies in between would make the objects again, of which the hub knows no more."""
    desired = Desired()
    changed = Changed()
    desired.remove(fleet.Removal(name="a", uid="u", revision=5), 1, "store", changed)
    persist = desired.report(fleet.Report(name="a", uid="u", phase=fleet.REMOVED))
    assert persist is not None and persist.deleted == ("a",)
    assert not desired.has_reports
    desired.durable(persist)
    assert [r.phase for r in desired.take_reports(1000)] == [fleet.REMOVED]


def test_a_work_that_comes_back_before_the_disk_forgot_it_is_not_said_to_be_gone() -> None:
    desired = Desired()
    desired.remove(fleet.Removal(name="a", uid="u", revision=5), 1, "store", Changed())
    persist = desired.report(fleet.Report(name="a", uid="u", phase=fleet.REMOVED))
    assert persist is not None
    desired.upsert(fleet.Work(name="a", uid="u", revision=6, hash=b"h" * 16), 1, "store", Changed())
    desired.durable(persist)
    assert not desired.has_reports


def test_a_failed_removal_is_reported_and_counts_in_no_digest() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.put(tombstone("a"))
    pair.settle()
    pair.report(fleet.Report(name="a", phase=fleet.FAILED, message="a webhook refuses"))
    pair.settle()
    assert [(r.phase, r.message) for r in pair.reports] == [(Phase.FAILED, "a webhook refuses")]
    assert len(pair.desired.digests) == 0


def test_objects_that_a_new_version_lacks_are_left_over() -> None:
    pair = Pair({"w": work("w", manifests=[manifest("a"), manifest("b")])})
    pair.settle()
    pair.put(work("w", revision=11, manifests=[manifest("b"), manifest("c")]))
    pair.settle()
    row = pair.desired.get("w")
    assert row is not None and [ref.name for ref in row.leftovers] == ["a"]
    pair.put(work("w", revision=12, manifests=[manifest("a")]))
    pair.settle()
    row = pair.desired.get("w")
    assert row is not None and sorted(ref.name for ref in row.leftovers) == ["b", "c"]
    pair.desired.cleared("w", row.leftovers)
    assert pair.desired.get("w") == replace(row, leftovers=())


# --- suspension --------------------------------------------------------------------------------------------------


def test_a_suspended_work_is_neither_sent_nor_taken_away() -> None:
    pair = Pair({"a": work("a"), "new": work("new", suspended=True)})
    pair.settle()
    pair.put(work("a", revision=11, suspended=True, x="newer"))
    pair.settle()
    for _ in range(2):
        pair.connect()
        pair.settle()
    assert pair.upserts() == ["a"] and pair.removals() == []
    held = pair.desired.get("a")
    assert held is not None and held.hash == work("a").hash
    pair.put(work("a", revision=12, x="newer"), work("new", revision=12))
    pair.settle()
    assert pair.upserts() == ["a", "a", "new"] or pair.upserts() == ["a", "new", "a"]


def test_what_is_held_of_a_suspended_work_makes_no_bucket_differ() -> None:
    pair = Pair({"a": work("a"), "new": work("new", suspended=True)})
    pair.settle()
    pair.put(work("a", revision=11, suspended=True, x="newer"))
    pair.agent._begin_exchange(pair.now)
    pair.settle()
    pair.forget_traffic()
    pair.agent._begin_exchange(pair.now)
    pair.settle()
    assert [f.WhichOneof("frame") for b in pair.to_agent for f in b.frames] == ["synced"]


BLOCKED = Blocked("override policy(shop/p)", "no")


def blank(name: str) -> WireWork:
    """A Work that overrides block, of which the hub does not know what the agent holds: a hub that was started again."""
    return replace(work(name, manifests=()), hash=EMPTY_DIGEST, blocked=BLOCKED)


def test_a_blocked_work_of_which_nothing_is_known_is_neither_sent_nor_taken_away() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.table = {"a": blank("a"), "new": blank("new")}
    pair.forget_traffic()
    pair.connect()
    pair.settle()
    assert pair.holds == {"a"} and not pair.upserts()
    pair.forget_traffic()
    pair.agent.tick(pair.agent.deadline)
    pair.agent.tick(pair.agent.deadline + 1000)
    pair.settle()
    assert pair.holds == {"a"} and not pair.upserts()
    pair.put(work("a"), work("new"))
    pair.settle()
    assert pair.upserts() == ["new"], "a is what the agent holds already"


def test_a_blocked_work_that_is_known_is_what_the_agent_shall_hold() -> None:
    pair = Pair({"a": replace(work("a"), blocked=BLOCKED)})
    pair.settle()
    assert pair.holds == {"a"}


@pytest.mark.parametrize("again", [False, True], ids=["in one session", "in another session"])
@pytest.mark.parametrize("healed", [{}, {"x": "other"}], ids=["as it was", "with other content"])
def test_a_work_that_is_blocked_no_more_is_reported_once(healed: dict[str, Any], again: bool) -> None:
    """The hub said something else of it meanwhile, and the agent does not repeat itself unasked."""
    pair = Pair({"a": work("a")})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    pair.report(applied(row))
    pair.settle()
    pair.put(replace(known(pair.table["a"], row), blocked=BLOCKED))
    pair.settle()
    if again:
        pair.connect()
        pair.settle()
    pair.forget_traffic()
    pair.put(work("a", revision=30, **healed))
    pair.put(work("a", revision=30, **healed))
    pair.settle()
    assert pair.upserts() == (["a"] if healed else [])
    row = pair.desired.get("a")
    assert row is not None
    if healed:
        pair.report(applied(row))
        pair.settle()
    assert [report.work_hash for report in pair.reports] == [row.hash]
    pair.hub.works_changed({"a"})
    pair.settle()
    assert len(pair.reports) == 1


def test_a_suspended_work_is_removed_all_the_same() -> None:
    pair = Pair({"a": work("a", suspended=False)})
    pair.settle()
    pair.put(replace(tombstone("a"), suspended=True))
    pair.settle()
    assert pair.removals() == ["a"]


# --- the delete breaker ------------------------------------------------------------------------------------------


def holding(count: int, **changes: object) -> Pair:
    """An agent that holds `count` Works of which the hub knows none."""
    pair = Pair({w.name: w for w in (work(f"w{i}") for i in range(count))})
    pair.settle()
    pair.table = {}
    for name, value in changes.items():
        setattr(pair, name, value)
    pair.forget_traffic()
    pair.connect()
    pair.settle()
    return pair


@pytest.mark.parametrize(("held", "a_minute"), [(0, 10), (8, 10), (50, 10), (51, 10), (100, 20), (1000, 200)])
def test_the_limit(held: int, a_minute: int) -> None:
    assert limit(held) == a_minute


@pytest.mark.parametrize(("held", "at_once"), [(8, 8), (30, 10), (100, 20)])
def test_unknown_works_go_at_a_limited_rate(held: int, at_once: int) -> None:
    pair = holding(held)
    assert len(set(pair.removals())) == at_once
    left = held - at_once
    assert pair.saw(effects.DeletionsHeld) == [effects.DeletionsHeld(left, DELETE_LIMIT if left else "")]
    pair.connect()  # earns nothing
    pair.settle()
    assert len(set(pair.removals())) == at_once
    for _ in range(20):
        pair.finish_removals()
        for _ in range(7):
            pair.tick(10)
            pair.settle()
    assert len(pair.desired) == 0
    assert not left or pair.saw(effects.DeletionsHeld)[-1].count == 0


def test_works_from_before_the_epoch_are_no_sign_of_an_old_copy() -> None:
    """Works are of revision 10: a hub that began later may have forgotten them; one that began with them in the same epoch, too."""
    assert len(holding(5, identity=replace(HUB, epoch=6, epoch_began=11)).removals()) == 5
    assert len(holding(5, identity=replace(HUB, epoch_began=1)).removals()) == 5


def test_deletions_asked_for_by_name_are_not_limited() -> None:
    pair = Pair({w.name: w for w in (work(f"w{i}") for i in range(100))})
    pair.settle()
    pair.put(*(tombstone(f"w{i}") for i in range(100)))
    pair.settle()
    assert len(pair.removals()) == 100


def test_a_work_that_vanishes_from_the_table_is_found_by_an_exchange() -> None:
    pair = Pair({w.name: w for w in (work("a"), work("b"))})
    pair.settle()
    pair.drop("a")
    pair.settle()
    assert pair.removals() == ["a"] and pair.holds == {"b"}


def test_a_work_adopted_in_time_is_not_removed() -> None:
    """Namespaces that a cluster holds stay wanted there: the table adopts them when it hears of them."""
    pair = Pair({"ns": work("ns", kind="Namespace")})
    pair.settle()
    pair.table = {}
    pair.forget_traffic()
    pair.connect()
    for _ in range(4):
        for each in pair.agent_sends():
            pair.hub_gets(each)
        if pair.saw(effects.UnknownHeld):
            pair.put(work("ns", kind="Namespace"))
        for batch in pair.hub_sends():
            pair.agent_gets(batch)
    pair.settle()
    assert pair.saw(effects.UnknownHeld) == [effects.UnknownHeld(("ns",))]
    assert pair.removals() == [] and pair.upserts() == [] and pair.agent.synced


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        pytest.param(replace(HUB, epoch=4), EPOCH_REGRESSION, id="an old copy of the store"),
        pytest.param(
            replace(HUB, epoch=6, epoch_began=10), EPOCH_REGRESSION, id="an old copy from the agent's epoch"
        ),
        pytest.param(replace(HUB, store_id="store-2", epoch=9), STORE_REPLACED, id="another store"),
    ],
)
def test_a_hub_that_cannot_be_trusted_to_know_deletes_nothing(identity: object, reason: str) -> None:
    pair = holding(5, identity=identity)
    assert pair.removals() == [] and pair.saw(effects.DeletionsHeld) == [effects.DeletionsHeld(5, reason)]
    for _ in range(20):
        pair.tick(10)
        pair.settle()
    pair.connect()
    pair.settle()
    assert pair.removals() == []
    pair.breaker.release(True)
    pair.settle()
    assert len(set(pair.removals())) == 5
    assert pair.saw(effects.DeletionsHeld)[-1] == effects.DeletionsHeld(0, "")


def test_released_between_two_sessions_nothing_is_held_any_more() -> None:
    pair = holding(5, identity=replace(HUB, epoch=4))
    assert pair.saw(effects.DeletionsHeld) == [effects.DeletionsHeld(5, EPOCH_REGRESSION)]
    pair.breaker.release(True)
    pair.connect()
    pair.settle()
    assert len(set(pair.removals())) == 5
    assert pair.saw(effects.DeletionsHeld)[-1] == effects.DeletionsHeld(0, "")


def test_a_later_start_of_the_same_store_is_trusted() -> None:
    assert len(set(holding(5, identity=replace(HUB, epoch=6)).removals())) == 5


def test_a_hold_outlives_the_session_and_other_epochs() -> None:
    breaker = Breaker(hold=EPOCH_REGRESSION)
    assert breaker.take(3, 100, 0.0) == 0 and breaker.reason == EPOCH_REGRESSION
    breaker.release(True)
    breaker.release(False)
    assert breaker.take(3, 100, 0.0) == 3


# --- which of two is newer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revision", "epoch", "store", "taken"),
    [
        pytest.param(11, 5, "store-1", True, id="newer revision"),
        pytest.param(10, 5, "store-1", True, id="same revision"),
        pytest.param(9, 5, "store-1", False, id="older revision"),
        pytest.param(9, 4, "store-1", False, id="older hub"),
        pytest.param(9, 6, "store-1", True, id="later start of the hub"),
        pytest.param(9, 1, "store-2", True, id="another store's revisions say nothing"),
    ],
)
@pytest.mark.parametrize("what", ["upsert", "removal"])
def test_an_old_hub_cannot_undo_a_newer_decision(
    what: str, revision: int, epoch: int, store: str, taken: bool
) -> None:
    desired = Desired()
    desired.upsert(fleet.Work(name="a", uid="u", revision=10, hash=b"1"), 5, "store-1", Changed())
    changed = Changed()
    if what == "upsert":
        desired.upsert(fleet.Work(name="a", uid="u", revision=revision, hash=b"2"), epoch, store, changed)
    else:
        desired.remove(fleet.Removal(name="a", uid="u", revision=revision), epoch, store, changed)
    assert bool(changed.rows) is bool(changed.names) is taken


def test_the_same_work_again_does_nothing_but_remember_the_revision() -> None:
    desired, changed = Desired(), Changed()
    desired.upsert(fleet.Work(name="a", uid="u", revision=10, hash=b"1"), 5, "store-1", changed)
    again = Changed()
    desired.upsert(fleet.Work(name="a", uid="u", revision=12, hash=b"1"), 5, "store-1", again)
    row = desired.get("a")
    assert row is not None and row.revision == 12 and again.names == {} and list(again.rows) == ["a"]


def test_the_epoch_is_remembered_only_after_synced() -> None:
    pair = Pair({"a": work("a")}, identity=replace(HUB, epoch=7))
    for each in pair.agent_sends():
        pair.hub_gets(each)
    for batch in pair.hub_sends():
        pair.agent_gets(batch)
    assert pair.desired.hub == HubSeen()
    pair.settle()
    assert pair.desired.hub == HubSeen("store-1", 7)
    assert Persist(hub=HubSeen("store-1", 7)) in pair.agent_effects


# --- credit and silence ------------------------------------------------------------------------------------------


def test_an_agent_that_does_not_acknowledge_gets_no_more_and_is_cut_off() -> None:
    small = replace(HUB, batch_bytes_max=500)
    pair = Pair(
        {w.name: w for w in (work(f"w{i}", t="x" * 300) for i in range(40))}, identity=small, acks=False
    )
    pair.settle()
    assert len(pair.upserts()) == IN_FLIGHT_BATCHES_MAX
    for _ in range(5):
        pair.tick(10)
        pair.settle()
    assert pair.hub.closed is None
    pair.tick(10)
    pair.settle()
    assert "acknowledged" in pair.saw(effects.Close)[0].reason
    assert pair.saw(Closed)[0].reconnect
    pair.acks = True
    pair.connect()
    pair.settle()
    assert len(pair.holds) == 40


def test_a_silent_agent_is_cut_off_after_three_heartbeats() -> None:
    pair = Pair()
    pair.settle()
    for _ in range(20):
        pair.tick(10)
        pair.settle()
    assert (pair.hub.closed, len(pair.saw(effects.HeartbeatSeen))) == (None, 20)
    pair.now += 29.9
    pair.hub.tick(pair.now)
    in_time = pair.hub.closed
    pair.hub.tick(pair.now + 0.1)
    assert in_time is None and pair.hub.closed is not None and pair.hub.closed.reconnect


def test_nobody_says_hello() -> None:
    pair = Pair()
    pair.now += 30
    pair.hub.tick(pair.now)
    assert pair.hub.closed is not None


def test_deadlines_are_when_something_happens() -> None:
    pair = Pair()
    assert pair.hub.deadline == 1030 and pair.agent.deadline == 1030
    pair.settle()
    assert pair.agent.deadline == 1010 and pair.hub.deadline == 1030
    pair.put(work("a"))
    pair.hub_sends()
    assert pair.hub.deadline == 1030 and pair.hub._credit.stalls_at == 1060


# --- who is who --------------------------------------------------------------------------------------------------


def hello(**changes: Any) -> fleet.AgentBatch:
    said: dict[str, Any] = {"protocol_version": 1, "cluster": "member1", "cluster_uid": "uid-1", **changes}
    return fleet.AgentBatch(sequence=1, frames=[fleet.AgentFrame(hello=fleet.Hello(**said))])


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        pytest.param(hello(cluster="member10"), "the agent says", id="another cluster"),
        pytest.param(hello(cluster=""), "the agent says", id="no cluster"),
        pytest.param(hello(cluster_uid="uid-2"), "another member", id="another member of this name"),
        pytest.param(
            fleet.AgentBatch(sequence=1, frames=[fleet.AgentFrame()]), "no known kind", id="garbage"
        ),
        pytest.param(
            fleet.AgentBatch(sequence=1, frames=[fleet.AgentFrame(heartbeat=fleet.Heartbeat())]),
            "first",
            id="no Hello",
        ),
    ],
)
def test_a_false_hello_ends_the_session(first: fleet.AgentBatch, reason: str) -> None:
    pair = Pair({"a": work("a")}, member_uid="uid-1")
    pair.hub_gets(first)
    (close,) = pair.saw(effects.Close)
    assert close.violation and not close.reconnect and reason in close.reason
    (batch,) = pair.hub_sends()
    assert [f.WhichOneof("frame") for f in batch.frames] == ["go_away"]
    assert pair.hub.next_batch(pair.now) is None


def test_a_batch_that_comes_twice_is_taken_once() -> None:
    pair = Pair({"a": work("a")}, member_uid="uid-1")
    for _ in range(2):
        pair.hub.receive(hello(), pair.now)
    assert (
        pair.hub.closed is None
        and len([e for e in pair.hub.take_effects() if isinstance(e, effects.Welcomed)]) == 1
    )


def test_another_protocol_version_is_sent_away_to_try_again() -> None:
    pair = Pair()
    pair.hub_gets(hello(protocol_version=2))
    (close,) = pair.saw(effects.Close)
    assert close.reconnect and not close.violation and "version" in close.reason


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(
            fleet.AgentFrame(hello=fleet.Hello(protocol_version=1, cluster="member1")),
            "twice",
            id="two Hellos",
        ),
        pytest.param(fleet.AgentFrame(), "no known kind", id="garbage"),
        pytest.param(
            fleet.AgentFrame(inventory=fleet.Inventory(digests=b"x")), "bytes of digests", id="short digests"
        ),
        pytest.param(fleet.AgentFrame(ack=fleet.Ack(sequence=10**9)), "never sent", id="Ack of the future"),
    ],
)
def test_frames_that_break_the_protocol_end_the_session(frame: fleet.AgentFrame, reason: str) -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.forget_traffic()
    pair.hub_gets(
        fleet.AgentBatch(sequence=99, frames=[frame, fleet.AgentFrame(heartbeat=fleet.Heartbeat())])
    )
    (close,) = pair.hub_effects  # nothing else happened
    assert isinstance(close, effects.Close) and close.violation and reason in close.reason


def flood(pair: Pair, frame: Callable[[int], fleet.AgentFrame]) -> list[fleet.HubFrame]:
    """What an agent is answered that sent a thousand of these before it read anything."""
    pair.settle()
    for number in range(1, 1001):
        pair.hub.receive(fleet.AgentBatch(sequence=pair.hub._seen + 1, frames=[frame(number)]), pair.now)
    return [frame for batch in pair.hub_sends() for frame in batch.frames]


def test_of_many_heartbeats_the_last_is_answered() -> None:
    beats = flood(
        Pair({"a": work("a")}), lambda n: fleet.AgentFrame(heartbeat=fleet.Heartbeat(number=n % 1000))
    )
    assert [frame.heard.number for frame in beats] == [999], "0 asks for no answer"


def test_of_many_inventories_the_last_is_answered() -> None:
    def differing(n: int) -> fleet.AgentFrame:
        return fleet.AgentFrame(inventory=fleet.Inventory(digests=n.to_bytes(BUCKETS * HASH_BYTES, "little")))

    asks = flood(Pair(), differing)
    assert [list(frame.ask.buckets) for frame in asks] == [[0]]


def test_a_listing_nobody_asked_for_is_ignored() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    entries = [fleet.Held(name=f"x{i}", uid="u", revision=1) for i in range(5)]
    listing = fleet.Inventory(buckets=range(256), entries=entries)
    pair.hub_gets(fleet.AgentBatch(sequence=99, frames=[fleet.AgentFrame(inventory=listing)]))
    pair.settle()
    assert pair.removals() == [] and pair.hub.closed is None


def test_a_hub_that_says_goodbye_for_good() -> None:
    pair = Pair()
    pair.settle()
    pair.hub.close("detached", reconnect=False)
    pair.settle()
    assert pair.saw(Closed) == [Closed("detached", False)]
    assert pair.agent.next_batch(pair.now) is None


def test_facts_are_told_in_every_session() -> None:
    pair = Pair()
    pair.agent.state(fleet.Facts(kubernetes_version="v1.32.0", api_server_ready=True))
    pair.settle()
    assert [e.facts.kubernetes_version for e in pair.saw(effects.FactsSeen)] == ["v1.32.0"]


SETTINGS = fleet.Settings(grades=[fleet.Grade(grade=2, least={"cpu": 1000})])


def test_settings_are_told_in_every_exchange_and_on_change() -> None:
    pair = Pair()
    pair.hub.tell(SETTINGS)
    pair.settle()
    assert pair.saw(Configure) == [Configure(SETTINGS)]
    pair.hub.tell(fleet.Settings.FromString(SETTINGS.SerializeToString()))
    pair.settle()
    assert len(pair.saw(Configure)) == 1, "what is the same is not said again"
    pair.hub.tell(fleet.Settings())
    pair.settle()
    assert pair.saw(Configure)[1:] == [Configure(fleet.Settings())]
    pair.agent._begin_exchange(pair.now)
    pair.settle()
    assert pair.saw(Configure)[2:] == [Configure(fleet.Settings())]


def test_settings_that_were_lost_come_with_the_next_exchange() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.hub.tell(SETTINGS)
    pair.hub_sends()  # lost
    pair.put(work("a", revision=11, x="newer"))
    pair.settle()
    assert pair.saw(Configure) == [Configure(SETTINGS)]


def test_whom_to_trust_is_told_beside_settings_and_again_when_it_was_lost() -> None:
    pair = Pair({"a": work("a")})
    both, new = fleet.Trust(ca_bundle_pem=b"both"), fleet.Trust(ca_bundle_pem=b"new", renew=True)
    pair.hub.tell(SETTINGS)
    pair.hub.tell(both)
    pair.settle()
    assert pair.saw(Trusting) == [Trusting(both)] and pair.saw(Configure) == [Configure(SETTINGS)]
    pair.hub.tell(new)
    pair.hub_sends()  # lost
    pair.put(work("a", revision=11, x="newer"))
    pair.settle()
    assert pair.saw(Trusting)[1:] == [Trusting(new)]


@pytest.mark.parametrize("trusts", [["a" * 64] * 9, ["short"], ["a" * 65]])
def test_a_hello_says_whom_the_agent_trusts_within_bounds(trusts: list[str]) -> None:
    pair = Pair()
    pair.agent._hello.trusts.extend(trusts)
    pair.settle()
    (closed,) = pair.saw(effects.Close)
    assert closed.violation and "fingerprints" in closed.reason


COUNTED = fleet.Capacity(
    nodes=2, ready_nodes=1, allocatable={"cpu": 4000}, allocating={"pods": 1}, allocated={"pods": 3},
    graded=[fleet.Graded(grade=2, nodes=2)],
)  # fmt: skip


def test_capacity_and_facts_are_told_on_change_and_in_every_exchange() -> None:
    pair = Pair()
    pair.settle()
    pair.agent.room(COUNTED)
    pair.settle()
    seen = ClusterCapacity(2, 1, {"cpu": 4000}, {"pods": 1}, {"pods": 3}, ((2, 2),))
    assert [e.capacity for e in pair.saw(effects.CapacitySeen)] == [seen]
    pair.agent.state(fleet.Facts(kubernetes_version="v1.32.0"))
    pair.agent_sends()  # lost
    pair.agent.ready(True)
    pair.agent._out.heartbeat = True
    pair.settle()
    assert [e.facts.kubernetes_version for e in pair.saw(effects.FactsSeen)] == ["v1.32.0"]
    assert [e.capacity for e in pair.saw(effects.CapacitySeen)] == [seen, seen]


@pytest.mark.parametrize(
    "capacity",
    [
        fleet.Capacity(allocatable={f"a.io/r{i}": 1 for i in range(257)}),
        fleet.Capacity(allocated={"cpu": -1}),
        fleet.Capacity(allocating={"not a name": 1}),
        fleet.Capacity(graded=[fleet.Graded(grade=i) for i in range(257)]),
        fleet.Capacity(stuck=[fleet.Stuck(name=str(i)) for i in range(1001)]),
    ],
    ids=[
        "too many resources",
        "below nothing",
        "no name of a resource",
        "too many grades",
        "too much that is stuck",
    ],
)
def test_a_capacity_that_cannot_be_breaks_the_protocol(capacity: fleet.Capacity) -> None:
    pair = Pair()
    pair.settle()
    pair.agent.room(capacity)
    pair.settle()
    assert pair.saw(effects.CapacitySeen) == []
    assert pair.hub.closed is not None and pair.hub.closed.violation


@pytest.mark.parametrize("conflict", list(Conflict))
def test_a_work_arrives_as_it_is(conflict: Conflict) -> None:
    sent = work("a", conflict=conflict, preserve=True)
    pair = Pair({"a": sent})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    assert (row.uid, row.revision, row.hash, row.manifests) == (
        sent.uid,
        sent.revision,
        sent.hash,
        sent.manifests,
    )
    assert (row.conflict, row.preserve, row.epoch, row.store_id) == (int(conflict), True, 5, "store-1")
    pair.report(applied(row, {"x": 1}))
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None and pair.reports[0].hash == row.report_hash
