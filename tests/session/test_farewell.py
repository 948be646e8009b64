"""Agents of detached clusters: what they are told, by whom they may be told, what they make of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.session.pair import HUB, Pair, manifest, removed, tombstone, work
from tests.session.test_gateway import (
    DENIED,
    SESSION,
    Hub,
    agent_of,
    channel_of,
    code_of,
    hub,
    renew,
    until,
)
from towline.agent import session as agent_session
from towline.agent.desired import Changed, Desired, HubSeen, Persist, Reconcile
from towline.agent.session import AgentSession, Closed
from towline.certs.authority import AgentIdentity
from towline.hub.decide.detached import Detached, key_of
from towline.hub.decide.wire import Conflict
from towline.hub.gateway import farewell
from towline.hub.gateway.farewell import CLUSTERS
from towline.kube.objects import Key, Object, with_metadata
from towline.proto import fleet_pb2 as fleet

__all__ = ["hub"]

UID = "object-member1"
LEFT = Detached("member1", "uid-1", 0, keep_workloads=False, remove_agent=True, at=1.0)
WHO = AgentIdentity("member1", UID)


def row_of(detached: Detached) -> Object:
    return {"kind": "Detached", "metadata": {"name": UID}, "spec": asdict(detached)}


def hello(**fields: Any) -> fleet.Hello:
    return fleet.Hello(cluster="member1", cluster_uid="uid-1", store_id="store-1", epoch=5, **fields)


def joined(name: str, member: str) -> Object:
    return {"metadata": {"name": name}, "spec": {"id": member}}


# --- what is said --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detached", "changes", "clusters", "remains"),
    [
        (LEFT, {}, [], fleet.REMOVE),
        (replace(LEFT, keep_workloads=True), {}, [], fleet.LET_GO),
        (LEFT, {"store_id": "", "epoch": 0}, [], fleet.REMOVE),
        (LEFT, {"store_id": "store-2"}, [], None),
        (LEFT, {"epoch": 6}, [], None),
        (LEFT, {"cluster": "member10"}, [], None),
        (LEFT, {}, [joined("member1", "uid-9")], fleet.REMOVE),
        (LEFT, {}, [joined("again", "uid-1")], fleet.LEAVE),
        (LEFT, {"cluster_uid": "uid-2"}, [joined("other", "uid-2")], fleet.LEAVE),
        (replace(LEFT, member=""), {"cluster_uid": ""}, [joined("new", "")], fleet.REMOVE),
    ],
    ids=[
        "remove", "keep", "an agent that never was in sync", "an agent of another store", "a store from an old copy",
        "who says to be somebody else", "another member under the name", "the member joined again", "the agent moved to a member",
        "members without uids are not the same",
    ],
)  # fmt: skip
def test_what_an_agent_hears_that_comes_back(
    detached: Detached, changes: dict[str, Any], clusters: list[Object], remains: int | None
) -> None:
    came = hello()
    for name, value in changes.items():
        setattr(came, name, value)
    said = farewell.farewell(detached, WHO, came, HUB, clusters)
    assert (said.reason, said.reconnect) == ("cluster member1 is detached", False)
    assert said.HasField("detached") is (remains is not None)
    if remains is not None:
        assert (said.detached.remains, said.detached.cluster_uid) == (remains, UID)
        assert said.detached.remove_agent is (remains != fleet.LEAVE)


@pytest.mark.parametrize(
    ("identity", "known"),
    [
        (AgentIdentity("member1", UID, 1), True),
        (AgentIdentity("member1", UID), True),
        (AgentIdentity("member1", "object-other", 1), False),
        (AgentIdentity("member10", UID, 1), False),
        (AgentIdentity("member1", UID, 2), False),
    ],
    ids=["its own certificate", "one that was revoked before", "of another Cluster object", "of another name", "of no generation yet"],
)  # fmt: skip
def test_whose_certificate_is_good_for_a_farewell(hub: Hub, identity: AgentIdentity, known: bool) -> None:
    left = replace(LEFT, generation=1)
    hub.rows.put(key_of(UID), row_of(left))
    assert farewell.detached(hub.rows, identity) == (left if known else None)


QUESTION = {"cluster": "member1", "object": UID, "member": "uid-1", "storeID": "store-1", "epoch": 5}


@pytest.mark.parametrize(
    ("body", "status", "remains"),
    [
        (QUESTION, 200, "REMOVE"),
        (QUESTION | {"object": "object-other"}, 404, None),
        (QUESTION | {"cluster": "member10"}, 404, None),
        (QUESTION | {"epoch": 6}, 409, None),
        (QUESTION | {"epoch": -1}, 400, None),
        (QUESTION | {"member": {}}, 400, None),
        ({"cluster": "member1"}, 400, None),
        (None, 400, None),
    ],
    ids=[
        "it left",
        "another object",
        "another name",
        "an older hub",
        "no epoch",
        "no uid",
        "too little",
        "nothing",
    ],
)
def test_what_is_answered_to_who_has_no_good_certificate(
    hub: Hub, body: Any, status: int, remains: str | None
) -> None:
    hub.rows.put(key_of(UID), row_of(LEFT))
    hub.rows.delete(Key(*CLUSTERS, "", "member1"))
    answer = farewell.asked(hub.rows, HUB, body)
    assert answer.status == status and answer.body.get("remains") == remains


# --- over a gateway ------------------------------------------------------------------------------------------


async def test_the_live_session_ends_with_it(hub: Hub) -> None:
    hub.table.put("member1", work("a"))
    async with agent_of(hub) as agent:
        await agent.synced()
        hub.rows.put(key_of(UID), row_of(replace(LEFT, remove_agent=False)))
        hub.rows.delete(Key(*CLUSTERS, "", "member1"))
        assert (await code_of(agent.call))[0] == DENIED
        assert agent_session.Detached(fleet.REMOVE, False) in agent.effects
        assert [row.removing for row in agent.desired] == [True]


@pytest.mark.parametrize("name_is_taken", [False, True], ids=["gone", "another cluster has its name"])
async def test_an_agent_that_comes_back_hears_it_and_nothing_else(hub: Hub, name_is_taken: bool) -> None:
    hub.rows.put(key_of(UID), row_of(LEFT))
    hub.rows.delete(Key(*CLUSTERS, "", "member1"))
    if name_is_taken:
        other = with_metadata(hub.clusters.add("member1", id="uid-9"), uid="object-of-another")
        hub.rows.put(Key(*CLUSTERS, "", "member1"), other)
    hub.table.put("member1", work("a"))
    async with agent_of(hub) as agent:
        code, details = await code_of(agent.call)
        assert (code, details) == (DENIED, "cluster member1 is detached")
        await until(lambda: agent.closed)
        assert agent.closed == Closed("cluster member1 is detached", False)
        assert agent_session.Detached(fleet.REMOVE, True) in agent.effects
    assert hub.told.log == [("gone", "member1")] and not hub.gateway.connected
    (line,) = [line for line in hub.audited if line["decision"] == "detached"]
    assert (line["cluster"], line["remains"]) == ("member1", "REMOVE")


async def test_its_certificate_is_not_renewed(hub: Hub) -> None:
    hub.rows.put(key_of(UID), row_of(LEFT))
    hub.rows.delete(Key(*CLUSTERS, "", "member1"))
    async with channel_of(hub, hub.agent_leaf("member1")) as channel:
        assert (await code_of(renew(channel, b"")))[0] == DENIED


async def test_who_says_no_hello_but_something_else_is_told_nothing(hub: Hub) -> None:
    hub.rows.put(key_of(UID), row_of(LEFT))
    hub.rows.delete(Key(*CLUSTERS, "", "member1"))
    async with channel_of(hub, hub.agent_leaf("member1")) as channel:
        call: Any = channel.stream_stream(SESSION)()
        await call.write(b"\xff\xff nonsense")
        said = fleet.HubBatch.FromString(await call.read())
        assert not said.frames[0].go_away.HasField("detached")
        assert (await code_of(call))[0] == DENIED


# --- what an agent makes of it -------------------------------------------------------------------------------


def holding() -> Pair:
    """An agent with Works of all kinds, in sync."""
    pair = Pair()
    pair.agent = AgentSession(
        pair.desired, cluster="member1", cluster_uid="uid-1", agent_version="0", object_uid=UID
    )
    pair.agent.open(pair.now)
    kept = work("kept", preserve=True)
    shared = work("space", kind="Namespace", conflict=Conflict.SHARE)
    pair.put(work("plain"), kept, shared, tombstone("going"), tombstone("let-go", preserve=True))
    pair.settle()
    pair.forget_traffic()
    return pair


def go_away(remains: Any, uid: str = UID) -> fleet.HubBatch:
    detached = fleet.Detached(cluster_uid=uid, remains=remains)
    frame = fleet.HubFrame(go_away=fleet.GoAway(reason="detached", detached=detached))
    return fleet.HubBatch(sequence=1000, frames=[frame])


@pytest.mark.parametrize(
    ("remains", "deleted", "released"),
    [
        (fleet.REMOVE, {"plain", "going"}, {"kept", "space", "let-go"}),
        (fleet.LET_GO, set(), {"plain", "going", "kept", "space", "let-go"}),
        (fleet.LEAVE, set(), set()),
    ],
    ids=["remove", "let go", "leave"],
)
def test_what_becomes_of_the_works(remains: Any, deleted: set[str], released: set[str]) -> None:
    pair = holding()
    effects = pair.agent_gets(go_away(remains))
    rows = {row.name: row for row in pair.desired}
    assert all(row.removing and not row.manifests for row in rows.values())
    assert {name for name, row in rows.items() if not row.preserve} == deleted
    assert {name for name, row in rows.items() if row.preserve} == released
    if remains == fleet.REMOVE:
        assert [(ref.kind, ref.name) for ref in rows["plain"].leftovers] == [("ConfigMap", "plain")]
    (persist, *reconciles, detached, closed) = effects
    assert isinstance(persist, Persist) and isinstance(detached, agent_session.Detached)
    assert closed == Closed("detached", False)
    told = {effect.name for effect in reconciles if isinstance(effect, Reconcile)}
    assert told == (
        {*deleted, *released} - {"let-go"} - ({"going"} if remains == fleet.REMOVE else set())
    ) | (set(persist.deleted))
    assert {row.name for row in persist.rows} | set(persist.deleted) == told


@pytest.mark.parametrize("uid", ["object-other", ""], ids=["of another cluster", "of none"])
def test_a_verdict_on_somebody_else_changes_nothing(uid: str) -> None:
    pair = holding()
    before = list(pair.desired)
    assert pair.agent_gets(go_away(fleet.REMOVE, uid)) == [Closed("detached", False)]
    assert list(pair.desired) == before


def test_a_goodbye_without_a_verdict_changes_nothing() -> None:
    pair = holding()
    before = list(pair.desired)
    frame = fleet.HubFrame(go_away=fleet.GoAway(reason="revoked"))
    pair.agent_gets(fleet.HubBatch(sequence=1000, frames=[frame]))
    assert list(pair.desired) == before


def test_what_is_said_twice_is_done_once() -> None:
    pair = holding()
    pair.agent_gets(go_away(fleet.REMOVE))
    before, again = list(pair.desired), Changed()
    pair.desired.detach(fleet.REMOVE, again)
    assert (again.rows, again.deleted, again.names) == ({}, {}, {}) and list(pair.desired) == before
    for name in [row.name for row in pair.desired]:
        pair.desired.report(removed(name))
    assert not pair.desired


def test_keeping_after_all_keeps_what_is_still_there() -> None:
    pair = holding()
    pair.agent_gets(go_away(fleet.REMOVE))
    changed = Changed()
    pair.desired.detach(fleet.LET_GO, changed)
    assert all(row.preserve for row in pair.desired)
    pair.desired.detach(fleet.REMOVE, changed)
    assert all(row.preserve for row in pair.desired), "nothing is deleted that somebody chose to keep"


def test_a_disk_brings_it_back_half_done() -> None:
    pair = holding()
    pair.agent_gets(go_away(fleet.REMOVE))
    reborn = Desired(list(pair.desired), HubSeen("store-1", 5))
    assert {(row.name, row.removing, row.preserve) for row in reborn} == {
        (row.name, row.removing, row.preserve) for row in pair.desired
    }
    assert manifest("plain") not in [body for row in reborn for body in row.manifests]
