"""What sessions show of their members, translated from the protocol into the fleet's own values."""

from __future__ import annotations

from functools import lru_cache

from towline.hub.agents import Agents
from towline.hub.decide.health import Enablements
from towline.hub.store.fleet import ClusterCapacity, ClusterFacts, Fleet
from towline.proto import fleet_pb2 as wire


class Members:
    """The gateway's word on members goes into the Fleet, which decisions read; the end of a session also into its row."""

    def __init__(self, fleet: Fleet, agents: Agents) -> None:
        self._fleet = fleet
        self._agents = agents

    def connected(self, cluster: str, hello: wire.Hello, now: float) -> None:
        self._fleet.connected(cluster, now)

    def disconnected(self, cluster: str, now: float) -> None:
        self._fleet.disconnected(cluster, now)
        self._agents.left(cluster)

    def facts(self, cluster: str, facts: wire.Facts, now: float) -> None:
        enablements = tuple(
            sorted(
                (row.group_version, tuple((r.name, r.kind) for r in row.resources))
                for row in facts.api_enablements
            )
        )
        described = ClusterFacts(
            kubernetes_version=facts.kubernetes_version,
            api_server_ready=facts.api_server_ready,
            api_server_message=facts.api_server_message,
            api_server_unreachable=facts.api_server_unreachable,
            api_enablements=_shared(enablements),
            api_enablements_complete=facts.api_enablements_complete,
        )
        self._fleet.facts(cluster, described, now)

    def capacity(self, cluster: str, capacity: ClusterCapacity, now: float) -> None:
        self._fleet.capacity(cluster, capacity, now)

    def heartbeat(self, cluster: str, api_server_ready: bool, now: float) -> None:
        self._fleet.heard(cluster, now, api_server_ready=api_server_ready)

    def deletions_held(self, cluster: str, count: int, reason: str) -> None:
        self._fleet.deletions_held(cluster, count, reason)

    def gone(self, cluster: str) -> None:
        self._fleet.forget(cluster)


@lru_cache(maxsize=256)
def _shared(enablements: Enablements) -> Enablements:
    """Clusters of one version mostly serve the same kinds: one value for all of them instead of kilobytes for each."""
    return enablements
