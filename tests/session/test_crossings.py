"""No cluster ever reaches into another: every RPC, every field that names a cluster or one of its Works, at random.

The names are chosen to catch whoever compares by prefix, by pattern or by part.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.protobuf.message import DecodeError

from tests.cases import NIGHTLY
from tests.session.hub_parts import Certificates, ClusterObjects, Rows, Table, Told
from tests.session.pair import HUB, Pair, applied, known, tombstone, work
from towline.agent.desired import HeldWork
from towline.certs import authority, tokens
from towline.certs.authority import AGENT_PREFIX, AGENTS_ORGANIZATION, AgentIdentity, CertificateError
from towline.certs.rotation import Authorities
from towline.hub.decide.wire import Phase, WireWork
from towline.hub.gateway import effects
from towline.hub.gateway.breaker import Breaker
from towline.hub.gateway.enrolment import Enrolment
from towline.hub.gateway.server import Gateway
from towline.hub.gateway.session import HubSession
from towline.hub.gateway.surroundings import Surroundings
from towline.kube import names
from towline.kube.objects import uid_of
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import report_hash

NOW = 1_800_000_000.0
TIMES = 10 if NIGHTLY else 1
NAMES = [
    "c1", "c10", "c1-x", "c", "c-1", "c11", "c100", "c1-0", "1", "10", "1c", "x-c1", "c1-c1", "a" * 48, "a" * 47, "a" * 47 + "b",
    "system", "system-masters", "system-towline-agent", "system-towline-agents", "towline", "towline-system", "towline-agent-c1",
    "karmada-es-c1", "es-c1", "agent", "agents", "admin", "cluster", "clusters", "member1", "member10", "member1-x", "default",
    "kube-system", "anonymous", "null", "none", "true", "0", "localhost", "hub", "towline-hub", "uid-c1", "object-c1",
]  # fmt: skip
NAMES += [f"n{i}" for i in range(50 - len(NAMES))]


def uid(name: str) -> str:
    return f"uid-{name}"


def works_of(name: str) -> dict[str, WireWork]:
    """One under a name that every cluster has, one that is named after the cluster, one after its namespace."""
    made = [work("shared", uid=f"shared-{name}"), work(name, uid=f"own-{name}"), work(f"karmada-es-{name}")]
    return {each.name: each for each in made}


TABLES = {name: works_of(name) for name in NAMES}
UIDS = {name: {each.uid for each in table.values()} for name, table in TABLES.items()}


def test_the_names_are_fifty_and_could_all_join() -> None:
    assert len(set(NAMES)) == 50 and not any(names.validate_cluster_name(name) for name in NAMES)


def opened(name: str) -> HubSession:
    return HubSession(
        name, HUB, works=lambda: TABLES[name], loaded=lambda: True, breaker=Breaker(), now=NOW, member_uid=uid(name)
    )  # fmt: skip


NAMING = {"hello", "inventory", "reports", "ack", "answers"}
"""Frames that name a cluster, a Work, or something that was sent."""
SELF = {"facts", "capacity", "heartbeat"}
"""Frames that say something of the sender alone."""


def test_every_frame_is_thought_of() -> None:
    assert {each.name for each in fleet.AgentFrame.DESCRIPTOR.fields} == NAMING | SELF
    assert {each.name for each in fleet.Hello.DESCRIPTOR.fields if "cluster" in each.name} == {
        "cluster",
        "cluster_uid",
    }


# --- the rules of a session ------------------------------------------------------------------------------------


class Rules:
    """Fifty sessions, each of which claims to be others. A call is one frame."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.sequences: dict[str, int] = {}
        self.listed: dict[str, set[str]] = {}
        self.sessions = {name: self.opened(name) for name in NAMES}
        self.calls = self.welcomed = self.reported = self.refused = 0

    def opened(self, name: str) -> HubSession:
        self.sequences[name] = 0
        self.listed[name] = set()
        return opened(name)

    def call(self) -> None:
        me, other = self.random.choice(NAMES), self.random.choice(NAMES)
        session = self.sessions[me]
        if session.hello is None:
            frames = [self.hello(me, other)]
        else:  # what ends the session can only be the last
            frames = [self.frame(other, self.random.randrange(5)) for _ in range(self.random.randrange(6))]
            frames.append(self.frame(other, self.random.randrange(7)))
        self.calls += len(frames)
        self.listed[me] |= {held.uid for frame in frames for held in frame.inventory.entries}
        self.sequences[me] += 1
        session.receive(fleet.AgentBatch(sequence=self.sequences[me], frames=frames), NOW)
        self.check(me, session.take_effects(), session.next_batch(NOW))
        if session.closed is not None:
            self.refused += 1
            self.sessions[me] = self.opened(me)

    def hello(self, me: str, other: str) -> fleet.AgentFrame:
        says = self.random.choice((me, me, other))
        its_uid = uid(self.random.choice((says, says, me, other)))
        return fleet.AgentFrame(hello=fleet.Hello(protocol_version=1, cluster=says, cluster_uid=its_uid))

    def frame(self, other: str, kind: int) -> fleet.AgentFrame:
        theirs = self.random.choice(list(TABLES[other].values()))
        match kind:
            case 0:
                return fleet.AgentFrame(inventory=fleet.Inventory(digests=bytes(4096)))
            case 1:
                held = fleet.Held(
                    name=theirs.name, uid=theirs.uid, work_hash=theirs.hash, report_hash=b"x" * 16
                )
                return fleet.AgentFrame(inventory=fleet.Inventory(buckets=range(256), entries=[held]))
            case 5:
                return fleet.AgentFrame(ack=fleet.Ack(sequence=self.random.randrange(4)))
            case 6:
                return fleet.AgentFrame(
                    hello=fleet.Hello(protocol_version=1, cluster=other, cluster_uid=uid(other))
                )
            case 2:
                answers = [fleet.Answer(id=self.random.randrange(4), room=99)]
                return fleet.AgentFrame(answers=fleet.Answers(answers=answers))
            case _:
                report = fleet.Report(
                    name=theirs.name, uid=theirs.uid, work_hash=theirs.hash, phase=self.random.choice((fleet.APPLIED, fleet.FAILED, fleet.REMOVED)),
                    hash=b"", revision=99,
                )  # fmt: skip
                report.hash = REPORT_HASHES[report.phase]
                return fleet.AgentFrame(reports=fleet.Reports(reports=[report]))

    def check(self, me: str, seen: Iterable[effects.Effect], batch: fleet.HubBatch | None) -> None:
        for effect in seen:
            if isinstance(effect, effects.Reported):
                self.reported += 1
                assert {report.uid for report in effect.reports} <= UIDS[me], (
                    f"{me} reported on another's Work"
                )
            elif isinstance(effect, effects.Answered):
                raise AssertionError("nobody asked")
            elif isinstance(effect, effects.Welcomed):
                self.welcomed += 1
                assert (effect.hello.cluster, effect.hello.cluster_uid) == (me, uid(me))
        for frame in batch.frames if batch is not None else ():
            removed = {each.uid for each in frame.works.removals}
            assert removed <= self.listed[me], f"{me} is to remove what it never said it holds"
            assert {each.uid for each in frame.works.upserts} <= UIDS[me], f"{me} was sent another's Work"


