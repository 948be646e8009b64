"""The gateway over real TLS on loopback: who gets in, who is thrown out, and a Work's way to an agent and back."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.session.hub_parts import Certificates, ClusterObjects, Rows, Table, Told
from tests.session.pair import HUB, applied, manifest, tombstone, work
from towline.agent.desired import Changed, Desired, HubSeen, Persist
from towline.agent.session import AgentSession, Closed, Configure, Synced, Trusting
from towline.certs import authority, rotation
from towline.certs.authority import AgentIdentity, Authority, Leaf
from towline.certs.rotation import Authorities, Stage
from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.gateway.farewell import CLUSTERS
from towline.hub.gateway.live import Live
from towline.hub.gateway.questions import ANSWER_SECONDS_MAX
from towline.hub.gateway.revocation import revoked
from towline.hub.gateway.server import MESSAGE_BYTES_MAX, Gateway
from towline.hub.gateway.surroundings import Surroundings
from towline.hub.store.answers import AnswerTable
from towline.kube.names import RELEASE_DELETIONS
from towline.kube.objects import Key, with_annotations
from towline.kube.wishes import of_replicas
from towline.proto import fleet_pb2 as fleet

CA, OTHER_CA = authority.create(time.time()), authority.create(time.time())
SERVER = CA.issue_server(["127.0.0.1"], time.time())
SESSION, RENEW = "/towline.fleet.v1.Fleet/Session", "/towline.fleet.v1.Fleet/Renew"
DENIED = grpc.StatusCode.PERMISSION_DENIED


@dataclass
class Hub:
    rows: Rows = field(default_factory=Rows)
    table: Table = field(default_factory=Table)
    told: Told = field(default_factory=Told)
    audited: list[dict[str, Any]] = field(default_factory=list)
    answers: AnswerTable = field(default_factory=AnswerTable)
    skew: float = 0.0
    gateway: Gateway = field(init=False)
    port: int = 0

    def __post_init__(self) -> None:
        self.clusters = ClusterObjects(self.rows)
        self.certificates = Certificates(Authorities(CA), SERVER)
        given = Surroundings(
            works=self.table, clusters=self.rows, members=self.told,
            certificates=self.certificates, raise_epoch=self.raise_epoch, audit=self.audited.append,
            now=lambda: time.time() + self.skew, answers=self.answers,
        )  # fmt: skip
        self.gateway = Gateway(HUB, given)

    async def raise_epoch(self, at_least: int) -> int:
        return at_least

    def agent_leaf(
        self,
        cluster: str,
        *,
        ca: Authority = CA,
        uid: str = "",
        now: float | None = None,
        generation: int = 0,
    ) -> Leaf:
        key = authority.new_key()
        identity = AgentIdentity(cluster, uid or f"object-{cluster}", generation)
        pem = ca.issue_agent(identity, key.public_key(), now or time.time())
        return Leaf(pem, authority.key_pem(key))

    async def seen(self, *entry: Any) -> None:
        await until(lambda: entry in self.told.log)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    hub.clusters.add("member1", id="uid-1")
    hub.clusters.add("member2", id="uid-2")
    hub.port = await hub.gateway.start("127.0.0.1:0")
    yield hub
    await hub.gateway.stop()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def channel_of(hub: Hub, leaf: Leaf | None) -> AsyncIterator[grpc.aio.Channel]:
    key, chain = (leaf.key_pem, leaf.certificate_pem) if leaf is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(CA.bundle_pem, key, chain)
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{hub.port}", credentials, options=options) as channel:
        yield channel


class Agent:
    """An agent over a real stream: it applies what it gets and reports it at once, unless told otherwise."""

    def __init__(self, call: Any, cluster: str, uid: str, desired: Desired | None = None) -> None:
        self.call = call
        self.desired = desired if desired is not None else Desired()
        self.session = AgentSession(
            self.desired, cluster=cluster, cluster_uid=uid, agent_version="0", object_uid=f"object-{cluster}"
        )
        self.effects: list[Any] = []
        self.session.open(time.time())

    async def send(self) -> None:
        while (batch := self.session.next_batch(time.time())) is not None:
            await self.call.write(batch.SerializeToString())

    async def run(self) -> None:
        """Until the hub ends it."""
        await self.send()
        while (message := await self.call.read()) is not grpc.aio.EOF:
            for effect in self.session.receive(fleet.HubBatch.FromString(message), time.time()):
                self.effects.append(effect)
                if isinstance(effect, Persist) and effect.sequence:
                    self.session.persisted(effect.sequence)
                    self.report()
            await self.send()

    def report(self) -> None:
        for row in self.desired:
            gone = fleet.Report(name=row.name, phase=fleet.REMOVED)
            for effect in self.session.report(gone if row.removing else applied(row, {"ok": True})):
                if isinstance(effect, Persist):
                    self.session.desired.durable(effect)

    @property
    def closed(self) -> Closed | None:
        return self.session.closed

    @property
    def configured(self) -> list[Configure]:
        return [effect for effect in self.effects if isinstance(effect, Configure)]

    @property
    def told_to_trust(self) -> list[Trusting]:
        return [effect for effect in self.effects if isinstance(effect, Trusting)]

    async def trusting(self, bundle_pem: bytes, renew: bool) -> None:
        told = (bundle_pem, renew)
        await until(lambda: told in [(e.trust.ca_bundle_pem, e.trust.renew) for e in self.told_to_trust])

    async def synced(self) -> None:
        await until(lambda: any(isinstance(effect, Synced) for effect in self.effects))


@asynccontextmanager
async def agent_of(
    hub: Hub, cluster: str = "member1", *, says: str = "", uid: str = "", desired: Desired | None = None
) -> AsyncIterator[Agent]:
    async with channel_of(hub, hub.agent_leaf(cluster)) as channel:
        agent = Agent(channel.stream_stream(SESSION)(), says or cluster, uid or f"uid-{cluster[-1]}", desired)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(quiet(agent.run()))
            try:
                yield agent
            finally:
                agent.call.cancel()
                await task


async def quiet(work: Any) -> None:
    try:
        await work
    except (grpc.RpcError, asyncio.CancelledError, asyncio.InvalidStateError):
        pass


def renew(channel: grpc.aio.Channel, request: bytes) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(RENEW)
    return call(request)


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    async with asyncio.timeout(10):
        return await call.code(), await call.details()


# --- the way of a Work -------------------------------------------------------------------------------------------


async def test_a_works_way_there_and_back(hub: Hub) -> None:
    hub.table.put("member1", work("a"))
    async with agent_of(hub) as agent:
        await agent.synced()
        await until(lambda: [name for _, name in reported(hub)] == ["a"])
        hub.table.put("member1", work("b"), work("big", text="x" * 1_500_000))
        await until(lambda: {name for _, name in reported(hub)} == {"a", "b", "big"})
        hub.table.put("member1", tombstone("a"))
        await until(lambda: (3, "a") in reported(hub))
        assert hub.gateway.connected == {"member1"}
    await hub.seen("disconnected", "member1")
    assert hub.told.log[0] == ("connected", "member1") and hub.gateway.connected == frozenset()
    assert {cluster for cluster, _ in hub.table.reports} == {"member1"}


def reported(hub: Hub) -> list[tuple[int, str]]:
    return [(report.phase, report.name) for _, report in hub.table.reports]


async def test_each_agent_gets_its_own(hub: Hub) -> None:
    hub.table.put("member1", work("one"))
    hub.table.put("member2", work("two"))
    async with agent_of(hub, "member1") as first, agent_of(hub, "member2") as second:
        await first.synced()
        await second.synced()
        assert [row.name for row in first.desired] == ["one"] and [row.name for row in second.desired] == [
            "two"
        ]


async def test_a_reader_that_stalls_delays_nobody(hub: Hub) -> None:
    """One agent connects and reads nothing while 20 MB wait for it."""
    hub.table.put("member1", *(work(f"w{i}", text="x" * 400_000) for i in range(50)))
    async with channel_of(hub, hub.agent_leaf("member1")) as channel:
        call: Any = channel.stream_stream(SESSION)()
        hello = fleet.Hello(protocol_version=1, cluster="member1", cluster_uid="uid-1")
        digests = fleet.Inventory(digests=bytes(4096))
        listing = fleet.Inventory(buckets=range(256))
        frames = [
            fleet.AgentFrame(hello=hello),
            fleet.AgentFrame(inventory=digests),
            fleet.AgentFrame(inventory=listing),
        ]
        await call.write(fleet.AgentBatch(sequence=1, frames=frames).SerializeToString())
        await hub.seen("connected", "member1")
        async with agent_of(hub, "member2") as other:
            await other.synced()
            hub.table.put("member2", work("a"))
            await until(lambda: reported(hub) == [(1, "a")])
        hub.skew = 100.0  # a minute later, and then some
        hub.gateway._look(hub.gateway._live["member1"])
        await hub.seen("disconnected", "member1")
        call.cancel()


async def test_facts_and_heartbeats_are_told(hub: Hub) -> None:
    async with agent_of(hub) as agent:
        agent.session.state(fleet.Facts(kubernetes_version="v1.32.1", api_server_ready=True))
        await agent.synced()
        await hub.seen("facts", "member1", "v1.32.1")
        agent.session._heartbeat_at = 0
        agent.session.tick(time.time())
        await agent.send()
        await hub.seen("heartbeat", "member1", True)


async def test_a_clusters_grades_go_out_and_what_it_counted_comes_in(hub: Hub) -> None:
    def graded(low: str) -> list[dict[str, Any]]:
        return [{"grade": 0, "ranges": [{"name": "cpu", "min": low, "max": "9"}]}]

    hub.clusters.add("member1", id="uid-1", resourceModels=graded("0"))
    async with agent_of(hub) as agent:
        await agent.synced()
        await until(lambda: [e.settings.grades[0].least["cpu"] for e in agent.configured] == [0])
        hub.clusters.add("member1", id="uid-1", resourceModels=graded("2"))
        await until(lambda: agent.configured[-1].settings.grades[0].least["cpu"] == 2000)
        agent.session.room(fleet.Capacity(nodes=2, allocated={"pods": 3}))
        await agent.send()
        await hub.seen("capacity", "member1", ClusterCapacity(2, 0, {}, {}, {"pods": 3}))


# --- who is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["nobody", "another CA", "expired"])
async def test_the_handshake_refuses(hub: Hub, who: str) -> None:
    leaves = {
        "nobody": None,
        "another CA": hub.agent_leaf("member1", ca=OTHER_CA),
        "expired": hub.agent_leaf("member1", now=time.time() - 8 * 86_400),
    }
    async with channel_of(hub, leaves[who]) as channel:
        call: Any = channel.stream_stream(SESSION)()
        code, _ = await code_of(call)
        assert code == grpc.StatusCode.UNAVAILABLE
    assert hub.told.log == [] and hub.table.reports == []


@pytest.mark.parametrize(
    ("version", "taken"), [(ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)]
)
async def test_tls_is_1_3(hub: Hub, tmp_path: Path, version: ssl.TLSVersion, taken: bool) -> None:
    leaf = hub.agent_leaf("member1")
    (tmp_path / "agent.pem").write_bytes(leaf.certificate_pem + leaf.key_pem)
    context = ssl.create_default_context(cadata=CA.bundle_pem.decode())
    context.load_cert_chain(tmp_path / "agent.pem")
    context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port, ssl=context)
        writer.close()
        connected = True
    except OSError:
        connected = False
    assert connected is taken


async def test_grpc_gets_certificates_only_when_they_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It frees what it had while other handshakes read it: a storm of agents would end the hub."""
    given: list[bytes] = []
    configuration = grpc.ssl_server_certificate_configuration

    def counted(chains: Any, root_certificates: bytes) -> Any:
        given.append(root_certificates)
        return configuration(chains, root_certificates)

    monkeypatch.setattr(grpc, "ssl_server_certificate_configuration", counted)
    hub = Hub()
    hub.clusters.add("member1", id="uid-1")
    hub.port = await hub.gateway.start("127.0.0.1:0")
    for _ in range(3):
        async with agent_of(hub) as agent:
            await agent.synced()
    assert given == [CA.bundle_pem]
    hub.certificates.authorities = rotation.begun(hub.certificates.authorities, OTHER_CA)
    for _ in range(3):
        async with agent_of(hub) as agent:
            await agent.synced()
    assert given == [CA.bundle_pem, CA.bundle_pem + OTHER_CA.bundle_pem]
    await hub.gateway.stop()


