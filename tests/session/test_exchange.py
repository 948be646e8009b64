"""The order of a session and the digest exchange: what differs travels, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.session.pair import HUB, Pair, applied, known, tombstone, work
from towline.agent.desired import Desired, HeldWork, HubSeen, Persist
from towline.agent.session import Closed
from towline.agent.session import Synced as AgentSynced
from towline.hub.decide.wire import WireWork
from towline.hub.gateway import effects
from towline.hub.gateway.delivery import EXCHANGE_SECONDS_MAX
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import Digests, bucket_of


def kinds(batches: list[fleet.HubBatch] | list[fleet.AgentBatch]) -> list[str | None]:
    return [frame.WhichOneof("frame") for batch in batches for frame in batch.frames]


def test_the_order_of_a_first_session() -> None:
    pair = Pair({w.name: w for w in (work("a"), work("b"))})
    pair.settle()
    assert kinds(pair.to_hub) == ["hello", "inventory", "inventory", "ack"]
    assert kinds(pair.to_agent) == ["welcome", "ask", "works", "synced"]
    assert pair.holds == {"a", "b"}
    assert sorted(pair.reconciled()) == ["a", "b"]
    assert pair.saw(AgentSynced) and pair.saw(effects.Synced)


def test_persist_comes_before_reconcile_and_the_ack_after_persist() -> None:
    pair = Pair({"a": work("a")}, acks=False)
    pair.settle()
    persist, reconcile = pair.agent_effects[:2]
    assert isinstance(persist, Persist) and persist.sequence and [row.name for row in persist.rows] == ["a"]
    assert getattr(reconcile, "name", "") == "a"
    assert "ack" not in kinds(pair.to_hub)
    pair.agent.persisted(persist.sequence)
    pair.settle()
    assert kinds(pair.to_hub)[-1] == "ack"


def test_nothing_travels_when_nothing_differs() -> None:
    pair = Pair({w.name: w for w in (work(f"w{i}") for i in range(50))})
    pair.settle()
    pair.forget_traffic()
    pair.connect()
    pair.settle()
    assert kinds(pair.to_hub) == ["hello", "inventory"]
    assert kinds(pair.to_agent) == ["welcome", "synced"]
    assert not pair.reconciled()


def test_only_the_difference_travels() -> None:
    pair = Pair({w.name: w for w in (work(f"w{i}") for i in range(200))})
    pair.settle()
    pair.forget_traffic()
    pair.table["w7"] = work("w7", revision=11, changed="yes")
    pair.connect()
    pair.settle()
    assert pair.upserts() == ["w7"]
    (listing,) = [f.inventory for b in pair.to_hub for f in b.frames if f.inventory.buckets]
    assert list(listing.buckets) == [bucket_of("w7")]


def test_live_changes_go_out_at_once_and_once() -> None:
    pair = Pair()
    pair.settle()
    pair.put(work("a"))
    pair.put(work("a", revision=11, x="1"))
    pair.settle()
    assert pair.upserts() == ["a"]
    pair.hub.works_changed({"a"})  # only its report became known, say
    pair.settle()
    assert pair.upserts() == ["a"]


def test_the_latest_state_wins_over_what_was_queued() -> None:
    pair = Pair()
    pair.settle()
    pair.put(work("a"))
    pair.put(tombstone("a"))
    pair.settle()
    assert pair.upserts() == [] and pair.removals() == ["a"]


def test_a_table_that_is_not_loaded_concludes_nothing() -> None:
    pair = Pair({"a": work("a"), "b": work("b")})
    pair.settle()
    pair.forget_traffic()
    pair.table.clear()
    pair.loaded = False
    pair.connect()
    pair.settle()
    assert (kinds(pair.to_agent), pair.agent.synced) == (["welcome"], False)
    pair.loaded = True
    pair.put(work("a"), work("b"))
    pair.settle()
    assert pair.agent.synced and pair.holds == {"a", "b"}
    assert pair.removals() == []


def test_a_report_made_while_the_table_loads_is_not_lost() -> None:
    """The hub could not place it; the inventory from before it must not hide that."""
    pair = Pair({"a": work("a")})
    pair.settle()
    pair.loaded = False
    pair.connect()
    pair.settle()
    table, pair.table = pair.table, {}
    row = pair.desired.get("a")
    assert row is not None
    pair.report(applied(row))
    pair.settle()
    assert pair.reports == []
    pair.table, pair.loaded = table, True
    pair.settle()
    assert [r.name for r in pair.reports] == ["a"] and pair.agent.synced


def test_resync_comes_every_resync_seconds_with_jitter() -> None:
    pair = Pair()
    pair.settle()
    pair.forget_traffic()
    for _ in range(29):
        pair.tick(10)
        pair.settle()
    assert "inventory" not in kinds(pair.to_hub)
    pair.tick(10.1)
    pair.settle()
    assert "inventory" in kinds(pair.to_hub)


def test_an_exchange_that_is_not_answered_begins_again() -> None:
    pair = Pair({"a": work("a")})
    pair.hub_gets(pair.agent_sends()[0])
    for batch in pair.hub_sends():
        pair.agent_gets(batch)
    for each in pair.agent_sends():
        pair.hub_gets(each)
    pair.hub_sends()  # Ask{buckets}: lost
    pair.now += EXCHANGE_SECONDS_MAX
    pair.hub._heard_at = pair.now  # heartbeats came meanwhile
    pair.tick(0)
    pair.settle()
    assert pair.holds == {"a"} and pair.agent.synced


# --- loss, duplicates, order -------------------------------------------------------------------------------------


def test_duplicates_and_stragglers_are_dropped() -> None:
    pair = Pair()
    pair.settle()
    pair.put(work("a"))
    (batch,) = pair.hub_sends()
    assert pair.agent_gets(batch) and not pair.agent_gets(batch)
    pair.agent_gets(
        fleet.HubBatch(sequence=1, frames=[fleet.HubFrame(go_away=fleet.GoAway(reason="replayed"))])
    )
    assert pair.agent.closed is None


def test_a_lost_hub_batch_is_repaired_when_the_next_one_shows_the_gap() -> None:
    pair = Pair()
    pair.settle()
    pair.put(work("a"))
    assert pair.hub_sends()  # lost
    pair.put(work("b"))
    pair.settle()
    assert pair.holds == {"a", "b"}


def test_a_lost_agent_batch_is_repaired_when_the_next_one_shows_the_gap() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    pair.report(applied(row, {"x": 1}))
    assert pair.agent_sends()  # lost
    pair.tick(10)
    pair.settle()
    assert [r.name for r in pair.reports] == ["a"]


def test_a_batch_after_a_gap_is_still_used() -> None:
    pair = Pair()
    pair.settle()
    pair.put(work("a"))
    pair.hub_sends()
    pair.put(work("b"))
    (batch,) = pair.hub_sends()
    pair.agent_gets(batch)
    assert pair.holds == {"b"}


@pytest.mark.parametrize("first", ["works", "synced", "ask"])
def test_a_hub_must_begin_with_welcome(first: str) -> None:
    pair = Pair()
    frames = {
        "works": fleet.HubFrame(works=fleet.Works(removals=[fleet.Removal(name="a", revision=9)])),
        "synced": fleet.HubFrame(synced=fleet.Synced()),
        "ask": fleet.HubFrame(ask=fleet.Ask(inventory=True)),
    }
    got = pair.agent_gets(fleet.HubBatch(sequence=1, frames=[frames[first]]))
    assert isinstance(got[-1], Closed) and got[-1].reconnect
    assert len(pair.desired) == 0


def test_a_hub_that_does_not_answer_is_left() -> None:
    pair = Pair()
    pair.tick(31)
    assert pair.saw(Closed)


# --- reports -----------------------------------------------------------------------------------------------------


def test_a_report_reaches_the_hub_once_and_only_the_latest() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    pair.report(applied(row, {"ready": 1}))
    pair.report(applied(row, {"ready": 2}))
    pair.report(applied(row, {"ready": 2}))
    pair.settle()
    (report,) = pair.reports
    assert report.statuses[0].status == b'{"ready":2}' and report.hash


def test_a_new_version_is_reported_though_its_status_is_the_same() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    for _ in range(2):
        row = pair.desired.get("a")
        assert row is not None
        pair.report(applied(row))
        pair.settle()
        pair.put(work("a", revision=30, x="1"))
        pair.settle()
    assert [r.work_hash for r in pair.reports] == [work("a").hash, work("a", x="1").hash]


def test_a_report_about_an_older_version_is_not_sent() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    old = pair.desired.get("a")
    assert old is not None
    pair.put(work("a", revision=11, x="1"))
    pair.settle()
    pair.report(applied(old))
    pair.settle()
    assert pair.reports == []


def test_drift_is_told_once() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    pair.report(applied(row))
    pair.report(applied(row, drift="kubectl changed spec.replicas"))
    pair.settle()
    pair.table["a"] = replace(pair.table["a"], report_hash=b"")
    pair.connect()
    pair.settle()
    assert [r.drift for r in pair.reports] == ["kubectl changed spec.replicas", ""]


def test_the_hub_asks_for_reports_that_it_lacks() -> None:
    pair = Pair({w.name: w for w in (work("a"), work("b"))})
    pair.settle()
    for row in pair.desired:
        pair.report(applied(row))
    pair.settle()
    pair.put(known(pair.table["a"], pair.desired.get("a")))  # b's was lost with the hub's memory
    pair.forget_traffic()
    pair.connect()
    pair.settle()
    assert [r.name for r in pair.reports] == ["b"]
    assert not pair.upserts()


def test_reports_made_without_a_session_are_sent_in_the_next() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    pair.desired.report(applied(row))
    pair.connect()
    pair.settle()
    assert {r.name for r in pair.reports} == {"a"}


def test_reports_survive_a_restart_of_the_agent() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    pair.report(applied(row))
    pair.settle()
    disk = {row.name: row for e in pair.agent_effects if isinstance(e, Persist) for row in e.rows}
    pair.table["a"] = known(pair.table["a"], disk["a"])
    pair.desired = Desired(disk.values(), HubSeen("store-1", 5))
    pair.forget_traffic()
    pair.connect()
    pair.settle()
    assert kinds(pair.to_agent) == ["welcome", "synced"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"status": b"{not json"}, id="status is not JSON"),
        pytest.param({"hash": b"0" * 16}, id="wrong hash"),
        pytest.param({"phase": 77}, id="unknown phase"),
    ],
)
def test_a_report_that_no_agent_makes_ends_the_session(change: dict[str, Any]) -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    report = applied(row)
    pair.report(report)
    if "status" in change:
        report.statuses[0].status = change.pop("status")
    for name, value in change.items():
        setattr(report, name, value)
    pair.hub_gets(
        fleet.AgentBatch(sequence=99, frames=[fleet.AgentFrame(reports=fleet.Reports(reports=[report]))])
    )
    assert pair.saw(effects.Close)[0].violation and pair.reports == []


def test_reports_on_what_the_hub_does_not_have_are_ignored() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    row = pair.desired.get("a")
    assert row is not None
    pair.report(applied(row))
    pair.table["a"] = work("a", uid="another")
    pair.settle()
    assert pair.reports == [] and pair.hub.closed is None


# --- listings and sizes ------------------------------------------------------------------------------------------


def test_large_differences_are_chunked() -> None:
    small = replace(HUB, batch_bytes_max=2000)
    pair = Pair({w.name: w for w in (work(f"w{i}", text="x" * 100) for i in range(300))}, identity=small)
    pair.settle()
    assert len(pair.holds) == 300
    sizes = [b.ByteSize() for b in pair.to_agent if any(f.HasField("works") for f in b.frames)]
    assert len(sizes) > 10 and max(sizes) < 2200
    pair.table.clear()  # the hub forgot all: every bucket is listed
    pair.forget_traffic()
    pair.connect()
    pair.settle()
    sizes = [b.ByteSize() for b in pair.to_hub if any(f.inventory.buckets for f in b.frames)]
    assert len(sizes) > 10 and max(sizes) < 2600


def test_one_work_that_is_larger_goes_alone() -> None:
    small = replace(HUB, batch_bytes_max=2000)
    pair = Pair({"a": work("a"), "big": work("big", text="x" * 10_000), "z": work("z")}, identity=small)
    pair.settle()
    assert pair.holds == {"a", "big", "z"}


def test_order_within_the_outbox() -> None:
    works = [
        work("ns", kind="Namespace"),
        work("crd", kind="CustomResourceDefinition"),
        work("a"),
        work("b", kind="Pod"),
    ]
    gone = [tombstone("old-ns", kind="Namespace"), tombstone("old-pod", kind="Pod")]
    pair = Pair({w.name: w for w in [*reversed(works), *gone]})
    pair.settle()
    assert pair.upserts() == ["ns", "crd", "a", "b"]
    assert pair.removals() == ["old-pod", "old-ns"]


# --- the digests -------------------------------------------------------------------------------------------------

entries = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.tuples(st.text(max_size=3), st.binary(max_size=3), st.binary(max_size=3)),
)


def digests_of(table: dict[str, tuple[str, bytes, bytes]]) -> Digests:
    digests = Digests()
    for name, (uid, hashed, report) in table.items():
        digests.put(name, uid, hashed, report)
    return digests


@given(entries, entries)
def test_differing_buckets_are_those_of_the_differing_entries(
    ours: dict[str, tuple[str, bytes, bytes]], theirs: dict[str, tuple[str, bytes, bytes]]
) -> None:
    different = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    found = digests_of(ours).differing(digests_of(theirs).pack())
    assert set(found) == {bucket_of(name) for name in different}


@given(entries, entries)
def test_digests_do_not_depend_on_their_history(
    before: dict[str, tuple[str, bytes, bytes]], after: dict[str, tuple[str, bytes, bytes]]
) -> None:
    digests = digests_of(before)
    for name in before:
        if name not in after:
            digests.remove(name)
    for name, (uid, hashed, report) in reversed(after.items()):
        digests.put(name, uid, hashed, report)
    assert digests.pack() == digests_of(after).pack() and len(digests) == len(after)


def test_digests_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 4096"):
        Digests().differing(b"x" * 16)


held_works = st.builds(
    HeldWork, name=st.sampled_from([f"w{i}" for i in range(30)]), uid=st.sampled_from(["", "u1"]),
    revision=st.integers(1, 40), epoch=st.integers(1, 5), store_id=st.just("store-1"), hash=st.binary(max_size=2),
    manifests=st.just(()), conflict=st.just(0), preserve=st.booleans(), removing=st.booleans(),
    report_hash=st.binary(max_size=1),
)  # fmt: skip
wire_works = st.builds(
    lambda name, x, suspended, gone: tombstone(name, revision=50) if gone
    else replace(work(name, revision=50, x=x), suspended=suspended),
    st.sampled_from([f"w{i}" for i in range(30)]), st.sampled_from(["1", "2"]), st.booleans(), st.booleans(),
)  # fmt: skip


@given(st.lists(held_works, max_size=25), st.lists(wire_works, max_size=25))
def test_one_exchange_repairs_any_difference(held: list[HeldWork], wanted: list[WireWork]) -> None:
    desired = Desired(held, HubSeen("store-1", 5))
    before = {row.name: row for row in desired}
    table = {w.name: w for w in wanted}
    pair = Pair(table, desired)
    pair.breaker.released = True
    pair.settle()
    for name, wire in pair.table.items():
        row, was = desired.get(name), before.get(name)
        if wire.removing:
            assert row is not None and row.removing
        elif not wire.suspended:
            assert row is not None and (row.uid, row.hash, row.removing) == (wire.uid, wire.hash, False)
        else:
            assert row == was
    for row in desired:
        assert row.name in pair.table or row.removing
    pair.finish_removals()
    pair.settle()
    assert {r.name for r in pair.reports if r.phase == 3} == {n for n, w in pair.table.items() if w.removing}