REPORT_HASHES = {phase: report_hash(phase, "", []) for phase in (1, 2, 3)}


def test_no_frame_crosses() -> None:
    rules = Rules(seed=1)
    while rules.calls < 100_000 * TIMES:
        rules.call()
    assert rules.welcomed > 1000 and rules.reported > 100 and rules.refused > 1000


# --- the gateway, whose callers have certificates of every kind --------------------------------------------------


@dataclass
class Hub:
    """A gateway and its enrolment over parts in memory; the calls come from fake streams, because TLS is not what is asked."""

    rows: Rows = field(default_factory=Rows)
    told: Told = field(default_factory=Told)
    audited: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ca, self.foreign = authority.create(NOW), authority.create(NOW)
        self.clusters = ClusterObjects(self.rows)
        self.table = Table(works={name: dict(table) for name, table in TABLES.items()})
        self.certificates = Certificates(Authorities(self.ca), self.ca.issue_server(["x"], NOW))
        self.gateway = Gateway(
            HUB,
            Surroundings(
                works=self.table, clusters=self.rows, members=self.told, certificates=self.certificates,
                raise_epoch=self.raise_epoch, audit=self.audited.append, now=lambda: NOW,
            ),
        )  # fmt: skip
        self.enrolment = Enrolment(
            self.certificates.authorities,
            self.rows,
            self.clusters,
            lambda: ["hub:1"],
            list,
            self.audited.append,
            lambda: NOW,
        )
        self.key = authority.new_key()
        self.csr = authority.request_pem(self.key)

    async def raise_epoch(self, at_least: int) -> int:
        return at_least

    def join_all(self) -> None:
        for name in NAMES:
            self.clusters.add(name, id=uid(name))

    def leaf(self, cn: str, uri: str, organization: str = AGENTS_ORGANIZATION, ca: Any = None) -> bytes:
        """Of our own authority, with whatever in it."""
        subject = authority._subject(cn, (organization,))
        sans = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        made: bytes = (ca or self.ca)._sign(
            subject, self.key.public_key(), ExtendedKeyUsageOID.CLIENT_AUTH, sans, NOW, timedelta(days=7)
        )
        return made

    def certificate(self, me: str, other: str, kind: str) -> bytes:
        cn, uri = AGENT_PREFIX + me, f"towline://cluster/{me}/object-{me}"
        return {
            "own": lambda: self.leaf(cn, uri),
            "another's object": lambda: self.leaf(cn, f"towline://cluster/{me}/object-{other}"),
            "another's name": lambda: self.leaf(AGENT_PREFIX + other, uri),
            "another's uri": lambda: self.leaf(cn, f"towline://cluster/{other}/object-{other}"),
            "a later generation": lambda: self.leaf(cn, uri + "/1"),
            "a path": lambda: self.leaf(cn, f"{uri}/../../{other}/object-{other}"),
            "another group": lambda: self.leaf(cn, uri, "system:masters"),
            "another authority": lambda: self.leaf(cn, uri, ca=self.foreign),
            "no prefix": lambda: self.leaf(me, uri),
        }[kind]()