async def test_an_administrators_certificate_is_no_agents(hub: Hub) -> None:
    async with channel_of(hub, CA.issue_admin(time.time())) as channel:
        assert (await code_of(channel.stream_stream(SESSION)()))[0] == DENIED
    assert hub.audited[0]["decision"] == "refused" and hub.told.log == []


@pytest.mark.parametrize("who", ["gone", "from before a detach", "name is a prefix"])
async def test_a_cluster_that_is_not_joined_is_refused(hub: Hub, who: str) -> None:
    leaf = {
        "gone": hub.agent_leaf("member9"),
        "from before a detach": hub.agent_leaf("member1", uid="older"),
        "name is a prefix": hub.agent_leaf("member10", uid="object-member1"),
    }[who]
    async with channel_of(hub, leaf) as channel:
        code, details = await code_of(channel.stream_stream(SESSION)())
        assert code == DENIED and "not joined" in details
        code, _ = await code_of(renew(channel, b""))
        assert code == DENIED
    assert len(hub.audited) == 2 and hub.told.log == []


async def test_a_hello_that_claims_another_cluster(hub: Hub) -> None:
    hub.table.put("member2", work("secret"))
    async with agent_of(hub, "member1", says="member2", uid="uid-2") as agent:
        assert (await code_of(agent.call))[0] == DENIED
        assert agent.closed is not None and not agent.closed.reconnect
    (event,) = hub.audited
    assert event["cluster"] == "member1" and "member2" in event["message"]
    assert hub.told.log == [] and len(agent.desired) == 0


