"""The gateway: a gRPC server that agents dial, one HubSession for each.

Who gets in, and as whom, is for `gateway/entrance` to say. Sessions share nothing but the table of Works: every one has
its own reader, writer and alarm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, KeysView, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from towline.certs.authority import AgentIdentity
from towline.hub.decide.detached import Detached
from towline.hub.decide.health import EPOCH_REGRESSION
from towline.hub.decide.scheduling.estimates import NO_ANSWER
from towline.hub.gateway import farewell
from towline.hub.gateway.breaker import Breaker, held_before
from towline.hub.gateway.capacity import settings_of
from towline.hub.gateway.effects import (
    Answered,
    CapacitySeen,
    Close,
    DeletionsHeld,
    FactsSeen,
    HeartbeatSeen,
    HubIdentity,
    Reported,
    UnknownHeld,
    Welcomed,
)
from towline.hub.gateway.enrolment import Answer
from towline.hub.gateway.entrance import REVOKED, Entrance, cluster_of
from towline.hub.gateway.farewell import CLUSTERS
from towline.hub.gateway.live import GOODBYE_SECONDS, Live
from towline.hub.gateway.metrics import GatewayMetrics
from towline.hub.gateway.revocation import REVOCATIONS, generation_of
from towline.hub.gateway.session import HELLO_SECONDS_MAX, HubSession
from towline.hub.gateway.surroundings import Shown, Surroundings
from towline.hub.store.contract import Unavailable
from towline.kube.names import RELEASE_DELETIONS
from towline.kube.objects import Object, annotations_of, uid_of
from towline.kube.wishes import Wish
from towline.proto import fleet_pb2 as fleet

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""A larger message of an agent ends its session, and is audited."""
_RECEIVED_BYTES_MAX = 32 * 1024 * 1024
"""What gRPC takes in at all. Beyond it the stream ends before we see anything of the message."""
_OPTIONS = (
    ("grpc.max_receive_message_length", _RECEIVED_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
    # Each session has a buffer for TLS of this size, and would have one of 16 KiB.
    ("grpc.tsi.max_frame_size", 4096),
    # Else every heartbeat is followed by a ping, to find out how large a window may be. Agents say little: a fixed one is enough.
    ("grpc.http2.bdp_probe", 0),
)


class Gateway:
    """Start it when the table of Works exists; it answers agents at once and syncs them when the table is loaded."""

    def __init__(self, hub: HubIdentity, given: Surroundings) -> None:
        self.hub = hub
        self._given = given
        self._metrics = GatewayMetrics(given.registry)
        self._entrance = Entrance(given, self._metrics)
        self._live: dict[str, Live] = {}
        self._breakers: dict[str, Breaker] = {}
        self._server: grpc.aio.Server | None = None
        self._unsubscribe: list[Callable[[], None]] = []

    async def start(self, address: str) -> int:
        """Listen at `address` (host:port); answers the port. Raises OSError when that is not possible."""
        server = grpc.aio.server(options=_OPTIONS)
        handlers: dict[str, Any] = {
            "Session": grpc.stream_stream_rpc_method_handler(self._session),
            "Renew": grpc.unary_unary_rpc_method_handler(self._entrance.renew),
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("towline.fleet.v1.Fleet", handlers),)
        )
        try:
            port = server.add_secure_port(address, self._entrance.credentials())
        except RuntimeError as error:
            raise OSError(f"the gateway cannot listen at {address}: {error}") from None
        self._unsubscribe = [
            self._given.works.subscribe(self._works_changed),
            self._given.clusters.subscribe(self._rows_changed),
        ]
        self._given.answers.carried_by(self.ask)
        await server.start()
        self._server = server
        return port

    async def stop(self) -> None:
        """Say goodbye to all agents; they come back when there is a hub again."""
        while self._unsubscribe:
            self._unsubscribe.pop()()
        for live in list(self._live.values()):
            live.close("the hub is stopping")
        if self._server is not None:
            await self._server.stop(GOODBYE_SECONDS)

    @property
    def connected(self) -> KeysView[str]:
        """Clusters with a live session, in the order in which they came."""
        return self._live.keys()

    # --- changes in the hub --------------------------------------------------------------------------------------

    def _works_changed(self, cluster: str, names: Collection[str]) -> None:
        live = self._live.get(cluster)
        if live is not None:
            live.session.works_changed(names)
            live.wake.set()

    def ask(self, cluster: str, wish: Wish) -> None:
        """Take a question to the cluster's agent. Answered in any case."""
        live = self._live.get(cluster)
        if live is None:
            self._given.answers.disconnected(cluster)
            return
        live.session.questions.ask(wish, self._given.now())
        self._carry_out(live)
        live.wake.set()

    def _rows_changed(self, revision: int, events: Sequence[Any]) -> None:
        for event in events:
            key = event.entry.key
            if (key.group, key.resource) in (CLUSTERS, REVOCATIONS):
                self._cluster_changed(key.name)

    def _cluster_changed(self, name: str) -> None:
        cluster = cluster_of(self._given.clusters, name)
        if cluster is None:
            self._breakers.pop(name, None)
            self._given.answers.forget(name)
            self._given.members.gone(name)  # another member may come under this name
        live = self._live.get(name)
        if live is None:
            return
        if cluster is None or uid_of(cluster) != live.shown.identity.cluster_object_uid:
            gone = farewell.detached(self._given.clusters, live.shown.identity)
            verdict = farewell.verdict(gone, live.shown.identity) if gone is not None else None
            live.close(f"cluster {name} is detached", reconnect=False, detached=verdict)
            return
        if live.shown.identity.generation != generation_of(self._given.clusters, cluster):
            live.close(REVOKED.format(name), reconnect=False)
            return
        live.session.tell(settings_of(cluster, self.hub.unschedulable_seconds))
        self._release(live, cluster)

    def _release(self, live: Live, cluster: Object) -> None:
        """An administrator may let deletions pass. After an epoch regression that also means: this hub's word counts
        again, so its epoch has to rise above the agent's, which a new session tells the agent."""
        released = RELEASE_DELETIONS in annotations_of(cluster)
        breaker = live.session.breaker
        if released and breaker.hold == EPOCH_REGRESSION and live.session.hello is not None:
            live.raise_epoch_to = live.session.hello.epoch + 1
        breaker.release(released)
        live.wake.set()

    def gateways_changed(self) -> None:
        """Hubs came or went: agents are told where to go should this one die."""
        for live in self._live.values():
            live.session.tell(fleet.Hubs(gateways=self._given.gateways()))
            live.wake.set()

    def cut_off(self) -> None:
        """This hub cannot reach its store: another may serve the agents better."""
        for live in list(self._live.values()):
            live.close("this hub is cut off from its store")

    def moved(self, cluster: str) -> None:
        """Another hub has a newer session of the cluster."""
        self._breakers.pop(cluster, None)
        if (live := self._live.get(cluster)) is not None:
            live.close("the agent opened a newer session with another hub", superseded=True)

    def send_to_another(self, clusters: Iterable[str], gateways: Sequence[str]) -> None:
        """Another hub holds fewer sessions than its share."""
        for live in filter(None, map(self._live.get, clusters)):
            live.close("another hub has room for this session", gateways=gateways)

    def certificates_changed(self) -> None:
        """Authorities came or went: agents are told, and who stands on one that went has to leave."""
        for live in self._live.values():
            if self._given.certificates.vouches_for(live.shown.issuer):
                self._say_whom_to_trust(live)
            else:
                live.close(
                    "the authority of the agent's certificate is not trusted any more", reconnect=False
                )

    def _say_whom_to_trust(self, live: Live) -> None:
        certificates = self._given.certificates
        renew = live.shown.issuer != certificates.issuing_key_id
        live.session.tell(fleet.Trust(ca_bundle_pem=certificates.bundle_pem, renew=renew))
        live.wake.set()

    # --- calls ---------------------------------------------------------------------------------------------------

    async def _session(self, requests: Any, context: Any) -> None:
        try:
            # Another hub may have told the agent what this one has not seen yet: nothing older may come after it.
            await self._given.catch_up()
        except Unavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        shown = await self._entrance.identity(context, detached=True)
        if shown.detached is not None:
            await self._part(shown.identity, shown.detached, context)
        live = self._admit(shown)
        try:
            await self._converse(live, context)
        finally:
            live.silence()
            self._leave(live)
        closed = live.session.closed
        if closed is not None and (closed.violation or not closed.reconnect):
            if closed.violation:
                self._entrance.audit(context, live.cluster, closed.reason)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, closed.reason)

    async def _part(self, identity: AgentIdentity, gone: Detached, context: Any) -> NoReturn:
        """An agent came back whose cluster was detached: hear its Hello, answer it, end."""
        hello = fleet.Hello()
        with suppress(TimeoutError, DecodeError):
            async with asyncio.timeout(HELLO_SECONDS_MAX):
                frames = fleet.AgentBatch.FromString(await self._message(context) or b"").frames
                hello = next((frame.hello for frame in frames), hello)
        self._see_epoch()
        clusters = [row.object for row in self._given.clusters.list(*CLUSTERS)]
        said = farewell.farewell(gone, identity, hello, self.hub, clusters)
        batch = fleet.HubBatch(sequence=1, frames=[fleet.HubFrame(go_away=said)])
        await context.write(batch.SerializeToString())
        remains = fleet.Remains.Name(said.detached.remains) if said.HasField("detached") else ""
        self._given.audit(
            {"verb": "session", "cluster": identity.cluster, "decision": "detached", "remains": remains, "peer": context.peer()}
        )  # fmt: skip
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, said.reason)
        raise AssertionError("abort raises")

    def left(self, body: Any) -> Answer:
        """The same to an agent whose certificate has ended, which asks in another way."""
        self._see_epoch()
        return farewell.asked(self._given.clusters, self.hub, body)

    def _see_epoch(self) -> None:
        """Another hub on the store may have raised it."""
        if self._given.epoch is not None:
            number, began = self._given.epoch()
            self.hub = replace(self.hub, epoch=number, epoch_began=began)

    def _admit(self, shown: Shown) -> Live:
        """The cluster's one live session; an older one is shown out."""
        name = shown.identity.cluster
        older = self._live.get(name)
        if older is not None:
            older.close("the agent opened a newer session", superseded=True)
        cluster, now = cluster_of(self._given.clusters, name) or {}, self._given.now()
        self._see_epoch()
        breaker = self._breakers.get(name)
        if breaker is None or self._given.came_from_another(name):
            breaker = self._breakers[name] = Breaker(hold=held_before(cluster))
            if self._given.came_from_another(name):
                breaker.spend_window(now)  # what the other hub let through is not known here
        session = HubSession(
            name,
            self.hub,
            works=lambda: self._given.works.works_of(name),
            loaded=lambda: self._given.works.synced,
            breaker=breaker,
            now=now,
            member_uid=str((cluster.get("spec") or {}).get("id") or ""),
        )
        live = self._live[name] = Live(shown, session)
        self._say_whom_to_trust(live)
        live.session.tell(fleet.Hubs(gateways=self._given.gateways()))
        self._metrics.sessions.set(len(self._live))
        return live

    def _leave(self, live: Live) -> None:
        newer = self._live.get(live.cluster)
        if newer is live:
            del self._live[live.cluster]
            self._metrics.sessions.set(len(self._live))
            live.log_end()
        elif newer is not None and newer.session.hello is not None:
            return  # the cluster is connected
        self._given.answers.disconnected(live.cluster)
        if live.session.hello is not None:
            self._given.members.disconnected(live.cluster, self._given.now())

    async def _converse(self, live: Live, context: Any) -> None:
        """Read and write until the stream or the session ends."""
        async with asyncio.TaskGroup() as group:
            live.writer = group.create_task(self._write(live, context))
            reader = group.create_task(self._read(live, context))
            live.alarm(self._given.now, self._look)
            await asyncio.wait((live.writer,))
            reader.cancel()

    async def _read(self, live: Live, context: Any) -> None:
        while (message := await self._message(context)) is not None:
            self._take_in(live, message)
            self._carry_out(live)
            live.wake.set()
        live.hang_up()

    def _take_in(self, live: Live, message: bytes) -> None:
        if len(message) > MESSAGE_BYTES_MAX:
            live.session.close(
                f"a message of {len(message)} bytes is too large", reconnect=False, violation=True
            )
            return
        try:
            batch = fleet.AgentBatch.FromString(message)
        except DecodeError:
            live.session.close("a message that is not a batch", reconnect=False, violation=True)
            return
        self._metrics.count("in", len(batch.frames), len(message))
        live.session.receive(batch, self._given.now())

    async def _message(self, context: Any) -> bytes | None:
        """The agent's next message; None when it hung up, or sent more than gRPC takes in."""
        try:
            message = await context.read()
        except (grpc.RpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            return None
        return None if message is grpc.aio.EOF else message

    async def _write(self, live: Live, context: Any) -> None:
        while True:
            live.wake.clear()
            if live.raise_epoch_to and live.session.closed is None:
                epoch = await self._given.raise_epoch(live.raise_epoch_to)
                self.hub = replace(self.hub, epoch=epoch)
                live.close("the hub's epoch was raised")
            batch = live.session.next_batch(self._given.now())
            self._carry_out(live)
            if batch is not None:
                message = batch.SerializeToString()
                self._metrics.count("out", len(batch.frames), len(message))
                await context.write(message)
            elif live.session.closed is not None:
                return
            else:
                await live.wake.wait()

    # --- time ----------------------------------------------------------------------------------------------------

    def _look(self, live: Live) -> None:
        """The session's alarm has gone off; its deadline may have moved away since."""
        now = self._given.now()
        if now >= live.shown.ends_at:
            live.close("the agent's certificate has ended")
        if now >= live.session.deadline:
            live.session.tick(now)
            live.wake.set()
        self._carry_out(live)

    # --- effects -------------------------------------------------------------------------------------------------

    def _carry_out(self, live: Live) -> None:
        given, cluster, now = self._given, live.cluster, self._given.now()
        for effect in live.session.take_effects():
            match effect:
                case Reported(reports):
                    given.works.report(cluster, reports)
                case UnknownHeld(names):
                    given.works.held(cluster, names)
                case FactsSeen(facts):
                    given.members.facts(cluster, facts, now)
                case CapacitySeen(capacity):
                    given.members.capacity(cluster, capacity, now)
                    given.answers.room_changed(cluster, capacity.openings, now)
                case Answered(key, room):
                    self._metrics.estimated(room != NO_ANSWER)
                    given.answers.answered(cluster, key, room, now)
                case HeartbeatSeen(ready):
                    given.members.heartbeat(cluster, ready, now)
                case Welcomed(hello):
                    given.members.connected(cluster, hello, now)
                    trusts = tuple(hello.trusts)
                    given.shown(replace(live.shown, agent_version=hello.agent_version, trusts=trusts))
                    if hello.estimates:
                        given.answers.connected(cluster)
                    self._cluster_changed(cluster)
                case DeletionsHeld(count, reason):
                    given.members.deletions_held(cluster, count, reason)
                case Close():
                    live.closed()
                case _:
                    pass
        if live.session.closed is None:
            live.alarm(self._given.now, self._look)
