"""What agents showed when they connected last, as rows of the store: for `towline clusters`, and for the rotation of authorities.

Written when a session begins or ends, those of a moment in one commit; never for a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from towline.certs.rotation import Holder
from towline.hub.decide.revocations import AGENTS as AGENTS
from towline.hub.gateway.revocation import REVOCATIONS, generation_of
from towline.hub.gateway.surroundings import Shown
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Conflict, Unavailable, Write
from towline.hub.store.works import CLUSTERS
from towline.kube.objects import Key, Object, encode, is_deleting, name_of, uid_of

log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.2
_RETRY_SECONDS = 2.0
_COMMIT_MAX = 100
"""Rows of one commit; etcd takes 128 operations."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One row. Times are epoch seconds; `since`: the session began, or ended, then. `hub` holds or held it."""

    cluster_uid: str
    generation: int
    version: str
    trusts: tuple[str, ...]
    issuer: str
    certificate_ends: float
    hub: str
    connected: bool
    since: float

    def row(self, cluster: str) -> bytes:
        row: Object = {"apiVersion": "towline.io/v1", "kind": "Agent", "metadata": {"name": cluster}}
        return encode({**row, "spec": {**asdict(self), "trusts": list(self.trusts)}})


def agent_of(spec: Mapping[str, Any]) -> Agent:
    return Agent(**{**spec, "trusts": tuple(spec["trusts"])})


class Agents:
    """`hub` names this hub. `changed` is called when a row has become another."""

    def __init__(self, cache: Cache, hub: str, now: Callable[[], float], changed: Callable[[], None]) -> None:
        self._cache = cache
        self._hub = hub
        self._now = now
        self._changed = changed
        self._due: dict[str, Agent | None] = {}
        """What is to be written; None: the cluster's rows are to go."""
        self._wake = asyncio.Event()
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """No session is older than this hub: what its rows say of an earlier life is over."""
        self._unsubscribe = self._cache.subscribe(self._rows_changed)
        for entry in self._cache.list(*AGENTS):
            self.left(entry.key.name)

    async def stop(self) -> None:
        """Writes what is still to be written."""
        self._unsubscribe()
        await self._write()

    def shown(self, shown: Shown) -> None:
        """A session began."""
        who = shown.identity
        self._put(
            who.cluster,
            Agent(
                who.cluster_object_uid, who.generation, shown.agent_version, shown.trusts, shown.issuer, shown.ends_at,
                self._hub, True, self._now(),
            ),
        )  # fmt: skip

    def left(self, cluster: str) -> None:
        """Its session ended here."""
        known = self._due.get(cluster) or self.get(cluster)
        if known is not None and known.connected and known.hub == self._hub:
            self._put(cluster, replace(known, connected=False, since=self._now()))

    def get(self, cluster: str) -> Agent | None:
        entry = self._cache.get(Key(*AGENTS, "", cluster))
        return agent_of(entry.object["spec"]) if entry is not None else None

    def holders(self) -> dict[str, Holder]:
        """Of the clusters that are joined with a certificate that is still good."""
        found: dict[str, Holder] = {}
        for entry in self._cache.list(*AGENTS):
            agent, cluster = agent_of(entry.object["spec"]), self._cluster(entry.key.name)
            if cluster is not None and _is_good(agent, cluster, generation_of(self._cache, cluster)):
                found[entry.key.name] = Holder(frozenset(agent.trusts), agent.issuer, agent.certificate_ends)
        return found

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_GATHER_SECONDS)
            if not await self._write():
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def _write(self) -> bool:
        """Whether all that was due is written."""
        while self._due:
            some = dict(list(self._due.items())[:_COMMIT_MAX])
            writes = [write for name, agent in some.items() for write in self._writes_of(name, agent)]
            try:
                if writes:
                    await self._cache.commit(writes)
            except (Conflict, Unavailable) as error:
                log.debug("what agents showed is written later: %s", error)
                return False
            for name, agent in some.items():
                if self._due.get(name, ...) is agent:
                    del self._due[name]
        return True

    def _writes_of(self, name: str, agent: Agent | None) -> list[Write]:
        row = self._cache.get(Key(*AGENTS, "", name))
        cluster = self._cluster(name)
        if cluster is None:
            keys = [Key(*AGENTS, "", name), Key(*REVOCATIONS, "", name)]
            rows = [entry for key in keys if (entry := self._cache.get(key)) is not None]
            return [Write(entry.key.path(), None, entry.revision) for entry in rows]
        if agent is None or agent.cluster_uid != uid_of(cluster):
            return []
        if row is not None and not agent.connected and agent_of(row.object["spec"]).hub != self._hub:
            return []  # it is at another hub by now
        return [Write(Key(*AGENTS, "", name).path(), agent.row(name), row.revision if row is not None else 0)]

    def _put(self, cluster: str, agent: Agent | None) -> None:
        self._due[cluster] = agent
        self._wake.set()

    def _rows_changed(self, revision: int, events: Sequence[Any]) -> None:
        kinds = {(event.entry.key.group, event.entry.key.resource) for event in events}
        if CLUSTERS in kinds:
            for event in events:
                key = event.entry.key
                if (key.group, key.resource) == CLUSTERS and event.type == "DELETED":
                    self._put(key.name, None)
        if kinds & {AGENTS, REVOCATIONS}:
            self._changed()

    def _cluster(self, name: str) -> Object | None:
        entry = self._cache.get(Key(*CLUSTERS, "", name))
        return entry.object if entry is not None else None


def described(
    cluster: Object, agent: Agent | None, generation: int, *, connected: bool, heard: float, now: float, trusted: bool = True
) -> Object:  # fmt: skip
    """What `towline clusters` shows of one. `connected`: a hub that lives holds its session; `heard`: when this hub heard of
    it last, 0 if never; `trusted`: the authority of its certificate is."""
    status = cluster.get("status") or {}
    ready: Object = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    contact = now if connected else max(heard, agent.since if agent is not None else 0.0)
    spec = cluster.get("spec") or {}
    return {
        "name": name_of(cluster),
        "ready": ready.get("status") or "",
        "reason": ready.get("reason") or "",
        "leaving": is_deleting(cluster),
        "connected": connected,
        "hub": agent.hub if agent is not None else "",
        "lastContact": contact,
        "certificateEnds": agent.certificate_ends if agent is not None else 0.0,
        "revoked": agent is not None and not _is_good(agent, cluster, generation),
        "trusted": trusted,
        "agentVersion": agent.version if agent is not None else "",
        "kubernetesVersion": status.get("kubernetesVersion") or "",
        "region": spec.get("region") or "",
    }


def _is_good(agent: Agent, cluster: Object, generation: int) -> bool:
    return agent.cluster_uid == uid_of(cluster) and agent.generation == generation