KINDS = (
    "own", "another's object", "another's name", "another's uri", "a later generation", "a path", "another group",
    "another authority", "no prefix",
)  # fmt: skip


class Aborted(Exception):
    pass


@dataclass
class Stream:
    """A fake gRPC stream: what the agent says, and what it hears."""

    pem: bytes
    says: list[bytes] = field(default_factory=list)
    hears: list[bytes] = field(default_factory=list)
    code: grpc.StatusCode | None = None

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self.pem]}

    def peer(self) -> str:
        return "test"

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.code = code
        raise Aborted

    async def read(self) -> Any:
        return self.says.pop(0) if self.says else grpc.aio.EOF

    async def write(self, message: bytes) -> None:
        self.hears.append(message)


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.join_all()
    return hub


async def test_only_ones_own_certificate_opens_ones_own_session(hub: Hub) -> None:
    chosen = random.Random(2)
    entered = 0
    for _ in range(1_000 * TIMES):
        me, other, kind = chosen.choice(NAMES), chosen.choice(NAMES), chosen.choice((*KINDS, "own"))
        says = chosen.choice((me, me, other))
        stream = Stream(hub.certificate(me, other, kind))
        good = kind == "own" or (
            me == other and kind in ("another's object", "another's name", "another's uri")
        )
        if chosen.random() < 0.5:
            answer = await quiet(
                hub.gateway._entrance.renew(fleet.RenewRequest(csr_pem=hub.csr).SerializeToString(), stream)
            )
            assert (answer is not None) == good
            if answer is not None:
                issued = fleet.RenewResponse.FromString(answer).certificate_pem
                assert authority.agent_identity(issued) == AgentIdentity(me, f"object-{me}")
            continue
        hello = fleet.Hello(protocol_version=1, cluster=says, cluster_uid=uid(says))
        theirs = chosen.choice(list(TABLES[other].values()))
        report = fleet.Report(name=theirs.name, uid=theirs.uid, phase=fleet.FAILED, hash=REPORT_HASHES[2])
        frames = [fleet.AgentFrame(hello=hello), fleet.AgentFrame(reports=fleet.Reports(reports=[report]))]
        stream.says = [fleet.AgentBatch(sequence=1, frames=frames).SerializeToString()]
        hub.told.log.clear()
        hub.table.reports.clear()
        await quiet(hub.gateway._session(None, stream))
        assert {entry[1] for entry in hub.told.log} == ({me} if good and says == me else set())
        assert all(cluster == me and report.uid in UIDS[me] for cluster, report in hub.table.reports)
        entered += good and says == me
    assert entered > 20


async def quiet(call: Any) -> Any:
    try:
        return await call
    except Aborted:
        return None


