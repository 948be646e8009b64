"""Keeps one session with a hub: dials the gateways in turn, runs AgentSession on the stream, begins again when it ends.

Whatever happens here, the applier goes on with what is in the desired table.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import grpc

from towline import __version__, cancellation
from towline.agent.answering import Answering
from towline.agent.desired import Desired, Persist, Reconcile
from towline.agent.disk import Disk
from towline.agent.identity import Identity
from towline.agent.session import (
    AgentSession,
    Closed,
    Configure,
    Detached,
    Effect,
    Estimate,
    HubsAt,
    NotCutOff,
    Synced,
    Trusting,
    parting,
)
from towline.proto import fleet_pb2 as fleet
from towline.proto import fleet_pb2_grpc as fleet_grpc

log = logging.getLogger("towline.agent.connection")

WINDOW_BYTES = 1024 * 1024
"""How much of what the hub sends may be under way: one batch."""
BACKOFF_SECONDS = (0.2, 20.0)
UNWELCOME_SECONDS = 60.0
"""How long to wait after a hub said that this cluster is not welcome any more."""
TWIN_SECONDS = (2.0, 60.0)
"""From the first to the longest pause of an agent that has a twin."""
_TWIN = "another agent with this identity has taken the session over: let only one run (is it more than one replica, or a copied --data-dir?)"
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A hub that vanished without a word is noticed within twelve seconds: another one may be waiting. (The hub allows a ping every 5 s.)
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 6_000),
    ("grpc.http2.ping_timeout_ms", 6_000),  # what counts in grpc 1.85; a minute if it is not set
    ("grpc.http2.max_pings_without_data", 0),
    # A window that is fixed, instead of a ping after every message to find out how large it may be.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
    # A new identity is a new connection, never one from a pool.
    ("grpc.use_local_subchannel_pool", 1),
    # The channel must not outlive our own retries with pauses of its own.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 10_000),  # how long an attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2000),
)
_RENEW_SECONDS = 30.0


class Reconciler(Protocol):
    def reconcile(self, name: str) -> None: ...

    def reconcile_all(self, work_names: Iterable[str]) -> None: ...


@dataclass(slots=True)
class State:
    """What is known of the connection, for /readyz and /metrics."""

    connected: bool = False
    synced: bool = False
    sessions: int = 0
    refused: str = ""


class Connection:
    """The way to the hub. `configure` is told what the hub wants counted, `answering` what it asks, `heard` that it heard
    what was sent at a moment; `clock` is monotonic, `jitter` gives 0..1."""

    def __init__(
        self,
        desired: Desired,
        disk: Disk,
        reconciler: Reconciler,
        group: asyncio.TaskGroup,
        configure: Callable[[fleet.Settings], None],
        answering: Answering,
        heard: Callable[[float], None],
        trusting: Callable[[fleet.Trust], None],
        detached: Callable[[Detached], None],
        hubs_at: Callable[[Sequence[str], str], None],
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._desired = desired
        self._disk = disk
        self._reconciler = reconciler
        self._group = group
        self._configure = configure
        self._answering = answering
        self._heard = heard
        self._trusting = trusting
        self._detached = detached
        self._is_detached = False
        self._hubs_at = hubs_at
        self._address = ""
        self._clock = clock
        self._jitter = jitter
        self._facts: fleet.Facts | None = None
        self._capacity: fleet.Capacity | None = None
        self._session: AgentSession | None = None
        self._stub: Any = None
        self._wake = asyncio.Event()
        self._renewed = asyncio.Event()
        self.state = State()

    async def run(self, identity: Callable[[], Identity], gateways: Callable[[], Sequence[str]]) -> None:
        """Connect, and again, for ever. `identity()` gives the certificate of the moment, `gateways()` where the hubs are."""
        pause, longest = BACKOFF_SECONDS
        address, failed = gateways()[0], 0
        twin, rarest = TWIN_SECONDS
        while True:
            self._address = address
            closed = await self._once(identity(), address)
            failed += 1
            if self.state.synced:
                pause, failed = BACKOFF_SECONDS[0], 0
            self.state = State(sessions=self.state.sessions)
            if self._renewed.is_set():
                self._renewed.clear()
                address = next_address(gateways(), address, (address,))
                continue
            addresses = gateways()
            before, address = address, next_address(addresses, address, closed.gateways)
            if not closed.reconnect:
                self.state.refused = closed.reason
                force = "" if self._is_detached else "; what it had asked for stays in force"
                log.warning(
                    "the hub at %s does not want this cluster any more: %s%s", before, closed.reason, force
                )
                await self._pause(UNWELCOME_SECONDS)
                continue
            if closed.superseded:
                log.warning(_TWIN)
                await self._pause(twin)
                twin = min(rarest, twin * 2)
                continue
            twin = TWIN_SECONDS[0]
            log.info("no session with the hub at %s: %s", before, closed.reason)
            await self._pause(pause)
            if failed and failed % len(addresses) == 0:
                pause = min(longest, pause * 2)

    def send_soon(self) -> None:
        """There is something in the outbox."""
        self._wake.set()

    def say(self, facts: fleet.Facts) -> None:
        """New facts of the cluster: for this session, and for those to come."""
        self._facts = facts
        if self._session is not None:
            self._session.state(facts)
            self._wake.set()

    def room(self, capacity: fleet.Capacity) -> None:
        """What the cluster has and what is taken of it: for this session, and for those to come."""
        self._capacity = capacity
        if self._session is not None:
            self._session.room(capacity)
            self._wake.set()

    def part(self, said: fleet.Detached) -> None:
        """The hub said over another way that the cluster is detached."""
        self._execute(parting(self._desired, said), None)

    def rebuild(self) -> None:
        """The identity has changed: begin a session with the new one."""
        self._renewed.set()
        self._wake.set()

    async def renew(self, csr_pem: bytes) -> fleet.RenewResponse | None:
        """Ask the hub for a new certificate; None: there is no session to ask over. Raises grpc.RpcError."""
        if self._stub is None or not self.state.connected:
            return None
        request = fleet.RenewRequest(csr_pem=csr_pem)
        try:
            answer: fleet.RenewResponse = await self._stub.Renew(request, timeout=_RENEW_SECONDS)
        except asyncio.CancelledError:
            if cancellation.is_wished():
                raise
            return None  # the session ended, and its channel with it: gRPC tells that in the same way
        return answer

    async def _pause(self, seconds: float) -> None:
        await _waited(self._renewed, seconds * (0.5 + self._jitter() / 2))

    async def _once(self, identity: Identity, address: str) -> Closed:
        """One session, from dialling to its end."""
        async with _channel(identity, address) as channel:
            self._stub = fleet_grpc.FleetStub(channel)  # type: ignore[no-untyped-call]
            call = self._stub.Session()
            session = AgentSession(
                self._desired,
                cluster=identity.cluster,
                cluster_uid=identity.cluster_uid,
                agent_version=__version__,
                jitter=self._jitter(),
                trusts=identity.trusts,
                object_uid=identity.object_uid,
            )
            if self._facts is not None:
                session.state(self._facts)
            if self._capacity is not None:
                session.room(self._capacity)
            session.open(self._clock())
            self._session = session
            self._wake.set()
            # Not a TaskGroup of their own: cancelled from outside, gRPC calls end with errors of their own, and a group
            # that has errors forgets that it was cancelled.
            tasks = [
                self._group.create_task(_ending(self._write(call, session)), name="session out"),
                self._group.create_task(_ending(self._read(call, session)), name="session in"),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._session = None
                self._stub = None
                for task in tasks:
                    task.cancel()
                call.cancel()
                await asyncio.wait(tasks)
        # What the hub said goes before what the transport says.
        return session.closed or min((task.result() for task in done), key=lambda closed: closed.reconnect)

    async def _write(self, call: Any, session: AgentSession) -> Closed:
        while True:
            self._wake.clear()
            if self._renewed.is_set():
                return Closed("the certificate was renewed", True)
            self._execute(session.tick(self._clock()), session)
            if session.closed is not None:
                return session.closed
            while (batch := session.next_batch(self._clock())) is not None:
                await call.write(batch)
            await _waited(self._wake, max(0.0, session.deadline - self._clock()))

    async def _read(self, call: Any, session: AgentSession) -> Closed:
        while True:
            batch = await call.read()
            if batch is grpc.aio.EOF:
                # Raises with the status when it is not OK.
                code = await call.code()
                if code is not grpc.StatusCode.OK:
                    return _refusal(code, await call.details())
                return Closed("the hub ended the session", True)
            if not self.state.connected:
                self.state.connected = True
                self.state.sessions += 1
            self._execute(session.receive(batch, self._clock()), session)
            self._wake.set()
            if session.closed is not None:
                return session.closed

    def _execute(self, effects: Iterable[Effect], session: AgentSession | None) -> None:
        removals: list[str] = []
        for effect in effects:
            if isinstance(effect, Persist):
                stored = (
                    partial(self._stored, session, effect.sequence) if session and effect.sequence else None
                )
                self._disk.persist(effect, stored)
            elif isinstance(effect, Reconcile):
                row = self._desired.get(effect.name)
                if row is not None and row.removing:
                    removals.append(effect.name)
                else:
                    self._reconciler.reconcile(effect.name)
            elif isinstance(effect, Configure):
                self._configure(effect.settings)
            elif isinstance(effect, Trusting):
                self._trusting(effect.trust)
            elif isinstance(effect, HubsAt):
                self._hubs_at(effect.gateways, self._address)
            elif isinstance(effect, Detached):
                self._is_detached = True
                self._detached(effect)
            elif isinstance(effect, Estimate) and session is not None:
                self._answering.ask(effect.questions, partial(self._answered, session))
            elif isinstance(effect, NotCutOff):
                self._heard(effect.since)
            elif isinstance(effect, Synced):
                if not self.state.synced:
                    log.info("in sync with the hub: %d Works", len(self._desired))
                self.state.synced = True
        if removals:
            # A removal begins when it is durable: an agent that forgot it could not finish it.
            self._disk.persist(Persist(), partial(self._reconciler.reconcile_all, removals))

    def _answered(self, session: AgentSession, answer: fleet.Answer) -> None:
        session.answer(answer)
        self._wake.set()

    def _stored(self, session: AgentSession, sequence: int) -> None:
        session.persisted(sequence)
        self._wake.set()


def next_address(addresses: Sequence[str], last: str, asked: Sequence[str]) -> str:
    """Where to dial: where a hub `asked` the agent to go, if it is known; else what comes after the `last`, in turn."""
    known = [address for address in asked if address in addresses]
    if known:
        return known[0]
    return addresses[(addresses.index(last) + 1) % len(addresses)] if last in addresses else addresses[0]


@contextlib.asynccontextmanager
async def _channel(identity: Identity, address: str) -> AsyncIterator[grpc.aio.Channel]:
    credentials = grpc.ssl_channel_credentials(
        root_certificates=identity.ca_pem.encode(),
        private_key=identity.key_pem.encode(),
        certificate_chain=identity.certificate_pem.encode(),
    )
    channel = grpc.aio.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
    try:
        yield channel
    finally:
        await channel.close()


async def _ending(task: Coroutine[Any, Any, Closed]) -> Closed:
    """How one of a session's two tasks ends, which ends the other."""
    try:
        return await task
    except grpc.aio.AioRpcError as error:
        return _refusal(error.code(), error.details())
    except asyncio.InvalidStateError:
        return Closed("the stream ended", True)
    except Exception as error:
        log.exception("a session failed")  # the agent goes on enforcing, and tries again
        return Closed(f"{type(error).__name__}: {error}", True)


async def _waited(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _refusal(code: Any, details: str | None) -> Closed:
    welcome = code is not grpc.StatusCode.PERMISSION_DENIED and code is not grpc.StatusCode.UNAUTHENTICATED
    name = getattr(code, "name", str(code))
    return Closed(f"{name}: {details}" if details else name, welcome)
