"""The agent's composition root: starts its parts in order and stops them in reverse.

The only file of the agent that reads the clock, entropy and the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from towline import cancellation
from towline.agent import identity as identities
from towline.agent.answering import Answering
from towline.agent.applier import Applier
from towline.agent.capacity import Capacity
from towline.agent.census import Census
from towline.agent.config import AgentConfig
from towline.agent.connection import Connection
from towline.agent.cutoff import Cutoff
from towline.agent.desired import Changed, Desired, Persist
from towline.agent.disk import Disk, Kept
from towline.agent.enrolment import AgentError, Enrolment
from towline.agent.exit import AGENT, Exit, remove_agent
from towline.agent.facts import Facts, cluster_uid
from towline.agent.identity import HubUnreachable, Identity
from towline.agent.kubernetes import Discovery, Member, MemberUnreachable, Refused
from towline.agent.leftovers import find
from towline.agent.limits import Allowance, DeletionBudget
from towline.agent.patience import patiently
from towline.agent.renewal import Renewal
from towline.agent.waiting import Workload
from towline.agent.watcher import Watcher
from towline.agent.writer import Writer
from towline.kube import names
from towline.proto import fleet_pb2 as fleet

__all__ = ["AgentConfig", "AgentError", "run"]

log = logging.getLogger("towline.agent")

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DRAIN_SECONDS = 5.0
_STOP_LOOK_SECONDS = 1.0


_T = TypeVar("_T")


class _Stop(Exception):
    """Ends the task group."""


async def run(config: AgentConfig) -> None:
    """Run one agent until SIGTERM or SIGINT.

    Raises exceptions with a `next_step` for what its user can mend: AgentError, Unenrollable (of the join token),
    DiskUnusable, BadConfiguration (of the member); some of them inside an exception group."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    member = Member(config.kubeconfig, config.context, config.request_timeout_seconds)
    disk = Disk(config.data_dir / "agent.db")
    try:
        kept = await disk.open()
        await member.open()
        secret = config.identity_secret or _pods_secret(config)
        enrolment = Enrolment(config, member, secret, random.random)
        identity = await _unless(stop, enrolment.identity())
        if identity is not None:
            await _Agent(config, member, disk, kept, identity, enrolment).run(stop)
    finally:
        await member.close()
        await disk.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Agent:
    """The parts of a running agent that has an identity."""

    def __init__(
        self, config: AgentConfig, member: Member, disk: Disk, kept: Kept, identity: Identity, enrolment: Enrolment
    ) -> None:  # fmt: skip
        self._config = config
        self._member = member
        self._disk = disk
        self._kept = kept
        self._identity = identity
        self._enrolment = enrolment
        self._desired = Desired(kept.works, kept.hub)
        self._cutoff = Cutoff(kept.heard_at, _steady(), time.time())
        self._connection: Connection
        self._exit: Exit

    async def run(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                applier = self._start(group, stop)
                await stop.wait()
                log.info("stopping")
                applier.stop()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        while applier.running:
                            await asyncio.sleep(0.02)
                raise _Stop
        except* _Stop:
            pass

    def _start(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> Applier:
        config, member, identity = self._config, self._member, self._identity
        log.info(
            "agent of cluster %s, hub %s, %d Works on disk",
            identity.cluster,
            identity.hub,
            len(self._desired),
        )
        allowance = Allowance(config.allow_namespaces, config.allow_kinds)
        applier, watcher, writer = self._applying(group, allowance)
        capacity = Capacity()
        answering = Answering(capacity, lambda: census.estimates)
        connection = self._connection = Connection(
            self._desired, self._disk, applier, group, lambda settings: census.settings(settings), answering,
            self._heard, lambda trust: renewal.told(trust), lambda detached: exit_.told(detached),
            lambda gateways, reached: renewal.hubs_at(gateways, reached), clock=_steady, jitter=random.random,
        )  # fmt: skip
        home = _pods_namespace(config)
        exit_ = self._exit = Exit(
            identity.cluster, home, held=lambda: len(self._desired), end=stop.set,
            search=lambda remains: self._search(applier, remains, allowance.named),
            remove=lambda: remove_agent(member, home, allowance.named, asyncio.sleep),
        )  # fmt: skip
        renewal = Renewal(
            identity, save=self._enrolment.save, renew=connection.renew, changed=connection.rebuild,
            expired=self._ask_farewell, now=time.time, jitter=random.random,
        )  # fmt: skip
        census = Census(member, capacity, connection.room, random.random, ours=self._is_ours, now=time.time)

        def answers_again() -> None:
            applier.retry_all()
            watcher.resume()
            census.resume()

        facts = Facts(member, config.facts_seconds, connection.say, answers_again)
        works = {
            "disk": self._disk.run(),
            "facts": facts.run(),
            "census": census.run(),
            "answering": answering.run(),
            "connection": connection.run(
                lambda: renewal.identity, lambda: config.gateway_addresses or renewal.identity.gateways
            ),
            "begin to enforce": self._enforce(applier),
            "renewal": renewal.run(),
            "another token": self._enrolment.follow(
                lambda: renewal.identity, lambda new: self._become(new, renewal, stop)
            ),
            "exit": exit_.run(),
            "stop in time": self._stop_in_time(applier),
        }
        if config.health_address:
            from towline.agent.health import Health

            works["health"] = Health(facts, connection, applier, writer).serve(config.health_address)
        for name, work in works.items():
            group.create_task(_told(name, work), name=name)
        return applier

    def _applying(self, group: asyncio.TaskGroup, allowance: Allowance) -> tuple[Applier, Watcher, Writer]:
        """What brings the member to what the desired table says; it begins when `_enforce` lets it."""
        config, cluster = self._config, self._identity.cluster
        applier = Applier(
            self._desired, cluster, self._disk, persist=self._disk.persist, outbox=self._said, group=group,
            now=time.monotonic, jitter=random.random, concurrency=config.write_concurrency,
            stopped=lambda row: self._cutoff.stops(row, _steady()),
        )  # fmt: skip
        discovery = Discovery(self._member)
        watcher = Watcher(self._member, discovery, applier, group, random.random, allowance.by_namespace)
        writer = Writer(
            self._member, discovery, watcher, cluster, allowance,
            DeletionBudget(config.deletions_per_minute, time.monotonic),
            lambda name: self._desired.get(name) is not None,
        )  # fmt: skip
        applier.connect(writer, watcher)
        return applier, watcher, writer

    def _is_ours(self, workload: Workload) -> bool:
        return self._desired.get(names.work_name(*workload, "Deployment")) is not None

    def _said(self) -> None:
        """There is something new to say, or something less to do."""
        self._connection.send_soon()
        self._exit.look()

    async def _become(self, identity: Identity, renewal: Renewal, stop: asyncio.Event) -> None:
        """The agent was given another token, and enrolled with it."""
        if self._exit.said is None:
            renewal.enrolled(identity)
        else:
            log.warning("cluster %s joins again: this agent ends, and starts as a new one", identity.cluster)
            stop.set()

    async def _ask_farewell(self, identity: Identity) -> None:
        """Whether the cluster was detached, asked by an agent that came back too late to be let in."""
        try:
            said = await identities.farewell(identity, self._desired.hub)
        except HubUnreachable as error:
            log.info("%s", error)
            return
        if said is not None:
            self._connection.part(said)

    async def _search(self, applier: Applier, remains: int, namespaces: Sequence[str]) -> None:
        """Find what is left in the member of Works that a lost disk knew."""
        if self._desired.hub.store_id or remains == fleet.LEAVE:
            return
        cluster = self._identity.cluster
        found = await patiently(
            "the member", lambda: find(self._member, cluster, namespaces), (MemberUnreachable,), random.random
        )
        changed = Changed()
        for name, leftover in found.items():
            preserve = leftover.preserve or remains != fleet.REMOVE
            self._desired.adopt(name, leftover.refs, preserve, changed)
        log.warning("%d Works that this agent did not know are still in the member", len(changed.names))
        self._disk.persist(changed.persist(), partial(applier.reconcile_all, changed.names))

    async def _enforce(self, applier: Applier) -> None:
        """Begin to write, once the member is known to be the one that this identity is for: a copied --data-dir must
        not bring one cluster's Works into another."""
        uid = await patiently(
            "the member", lambda: cluster_uid(self._member), (MemberUnreachable, Refused), random.random
        )
        if uid != self._identity.cluster_uid:
            raise AgentError(
                f"{self._config.data_dir} belongs to another member than the one that this agent is given: it was enrolled "
                f"for {self._identity.cluster_uid}, this is {uid}",
                "Give the right --kubeconfig, or an empty --data-dir and a new join token.",
            )
        applier.restore(self._kept.applied)
        self._kept = Kept([], self._kept.hub, {})
        # What lives from here on is small; what was loaded need not be walked by each collection.
        gc.collect()
        gc.freeze()

    def _heard(self, since: float) -> None:
        """The hub heard what was sent at `since`, so what was stopped may run again, and does within the second."""
        if self._cutoff.heard(since) and self._desired.bounded:
            self._disk.persist(Persist(heard_at=time.time() - (_steady() - since)))

    async def _stop_in_time(self, applier: Applier) -> None:
        """What must not run while the agent is cut off is looked at every second: to write is the applier's."""
        stopped: set[str] = set()
        while True:
            now = self._cutoff.stopped(self._desired, _steady())
            for name in now ^ stopped:
                row = self._desired.get(name)
                if row is not None and not row.removing:
                    applier.reconcile(name)
            stopped = now
            await asyncio.sleep(_STOP_LOOK_SECONDS)


# --- where it runs ----------------------------------------------------------------------------------------------


def _pods_secret(config: AgentConfig) -> str:
    namespace = _pods_namespace(config)
    return f"{namespace}/{AGENT}" if namespace else ""


def _pods_namespace(config: AgentConfig) -> str:
    """Where this agent runs as a pod; empty for a process."""
    if config.kubeconfig is not None:
        return ""
    try:
        return os.environ.get("POD_NAMESPACE") or _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return ""


def _steady() -> float:
    """Seconds that go on while the machine sleeps: containers on other machines do not sleep with it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


# --- waiting -----------------------------------------------------------------------------------------------------


async def _told(name: str, work: Coroutine[Any, Any, None]) -> None:
    """`work`, and an error should it be cancelled by nobody here. A group forgets a task that was cancelled, and an agent that has lost
    a part must not go on as if it had not."""
    try:
        await work
    except asyncio.CancelledError as error:
        if cancellation.is_wished():
            raise
        raise RuntimeError(f"the agent's {name} was cancelled") from error


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T | None:
    """What `work` answers; None when `stop` came first."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for each in (task, stopped):
            each.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)