async def test_a_token_is_for_one_name_and_one_member(hub: Hub) -> None:
    hub.rows.rows.clear()
    chosen = random.Random(3)
    owner: dict[str, str] = {}
    for name in NAMES:
        answer = await hub.enrolment.create_token({"name": name}, "admin", "")
        hub.secrets[name] = tokens.parse(answer.body["token"]).secret
    for _ in range(2_000 * TIMES):
        token, name, member = chosen.choice(NAMES), chosen.choice(NAMES), chosen.choice(NAMES)
        csr = authority.request_pem(authority.new_key()).decode()
        body = {"name": name, "secret": hub.secrets[token], "csr": csr, "clusterUID": uid(member)}
        answer = await hub.enrolment.enroll(body)
        if answer.status == 200:
            assert token == name and name not in owner and member not in owner.values()
            owner[name] = member
            identity = authority.agent_identity(answer.body["certificate"].encode())
            assert identity == AgentIdentity(name, uid_of(hub.clusters.get(name) or {}))
    assert len(owner) > 10


async def test_a_hundred_redeemings_of_one_token_at_once_give_one_certificate(hub: Hub) -> None:
    hub.rows.rows.clear()
    answer = await hub.enrolment.create_token({"name": "c1"}, "admin", "")
    secret = tokens.parse(answer.body["token"]).secret
    bodies = [
        {
            "name": "c1",
            "secret": secret,
            "csr": authority.request_pem(authority.new_key()).decode(),
            "clusterUID": f"u{i // 50 * i}",
        }
        for i in range(100)  # half of them say that they are the same member
    ]
    # Two hubs on one store: what one hub's lock keeps apart, the store must.
    others = replace(hub.enrolment, one_at_a_time=asyncio.Lock())
    answers = await asyncio.gather(
        *(each.enroll(body) for i, body in enumerate(bodies) for each in [(hub.enrolment, others)[i % 2]])
    )
    assert sorted(answer.status for answer in answers).count(200) == 1
    assert {answer.status for answer in answers} <= {200, 401, 409}
    assert len([key for key in hub.rows.rows if key.resource == "clusters"]) == 1


# --- what is no request, no certificate, no frame ----------------------------------------------------------------


def spoiled(chosen: random.Random, good: bytes) -> bytes:
    """`good` with some of its bytes changed, cut out or put in."""
    spoiled = bytearray(good)
    for _ in range(chosen.randrange(1, 5)):
        at = chosen.randrange(len(spoiled)) if spoiled else 0
        match chosen.randrange(4):
            case 0 if spoiled:
                spoiled[at] ^= 1 << chosen.randrange(8)
            case 1:
                del spoiled[at : at + chosen.randrange(1, 40)]
            case 2:
                spoiled[at:at] = chosen.randbytes(chosen.randrange(1, 20))
            case _:
                spoiled = spoiled[: at + 1] + spoiled[at:]
    return bytes(spoiled)


def test_ten_thousand_spoiled_requests_give_no_strangers_key() -> None:
    """A spoiled request is refused, or (where what was spoiled does not count) gives the very key that signed it."""
    chosen, key = random.Random(4), authority.new_key()
    pem = authority.request_pem(key)
    der = x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER)
    mine, refused = key.public_key(), 0
    for i in range(10_000 * TIMES):
        body = spoiled(chosen, pem) if i % 2 else _as_pem(spoiled(chosen, der))
        try:
            assert authority.public_key_of_request(body) == mine
        except CertificateError:
            refused += 1
    assert refused > 8_000


def _as_pem(der: bytes) -> bytes:
    body = base64.encodebytes(der).replace(b"\n", b"")
    lines = b"\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + lines + b"\n-----END CERTIFICATE REQUEST-----\n"


def good_frames() -> list[fleet.AgentFrame]:
    theirs = TABLES["c10"]["shared"]
    report = fleet.Report(name=theirs.name, uid=theirs.uid, phase=fleet.FAILED, hash=REPORT_HASHES[2])
    held = fleet.Held(name="shared", uid=theirs.uid, work_hash=theirs.hash)
    return [
        fleet.AgentFrame(inventory=fleet.Inventory(digests=bytes(4096))),
        fleet.AgentFrame(inventory=fleet.Inventory(buckets=range(256), entries=[held])),
        fleet.AgentFrame(reports=fleet.Reports(reports=[report])),
        fleet.AgentFrame(facts=fleet.Facts(kubernetes_version="v1", api_server_ready=True)),
        fleet.AgentFrame(capacity=fleet.Capacity(nodes=1, allocatable={"cpu": 1})),
        fleet.AgentFrame(heartbeat=fleet.Heartbeat()),
    ]


HELLO = fleet.AgentFrame(hello=fleet.Hello(protocol_version=1, cluster="c1", cluster_uid=uid("c1")))