async def test_names_that_are_alike_are_told_apart_over_tls(hub: Hub) -> None:
    """A sample of tests/session/test_crossings.py on real connections; names of 48 characters among them."""
    names = ("c1", "c10", "c1-x", "a" * 47, "a" * 48)
    for name in names:
        hub.clusters.add(name, id=f"uid-{name}")
    for me in names:
        for other in names:
            async with agent_of(hub, me, says=other, uid=f"uid-{other}") as agent:
                if me == other:
                    await agent.synced()
                else:
                    assert (await code_of(agent.call))[0] == DENIED
    assert {entry for entry in hub.told.log if entry[0] == "connected"} == {
        ("connected", name) for name in names
    }


async def test_the_right_certificate_in_another_member(hub: Hub) -> None:
    async with agent_of(hub, "member1", uid="uid-9") as agent:
        assert (await code_of(agent.call))[0] == DENIED
    assert "another member" in hub.audited[0]["message"]


@pytest.mark.parametrize(
    "message",
    [b"\xff\xff\xff", fleet.AgentBatch(sequence=1, frames=[fleet.AgentFrame()]).SerializeToString()],
)
async def test_garbage_ends_the_session(hub: Hub, message: bytes) -> None:
    async with channel_of(hub, hub.agent_leaf("member1")) as channel:
        call: Any = channel.stream_stream(SESSION)()
        await call.write(message)
        answer = fleet.HubBatch.FromString(await call.read())
        assert not answer.frames[0].go_away.reconnect
        assert (await code_of(call))[0] == DENIED
    assert len(hub.audited) == 1 and hub.told.log == []


