"""Agents without members, many in one process: the real session code and certificates, a disk that forgets and a reconciler
that reports APPLIED at once. What they cost is the hub's side of a session, and little else."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import cast

import grpc

from towline.agent.answering import Answering
from towline.agent.connection import Connection
from towline.agent.desired import Desired, Persist
from towline.agent.disk import Disk
from towline.agent.identity import Identity
from towline.certs import authority
from towline.certs.authority import AgentIdentity, Authority
from towline.kube import builtin
from towline.proto import fleet_pb2 as fleet
from towline.proto import fleet_pb2_grpc as fleet_grpc

DEAF_HEARTBEAT_SECONDS = 10.0

Applied = Callable[[str, str], None]
"""Called with a cluster and the name of a Work that came to it."""


def identity_of(ca: Authority, cluster: str, object_uid: str, member_uid: str, gateway: str) -> Identity:
    """What an enrolment would have given."""
    key = authority.new_key()
    certificate = ca.issue_agent(AgentIdentity(cluster, object_uid), key.public_key(), time.time())
    return Identity(
        cluster, "", member_uid, authority.key_pem(key).decode(), certificate.decode(), ca.bundle_pem.decode(), (gateway,)
    )  # fmt: skip


class FakeAgent:
    """One agent. `applied` is called for each Work that it is given, before that is reported."""

    def __init__(self, identity: Identity, group: asyncio.TaskGroup, applied: Applied) -> None:
        self.identity = identity
        self.desired = Desired()
        self._applied = applied
        self.connection = Connection(
            desired=self.desired,
            disk=cast(Disk, self),
            reconciler=self,
            group=group,
            configure=_ignored,
            answering=cast(Answering, self),
            heard=_ignored,
            trusting=_ignored,
            detached=_ignored,
            hubs_at=_ignored,
            clock=time.monotonic,
            jitter=random.random,
        )
        self.connection.say(facts())
        self.connection.room(capacity())
        self._group = group
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        running = self.connection.run(lambda: self.identity, lambda: self.identity.gateways)
        self._task = self._group.create_task(running, name=self.identity.cluster)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def synced(self) -> bool:
        return self.connection.state.synced

    # --- what stands beside a connection ---

    def persist(self, change: Persist, durable: Callable[[], None] | None = None) -> None:
        self.desired.durable(change)
        if durable is not None:
            durable()

    def reconcile(self, name: str) -> None:
        row = self.desired.get(name)
        if row is None:
            return
        if row.removing:
            report = fleet.Report(name=name, phase=fleet.REMOVED)
        else:
            self._applied(self.identity.cluster, name)
            statuses = [fleet.ManifestStatus(ordinal=0, health="Healthy")]
            report = fleet.Report(
                name=name, uid=row.uid, work_hash=row.hash, phase=fleet.APPLIED, statuses=statuses
            )
        persist = self.desired.report(report)
        if persist is not None:
            self.desired.durable(persist)
        self.connection.send_soon()

    def reconcile_all(self, work_names: Iterable[str]) -> None:
        for name in work_names:
            self.reconcile(name)

    def ask(self, questions: tuple[fleet.Question, ...], say: Callable[[fleet.Answer], None]) -> None:
        for question in questions:
            say(fleet.Answer(id=question.id, room=100))


def _ignored(*said: object) -> None:
    pass


def facts() -> fleet.Facts:
    """A cluster that serves every built-in kind."""
    groups: dict[str, list[fleet.ApiResource]] = {}
    for kind in builtin.kinds():
        version = f"{kind.group}/{kind.version}" if kind.group else kind.version
        groups.setdefault(version, []).append(fleet.ApiResource(name=kind.plural, kind=kind.kind))
    return fleet.Facts(
        kubernetes_version="v1.32.1", api_server_ready=True, api_server_message="cluster is healthy and ready to accept workloads",
        api_enablements=[fleet.ApiEnablement(group_version=v, resources=r) for v, r in groups.items()],
        api_enablements_complete=True,
    )  # fmt: skip


def capacity() -> fleet.Capacity:
    offered = {"cpu": 100_000, "memory": 400 * 2**30, "pods": 1100}
    return fleet.Capacity(nodes=10, ready_nodes=10, allocatable=offered, allocated={"pods": 0})


async def deaf(identity: Identity, gateway: str, heard: asyncio.Event) -> None:
    """An agent that says what agents say, heartbeats included, and reads nothing of what the hub answers. Until it is cancelled;
    `heard` is set when the hub has been asked for everything."""
    credentials = grpc.ssl_channel_credentials(
        identity.ca_pem.encode(), identity.key_pem.encode(), identity.certificate_pem.encode()
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(gateway, credentials, options=options) as channel:
        call = fleet_grpc.FleetStub(channel).Session()  # type: ignore[no-untyped-call]
        hello = fleet.Hello(protocol_version=1, cluster=identity.cluster, cluster_uid=identity.cluster_uid)
        await call.write(fleet.AgentBatch(sequence=1, frames=[fleet.AgentFrame(hello=hello)]))
        holds_nothing = [fleet.Inventory(digests=bytes(4096)), fleet.Inventory(buckets=range(256))]
        frames = [fleet.AgentFrame(inventory=inventory) for inventory in holds_nothing]
        await call.write(fleet.AgentBatch(sequence=2, frames=frames))
        heard.set()
        sequence = 2
        while True:
            await asyncio.sleep(DEAF_HEARTBEAT_SECONDS)
            sequence += 1
            beat = fleet.AgentFrame(heartbeat=fleet.Heartbeat(api_server_ready=True))
            await call.write(fleet.AgentBatch(sequence=sequence, frames=[beat]))