def test_ten_thousand_spoiled_frames_cross_nothing() -> None:
    """Nothing raises, and no other cluster's Work is spoken of, whatever protobuf makes of them."""
    chosen, goods = random.Random(5), good_frames()
    session: HubSession | None = None
    parsed = 0
    for _ in range(10_000 * TIMES):
        if session is None or session.closed is not None:
            session = opened("c1")
            session.receive(fleet.AgentBatch(sequence=1, frames=[HELLO]), NOW)
        good = fleet.AgentBatch(sequence=chosen.randrange(2, 99), frames=[chosen.choice(goods)])
        try:
            batch = fleet.AgentBatch.FromString(spoiled(chosen, good.SerializeToString()))
        except DecodeError:
            continue
        parsed += 1
        session.receive(batch, NOW)
        for effect in session.take_effects():
            if isinstance(effect, effects.Reported):
                assert {report.uid for report in effect.reports} <= UIDS["c1"]
        while (out := session.next_batch(NOW)) is not None:
            assert {each.uid for frame in out.frames for each in frame.works.upserts} <= UIDS["c1"]
    assert parsed > 1_000


async def test_streams_of_spoiled_messages_end_alone(hub: Hub) -> None:
    """What is not a batch ends its own session; nothing is told of another cluster."""
    chosen, goods = random.Random(6), good_frames()
    pem = hub.certificate("c1", "c1", "own")
    for _ in range(300 * TIMES):
        batches = [fleet.AgentBatch(sequence=i + 2, frames=[chosen.choice(goods)]) for i in range(20)]
        says = [spoiled(chosen, batch.SerializeToString()) for batch in batches]
        await quiet(
            hub.gateway._session(
                None, Stream(pem, [fleet.AgentBatch(sequence=1, frames=[HELLO]).SerializeToString(), *says])
            )
        )
    assert {entry[1] for entry in hub.told.log} == {"c1"}
    assert {cluster for cluster, _ in hub.table.reports} <= {"c1"}
    assert all(report.uid in UIDS["c1"] for _, report in hub.table.reports)
    assert not hub.gateway.connected


def test_frames_of_an_old_session_change_nothing_that_lasts() -> None:
    """Somebody recorded a Work's whole life and plays it to the hub again, when another Work of that name lives."""
    pair = Pair()
    pair.put(work("a", uid="first"))
    pair.settle()
    pair.report(applied(held_by(pair, "a"), {"then": 1}))
    pair.settle()
    pair.put(tombstone("a", uid="first"))
    pair.settle()
    pair.finish_removals()
    pair.settle()
    recorded = list(pair.to_hub)
    assert [report.phase for report in pair.reports] == [Phase.APPLIED, Phase.REMOVED]
    pair.put(work("a", uid="second", revision=30))
    pair.settle()
    pair.report(applied(held_by(pair, "a"), {"now": 2}))
    pair.settle()
    pair.table["a"] = known(pair.table["a"], held_by(pair, "a"))

    pair.connect()
    pair.forget_traffic()
    play(pair, [*recorded, *recorded])
    assert pair.reports == [], "they are of a Work that is gone"

    pair.connect()
    pair.settle()
    assert pair.holds == {"a"} and held_by(pair, "a").uid == "second" and pair.removals() == []


def test_an_old_report_that_is_played_again_is_put_right() -> None:
    """The Work lives yet, so the hub believes the old report, until the agent is there again: their digests differ."""
    pair = Pair()
    pair.put(work("a"))
    pair.settle()
    pair.report(applied(held_by(pair, "a"), {"replicas": 1}))
    pair.settle()
    recorded = list(pair.to_hub)
    pair.report(applied(held_by(pair, "a"), {"replicas": 2}))
    pair.settle()
    latest = pair.reports[-1]

    pair.connect()
    play(pair, recorded)
    played = pair.reports[-1]
    assert played.statuses[0].status == b'{"replicas":1}'
    pair.table["a"] = replace(pair.table["a"], report_hash=played.hash)

    pair.connect()
    pair.settle()
    assert pair.reports[-1] == latest


def play(pair: Pair, recorded: list[fleet.AgentBatch]) -> None:
    """To a hub that goes on talking, so that old Acks fit as well as they can."""
    for batch in recorded:
        pair.hub_sends()
        pair.hub_gets(batch)
    pair.hub_sends()


def held_by(pair: Pair, name: str) -> HeldWork:
    row = pair.desired.get(name)
    assert row is not None
    return row