async def test_a_message_that_is_too_large_ends_the_session(hub: Hub) -> None:
    async with channel_of(hub, hub.agent_leaf("member1")) as channel:
        call: Any = channel.stream_stream(SESSION)()
        await call.write(bytes(MESSAGE_BYTES_MAX + 1))
        answer = fleet.HubBatch.FromString(await call.read())
        assert "too large" in answer.frames[0].go_away.reason
        assert (await code_of(call))[0] == DENIED
    await until(lambda: not hub.gateway.connected)
    assert len(hub.audited) == 1 and "large" in hub.audited[0]["message"]


# --- the end of sessions -----------------------------------------------------------------------------------------


async def test_revocation_closes_the_live_session(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "towline.hub.gateway.live")
    cluster = hub.clusters.get("member1")
    assert cluster is not None
    async with agent_of(hub) as agent, agent_of(hub, "member2") as other:
        await agent.synced()
        await other.synced()
        began = time.monotonic()
        await hub.rows.commit([revoked(hub.rows, cluster, "admin", began)])
        code, details = await code_of(agent.call)
        assert code == DENIED and "were revoked" in details and time.monotonic() - began < 1
        assert agent.closed is not None and not agent.closed.reconnect
        assert hub.gateway.connected == {"member2"}
        told = [line for line in caplog.messages if "member1" in line]
        assert told[0] == "a session of cluster member1 begins"
        assert told[1].startswith(
            "the session of cluster member1 ends: the certificates of cluster member1 were revoked"
        )
    async with channel_of(hub, hub.agent_leaf("member1")) as channel:
        assert (await code_of(channel.stream_stream(SESSION)()))[0] == DENIED
        csr = fleet.RenewRequest(csr_pem=authority.request_pem(authority.new_key()))
        assert (await code_of(renew(channel, csr.SerializeToString())))[0] == DENIED
    async with channel_of(hub, hub.agent_leaf("member1", generation=1)) as channel:
        renewed = fleet.RenewResponse.FromString(await renew(channel, csr.SerializeToString()))
    assert authority.agent_identity(renewed.certificate_pem).generation == 1


async def test_agents_hear_whom_to_trust_and_when_to_renew(hub: Hub) -> None:
    """A rotation as an agent sees it, to the end, which ends the session of who slept through it."""
    incoming = authority.create(time.time())
    async with agent_of(hub) as agent:
        await agent.synced()
        assert [(e.trust.ca_bundle_pem, e.trust.renew) for e in agent.told_to_trust] == [
            (CA.bundle_pem, False)
        ]
        spreading = rotation.begun(hub.certificates.authorities, incoming)
        both = CA.bundle_pem + incoming.bundle_pem
        for stage, renew in ((Stage.SPREADING, False), (Stage.RENEWING, True)):
            hub.certificates.authorities = replace(spreading, stage=stage)
            hub.gateway.certificates_changed()
            await agent.trusting(both, renew)
        hub.certificates.authorities = rotation.finished(hub.certificates.authorities)
        hub.gateway.certificates_changed()
        code, details = await code_of(agent.call)
        assert code == DENIED and "not trusted any more" in details


async def test_detaching_closes_the_live_session(hub: Hub) -> None:
    async with agent_of(hub) as agent:
        await agent.synced()
        began = time.monotonic()
        hub.rows.delete(Key(*CLUSTERS, "", "member1"))
        assert (await code_of(agent.call))[0] == DENIED
        assert time.monotonic() - began < 1
        assert agent.closed == Closed("cluster member1 is detached", False)
        assert ("gone", "member1") in hub.told.log, "what it said must not be taken for its successor's words"


async def test_a_newer_session_replaces_the_older(hub: Hub) -> None:
    async with agent_of(hub) as first:
        await first.synced()
        async with agent_of(hub) as second:
            await second.synced()
            await until(lambda: first.closed)
            assert first.closed is not None and first.closed.reconnect and first.closed.superseded
            assert hub.gateway.connected == {"member1"}
            hub.table.put("member1", work("a"))
            await until(lambda: reported(hub) == [(1, "a")])
        await until(lambda: not hub.gateway.connected)


async def test_a_newer_session_that_says_nothing_hides_no_end(hub: Hub) -> None:
    async with agent_of(hub) as first:
        await first.synced()
        async with channel_of(hub, hub.agent_leaf("member1")) as channel:
            channel.stream_stream(SESSION)()
            await until(lambda: first.closed)
            await hub.seen("disconnected", "member1")
        await until(lambda: not hub.gateway.connected)


async def test_a_session_ends_with_its_certificate(hub: Hub) -> None:
    """By its own alarm: nobody looks."""
    hub.skew = authority.AGENT_SECONDS - 0.3
    async with agent_of(hub) as agent:
        await until(lambda: agent.closed)
        assert agent.closed == Closed("the agent's certificate has ended", True)


async def test_a_deadline_that_comes_nearer_is_kept(hub: Hub) -> None:
    async with agent_of(hub) as agent:
        await agent.synced()
        live = hub.gateway._live["member1"]
        assert alarm_seconds(live) > 20, "three heartbeats"
        hub.gateway.ask("member1", of_replicas({"resourceRequest": {"cpu": "1"}}))
        assert alarm_seconds(live) <= ANSWER_SECONDS_MAX


def alarm_seconds(live: Live) -> float:
    assert live._alarm is not None
    return live._alarm.when() - asyncio.get_running_loop().time()


async def test_a_session_does_not_outlive_its_certificate(hub: Hub) -> None:
    async with agent_of(hub) as agent:
        await agent.synced()
        hub.skew = 8 * 86_400.0
        hub.gateway._look(hub.gateway._live["member1"])
        await until(lambda: agent.closed)
        assert agent.closed is not None and agent.closed.reconnect


async def test_stopping_says_goodbye(hub: Hub) -> None:
    async with agent_of(hub) as agent:
        await agent.synced()
        await hub.gateway.stop()
        await until(lambda: agent.closed)
        assert agent.closed == Closed("the hub is stopping", True)


async def test_an_address_that_is_taken(hub: Hub) -> None:
    with pytest.raises(OSError, match="cannot listen"):
        await Hub().gateway.start(f"127.0.0.1:{hub.port}")


# --- renewal and release -----------------------------------------------------------------------------------------


async def test_renewal_gives_the_same_identity_a_new_leaf(hub: Hub) -> None:
    key = authority.new_key()
    async with channel_of(hub, hub.agent_leaf("member1")) as channel:
        answer = await renew(
            channel, fleet.RenewRequest(csr_pem=authority.request_pem(key)).SerializeToString()
        )
        renewed = fleet.RenewResponse.FromString(answer)
        assert authority.agent_identity(renewed.certificate_pem) == AgentIdentity("member1", "object-member1")
        assert renewed.ca_bundle_pem == CA.bundle_pem
        for bad in (b"\xff\xff", fleet.RenewRequest(csr_pem=b"garbage").SerializeToString()):
            assert (await code_of(renew(channel, bad)))[0] == grpc.StatusCode.INVALID_ARGUMENT
    async with channel_of(hub, Leaf(renewed.certificate_pem, authority.key_pem(key))) as channel:
        agent = Agent(channel.stream_stream(SESSION)(), "member1", "uid-1")
        async with asyncio.TaskGroup() as group:
            task = group.create_task(quiet(agent.run()))
            await agent.synced()
            agent.call.cancel()
            await task


async def test_an_epoch_regression_holds_deletions_until_released(hub: Hub) -> None:
    """The hub came back from an old copy: it deletes nothing, and is believed again when an administrator says so."""
    desired = Desired(hub=HubSeen(HUB.store_id, HUB.epoch + 3))
    stale = fleet.Work(
        name="precious", uid="u", revision=900, hash=b"x" * 16, manifests=[manifest("precious")]
    )

    desired.upsert(stale, HUB.epoch + 3, HUB.store_id, Changed())
    async with agent_of(hub, desired=desired) as agent:
        await agent.synced()
        await hub.seen("deletions_held", "member1", 1, "EpochRegression")
        key = Key(*CLUSTERS, "", "member1")
        hub.rows.put(key, with_annotations(hub.rows.get(key).object, {RELEASE_DELETIONS: "yes"}))
        await until(lambda: agent.closed)
    assert hub.gateway.hub == replace(HUB, epoch=HUB.epoch + 4)
    async with agent_of(hub, desired=desired) as agent:
        await until(lambda: len(desired) == 0)


async def test_a_hold_is_read_from_the_clusters_condition(hub: Hub) -> None:
    held = {"type": "DeletionsHeld", "status": "True", "reason": "StoreReplaced"}
    key = Key(*CLUSTERS, "", "member1")
    hub.rows.put(key, {**hub.rows.get(key).object, "status": {"conditions": [held]}})
    desired = Desired()
    async with agent_of(hub, desired=desired) as agent:
        await agent.synced()

        desired.upsert(fleet.Work(name="x", uid="u", revision=1, hash=b"x"), 5, HUB.store_id, Changed())
        agent.session._begin_exchange(time.time())
        await agent.send()
        await hub.seen("deletions_held", "member1", 1, "StoreReplaced")
